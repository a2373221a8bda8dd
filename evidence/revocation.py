"""Whether the certificates of a time-stamp were withdrawn: revocation lists (RFC 5280 §5) that somebody fetched, judged without a network.

Standard library and `cryptography` only: `verify_pack` takes this file along. What a list says of a certificate holds whatever the list's
age; that it says nothing counts only while the list is in force, is about all certificates of its issuer, and the certificate had not ended.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from zipfile import ZipFile

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtensionOID

CHAIN_MAX: Final = 6
_NAMED_BY: Final = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512(), hashes.SHA1())
_KEY_UNHARMED: Final = frozenset({
    x509.ReasonFlags.unspecified, x509.ReasonFlags.affiliation_changed, x509.ReasonFlags.superseded, x509.ReasonFlags.cessation_of_operation})
"""Withdrawn with one of these *given*, an authority's earlier stamps stay good; without a reason none does (RFC 3161 §4, 1 and 2)."""


class Status(StrEnum):
    """How a certificate stood when a stamp was made. Only `REVOKED` makes the stamp worthless; `UNKNOWN` is never fine."""

    GOOD = "good"
    REVOKED = "revoked"                  # Before the stamp, or for a reason that leaves no stamp of it good.
    REVOKED_LATER = "revoked-later"      # For a reason that leaves earlier stamps good.
    UNKNOWN = "revocation-unknown"


class Word(NamedTuple):
    """What the lists say of one certificate, or of a whole chain the gravest."""

    status: Status
    detail: str


GOOD: Final = Word(Status.GOOD, "")


class Lists(NamedTuple):
    """The lists that somebody gave, and the instant at which they must be in force; None: nobody named one, and no silence counts."""

    lists: tuple[x509.CertificateRevocationList, ...]
    at: datetime | None
    strange: int = 0                     # How many blocks of the file are no lists.


def read_lists(raw: bytes, at: datetime | None) -> Lists:
    """Read lists, one DER or any number of PEM blocks. What is no list is counted: it can only make a word less sure."""
    begin, end, found, strange = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----", [], 0
    blocks = [begin + one for one in raw.split(begin)[1:]]
    for block in blocks or [raw]:
        try:
            found.append(x509.load_pem_x509_crl(block.partition(end)[0] + end + b"\n") if blocks else x509.load_der_x509_crl(block))
        except (ValueError, UnsupportedAlgorithm):
            strange += 1
    return Lists(tuple(found), at, strange)


def chain_of(signer: x509.Certificate, brought: Sequence[x509.Certificate], pinned: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return the way from a signer to a pinned certificate, both included, each issued by the next; empty where none leads there."""
    chain = [signer]
    while chain[-1] not in pinned:
        above = next((one for one in (*pinned, *brought) if one not in chain and is_issued_by(chain[-1], one)), None)
        if above is None or len(chain) == CHAIN_MAX:
            return ()
        chain.append(above)
    return tuple(chain)


def judge_chain(chain: Sequence[x509.Certificate], known: Sequence[x509.Certificate], lists: Lists, stamped_at: datetime) -> Word:
    """Return the gravest word on a chain: on each certificate that another one issued; a root answers for itself.

    Args:
        chain: The signer first, as `chain_of` gives it.
        known: Certificates among which issuers of lists are sought, besides the chain's own.
    """
    words = [_judge(one, [*chain, *known], lists, stamped_at) for one in chain if one.issuer != one.subject]
    grave = (Status.REVOKED, Status.UNKNOWN, Status.REVOKED_LATER, Status.GOOD)
    return min(words, key=lambda word: grave.index(word.status), default=Word(Status.GOOD, "a root of its own"))


def weigh(outcome: dict[str, Any], asked: dict[str, Any]) -> None:
    """Enter into what `verify_pack` found how the certificates of the pack's verified stamps stood: `revocation`, by file, and findings.

    A stamp by a certificate that was withdrawn is a finding, and shows no time. The signer is whose certificate the token names by digest
    (RFC 5816), as `openssl ts` has demanded before.

    Args:
        asked: The paths `pack`, `tsa` (PEM, whom to believe) and `crl` (lists, PEM or DER), and `at`, when the lists must be in force
            (RFC 3339); None: no list's silence counts.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    at = None if asked["at"] is None else datetime.fromisoformat(asked["at"])
    anchors, given = x509.load_pem_x509_certificates(asked["tsa"].read_bytes()), read_lists(asked["crl"].read_bytes(), at)
    outcome["revocation"] = {}
    with ZipFile(asked["pack"]) as held:
        for name, stamped_at in [(name, at) for name, at in outcome["stamps"].items() if at]:
            word = _weigh_stamp(held.read(name), anchors, given, datetime.fromisoformat(stamped_at))
            outcome["revocation"][name] = list(word)
            if word.status is Status.REVOKED:
                outcome["stamps"][name], outcome["verdict"] = "", "findings"
                outcome["findings"].append({"name": "stamp-revoked", "file": name, "detail": word.detail})


def _weigh_stamp(response: bytes, anchors: Sequence[x509.Certificate], given: Lists, stamped_at: datetime) -> Word:
    brought = pkcs7.load_der_pkcs7_certificates(_token(response))
    signers = [one for one in (*brought, *anchors) if any(one.fingerprint(kind) in response for kind in _NAMED_BY)]
    chains = [chain for one in signers if (chain := chain_of(one, brought, anchors))]
    if not chains:
        return Word(Status.UNKNOWN, "the signer's certificate was not found")
    return judge_chain(max(chains, key=len), (*brought, *anchors), given, stamped_at)


def _token(response: bytes) -> bytes:
    """Return the PKCS #7 token of a response (DER): the second of its two members."""
    start = _content(response, 0)[0]
    return response[_content(response, start)[1]:]


def _content(raw: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the DER element at an offset begins and ends."""
    length, start = raw[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(raw[at + 2:start], "big")
    return start, start + length


def _judge(one: x509.Certificate, known: Sequence[x509.Certificate], lists: Lists, stamped_at: datetime) -> Word:
    name = f"certificate {one.serial_number:x} of {one.subject.rfc4514_string()[:100]}"
    own = [crl for crl in lists.lists if crl.issuer == one.issuer]
    issuers = [above for above in known if above != one and is_issued_by(one, above)]
    why = "no list of its issuer" + (f", {lists.strange} of the file are not lists" if lists.strange else "")
    silent = False
    for crl in own:
        fault = _fault(crl, issuers)
        if fault:
            why = fault
            continue
        entry = crl.get_revoked_certificate_by_serial_number(one.serial_number)
        if entry is not None:
            return _as_revoked(entry, name, stamped_at)
        age = _not_in_force(crl, one, lists.at)
        silent, why = silent or not age, age or why
    return Word(Status.GOOD, name) if silent else Word(Status.UNKNOWN, f"{name}: {why}")


def _as_revoked(entry: x509.RevokedCertificate, name: str, stamped_at: datetime) -> Word:
    """Judge an entry of a list: what is withdrawn before the stamp, or leaves no stamp good, makes it worthless (RFC 3161 §4)."""
    since = entry.revocation_date_utc
    reason = next((one.value.reason for one in entry.extensions if isinstance(one.value, x509.CRLReason)), None)
    for one in entry.extensions:
        if isinstance(one.value, x509.InvalidityDate):
            since = min(since, one.value.invalidity_date_utc)
    told = f"{name} was revoked from {since:%Y-%m-%dT%H:%M:%SZ}, {reason.value if reason is not None else 'no reason given'}"
    if since <= stamped_at or reason not in _KEY_UNHARMED | {x509.ReasonFlags.certificate_hold}:
        return Word(Status.REVOKED, told)
    if reason is x509.ReasonFlags.certificate_hold:
        return Word(Status.UNKNOWN, told)                       # Nobody has decided yet why.
    return Word(Status.REVOKED_LATER, told)


def _fault(crl: x509.CertificateRevocationList, issuers: Iterable[x509.Certificate]) -> str:
    """Return why a list says nothing at all, "" when it may be read."""
    if not any(_signs_lists(above) and _is_signed(crl, above) for above in issuers):
        return "the list is not signed by the issuer"
    for extension in crl.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR or extension.oid == ExtensionOID.ISSUING_DISTRIBUTION_POINT or (
                extension.critical and isinstance(extension.value, x509.UnrecognizedExtension)):
            return f"the list is about a part only ({extension.oid.dotted_string})"
    return ""


def _not_in_force(crl: x509.CertificateRevocationList, one: x509.Certificate, at: datetime | None) -> str:
    """Return why it says nothing that a certificate is not on a list, "" when it does."""
    began, ends = crl.last_update_utc, crl.next_update_utc
    if at is None or ends is None or not began <= at <= ends:
        return f"the list holds from {began:%Y-%m-%dT%H:%M:%SZ} to {ends.strftime('%Y-%m-%dT%H:%M:%SZ') if ends else 'nobody knows when'}"
    return "it had ended before the list was made, which need not name it" if one.not_valid_after_utc < began else ""


def _signs_lists(above: x509.Certificate) -> bool:
    try:
        return above.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _is_signed(crl: x509.CertificateRevocationList, above: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(above.public_key())       # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False


def is_issued_by(below: x509.Certificate, above: x509.Certificate) -> bool:
    """Tell whether an authority's certificate signed another one and bears its issuer's name."""
    try:
        below.verify_directly_issued_by(above)
        return above.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, x509.ExtensionNotFound):
        return False
