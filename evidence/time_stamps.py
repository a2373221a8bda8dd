"""RFC 3161 time-stamps: ask an authority for one over a message, and judge what it answers against pinned certificates.

Only a digest and a random number leave; what comes back says that the digest existed at `Stamp.at`. A stamp is judged at the instant
that it names, so it outlives the certificate of its signer: a chain that has ended since is good, one that had ended then is not.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from evidence.errors import LogProofInvalid
from evidence.revocation import GOOD, Lists, Status, Word, chain_of, judge_chain

RESPONSE_BYTES_MAX: Final = 64_000
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


class CertificateRevoked(LogProofInvalid):
    """A certificate of the stamp was withdrawn before it, or because nothing signed by its key can be trusted."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority said: when the message existed, under which of its policies (an OID), and the stamp's number.

    `standing` is what the revocation lists say that somebody gave; without any, nothing was looked up and nothing is told.
    """

    at: datetime
    policy: str
    serial: int
    standing: Word = GOOD


def ask(message: bytes, nonce: int, policy: str | None = None) -> bytes:
    """Return the DER request (`application/timestamp-query`) for SHA-256 of a message, by a policy's OID when one is named."""
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(message).digest()}
    fields: dict[str, Any] = {"version": 1, "message_imprint": imprint, "nonce": nonce, "cert_req": True}
    if policy is not None:
        fields["req_policy"] = policy
    raw: bytes = tsp.TimeStampReq(fields).dump()
    return raw


def judge(
    response: bytes, message: bytes, pinned: Sequence[x509.Certificate], *, nonce: int | None = None, policy: str | None = None,
    lists: Lists | None = None,
) -> Stamp:
    """Demand that a response (`application/timestamp-reply`) is a stamp over exactly this message by a pinned authority.

    Args:
        pinned: The authority's own certificate, or one above it. What the token brings along only fills the way between.
        nonce: The random number of the request; None when there was none of ours.
        lists: Revocation lists to judge the signer and its issuers by; None looks nothing up.

    Raises:
        CertificateRevoked: a certificate was withdrawn in a way that makes the stamp worthless.
        LogProofInvalid: refused, cut off, of another message, number or policy, badly signed, or by a signer that no pinned certificate
            vouches for at that time.
    """
    if len(response) > RESPONSE_BYTES_MAX:
        raise LogProofInvalid("a time-stamp has at most 64 kB")
    try:
        return _judged(response, message, pinned, (nonce, policy, lists))
    except LogProofInvalid:
        raise
    except Exception as fault:                    # A decoder of foreign bytes: whatever it stumbles over, it is not a time-stamp.
        raise LogProofInvalid(f"not a time-stamp: {type(fault).__name__}") from fault


def _judged(
    response: bytes, message: bytes, pinned: Sequence[x509.Certificate], asked: tuple[int | None, str | None, Lists | None]
) -> Stamp:
    nonce, policy, lists = asked
    status = tsp.PKIStatusInfo.load(core.Sequence.load(response, strict=True)[0].dump())["status"].native      # A refusal has nothing behind it.
    _demand(status in ("granted", "granted_with_mods"), f"the authority refused: {status}")
    token = tsp.TimeStampResp.load(response, strict=True)["time_stamp_token"]
    _demand(token["content_type"].native == "signed_data", "the token is not signed data")
    signed = token["content"]
    content = signed["encap_content_info"]
    _demand(content["content_type"].native == "tst_info" and len(signed["signer_infos"]) == 1, "the token holds one stamp by one signer")
    said, raw, by = content["content"].parsed, bytes(content["content"]), signed["signer_infos"][0]
    imprint = said["message_imprint"]
    digest = hashlib.new(_hash(imprint["hash_algorithm"]["algorithm"].native).name, message).digest()
    _demand(imprint["hashed_message"].native == digest, "the stamp is over another message")
    _demand(nonce is None or said["nonce"].native == nonce, "the stamp answers another request")
    _demand(policy is None or said["policy"].dotted == policy, "the stamp is by another policy")
    at = said["gen_time"].native.astimezone(UTC)
    brought = [x509.load_der_x509_certificate(one.chosen.dump()) for one in signed["certificates"] or () if one.name == "certificate"]
    signer = _signer(by, [*brought, *pinned])
    _demand_signature(by, raw, signer)
    chain = _demand_chain(signer, brought, pinned, at)
    standing = judge_chain(chain, (*brought, *pinned), lists, at) if lists is not None else GOOD
    if standing.status is Status.REVOKED:
        raise CertificateRevoked(standing.detail)
    return Stamp(at=at, policy=said["policy"].dotted, serial=said["serial_number"].native, standing=standing)


def _signer(by: Any, known: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the certificate that the signed attribute names by digest (RFC 5816, RFC 2634): a look-alike of the same key is not it."""
    attributes = {one["type"].native: one["values"] for one in by["signed_attrs"]}
    if "signing_certificate_v2" in attributes:
        first = attributes["signing_certificate_v2"][0]["certs"][0]
        kind = _hash(first["hash_algorithm"]["algorithm"].native)
    else:
        first, kind = attributes["signing_certificate"][0]["certs"][0], hashes.SHA1()        # As RFC 3161 has it; the signature covers it.
    found = [one for one in known if one.fingerprint(kind) == first["cert_hash"].native]
    _demand(found, "the signer's certificate is neither brought along nor pinned")
    return found[0]


def _demand_signature(by: Any, raw: bytes, signer: x509.Certificate) -> None:
    kind = _hash(by["digest_algorithm"]["algorithm"].native)
    attributes = {one["type"].native: one["values"] for one in by["signed_attrs"]}
    _demand(attributes["content_type"][0].native == "tst_info", "the signature is over something else")
    _demand(attributes["message_digest"][0].native == hashlib.new(kind.name, raw).digest(), "the stamp was changed")
    message, signature, key = by["signed_attrs"].untag().dump(), by["signature"].native, signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), kind)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(kind))
        else:
            raise LogProofInvalid("the authority signs with neither RSA nor ECDSA")
    except InvalidSignature:
        raise LogProofInvalid("the authority's signature does not verify") from None


def _demand_chain(
    signer: x509.Certificate, brought: Sequence[x509.Certificate], pinned: Sequence[x509.Certificate], at: datetime
) -> tuple[x509.Certificate, ...]:
    """Return the way from the signer to a pinned certificate, each link issued by the next and valid then (RFC 3161 §2.3 for the signer)."""
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    _demand(usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING], "the signer may do something else than stamp time")
    chain = chain_of(signer, brought, pinned)
    _demand(chain, "no pinned certificate vouches for the signer")
    _demand(all(one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in chain), "a certificate was not valid when the stamp was made")
    return chain


def _hash(name: str) -> hashes.HashAlgorithm:
    _demand(name in _HASHES, f"{name} is not among {', '.join(_HASHES)}")
    return _HASHES[name]


def _demand(truth: object, reason: str) -> None:
    if not truth:
        raise LogProofInvalid(reason)
