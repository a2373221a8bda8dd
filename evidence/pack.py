"""Write an evidence pack: a BagIt bag in one stored ZIP of canonical form, with a signed index of every file.

Canonical form: names plain and sorted, time 1980-01-01 00:00, no compression, flags, extra fields or comments. Any other byte is
a fault, because a verifier rebuilds the container from what it read. Media are measured once (digest, size, checksum) and then
streamed, so the size is known before the first byte and nothing is ever sought back to; everything else is small and in memory.

    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
    data/pack.jws                          signed index of all files
    data/manifests/<digest>.json           envelopes          data/receipts/<digest>.jws      data/proofs/<digest>.tlog-proof
    data/copies/<original>.<ext>           stamped copies     data/derivations/<original>.jws
    data/sealed/<sha256>.fvseal            originals, only in a production, each sealed under a key of its own
    data/sealed/<sha256>.jwe               that key, encrypted to the recipient (ECDH-ES, A256GCM)
    data/reports/<digest>.json             examinations       data/proofs/<digest>.examined.tlog-proof
    data/recordings/<sha256>.jws           who brought a recorder's file in, for which visit; data/proofs/<sha256>.recording.tlog-proof
    data/follow-ups/<id>.json              what the bank did after it ruled fraud; data/proofs/<id>.follow-up.tlog-proof
    data/authorisations/<jti>.jwt          the bank's cash authorisations
    data/keys/devices.jws  data/keys/service.json  data/log/checkpoint  data/log/consistency-<size>.txt  data/custody.csv
    data/log/witnessed-<size>              a checkpoint that a witness has signed
    data/log/stamped-<size>                a checkpoint that a third party has time-stamped, in data/log/stamped-<size>.tsr
"""

import base64
import csv
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import msgspec

from evidence.canonical import JsonObject, JsonValue, canonicalise, parse_strict, sha256_hex
from evidence.envelope import check_shape
from evidence.errors import MalformedError, TooLarge
from evidence.es256 import compact_peek, compact_sign
from evidence.keys import PublicKey, SigningKey, public_jwk
from evidence.manifest import manifest_digest
from evidence.merkle import NodeReader, consistency_path
from evidence.statements import TYP_PACK
from evidence.translog import parse_checkpoint, parse_proof

SCHEMA: Final = "evidence-pack/2"
TYP_RECORDING: Final = "recording-import+jws"
TYP_AUTHORISATION: Final = "cash-authorisation+jwt"
BYTES_MAX: Final = 2**32 - 1
FILES_MAX: Final = 65_000
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_DOS_DATE: Final = 33                                  # 1980-01-01, the earliest a ZIP can say.
_BAGIT: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


class PackEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One statement with what the server gave for it."""

    envelope: bytes
    receipt: str
    proof: str                                         # Entry `manifest`, payload the manifest's bytes.
    report: bytes | None = None                        # Canonical JSON of the examination.
    report_proof: str | None = None                    # Entry `examined`, payload the report's bytes.


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of one file: what is known of them beforehand, and how to read them again. Whoever reads gets the same bytes."""

    sha256: str
    size: int
    crc: int
    chunks: Callable[[], Iterable[bytes]]


class PackCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped derivative and the signed statement of what it was made from."""

    original_sha256: str
    extension: str
    content: Measured
    derivation: str


class PackSealed(msgspec.Struct, frozen=True, kw_only=True):
    """An original, sealed for one recipient by a production with two approvals."""

    sha256: str
    content: Measured                                  # As `evidence.sealing` seals.
    jwe: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """An item that the pack names and does not hold, with the reason."""

    sha256: str
    reason: str


class PackRecording(msgspec.Struct, frozen=True, kw_only=True):
    """The signed statement by which a recorder's file was brought in, and its proof: entry `recording`, payload its canonical claims."""

    statement: str
    proof: str


class PackFollowUp(msgspec.Struct, frozen=True, kw_only=True):
    """One act of the bank after its ruling of fraud, canonical JSON with its id in `follow_up`, and its proof: entry `follow-up`, these bytes."""

    statement: bytes
    proof: str


class PackStamp(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of the log, and a third party's word (RFC 3161, the DER response) on when it existed."""

    checkpoint: str
    response: bytes


class ServiceKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Public keys shown for information; a verifier trusts only those it got elsewhere."""

    origin: str
    log_key: bytes
    receipt: Sequence[PublicKey]
    derivation: Sequence[PublicKey]
    banks: Mapping[str, Sequence[PublicKey]]
    witnesses: Mapping[str, bytes] = {}
    former_log_keys: Sequence[bytes] = ()              # Their checkpoints stay signed after a rotation.


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a pack holds. One pack is of one bank."""

    pack_id: str
    bank: str
    scope: JsonObject                                  # `kind` (visit, case, batch, period, production) and what names it.
    cases: Sequence[str]
    visits: Sequence[str]
    made: str                                          # UTC text.
    register_number: str
    recipient: str                                     # Role or id, never a name.
    entries: Sequence[PackEntry]
    devices: str                                       # `evidence.statements.sign_devices`.
    checkpoint: str                                    # The newest, under which all proofs' checkpoints are consistent.
    keys: ServiceKeys
    copies: Sequence[PackCopy] = ()
    sealed: Sequence[PackSealed] = ()
    withheld: Sequence[Withheld] = ()
    authorisations: Sequence[str] = ()
    hardware: Mapping[str, str] = {}                   # Bank key id → whose hardware holds it: `webcrypto`, `bank_system`, `demo` (F19).
    custody: Sequence[tuple[str, str, str, str]] = ()  # UTC text, actor id, action, object.
    witnessed: Sequence[str] = ()                      # Checkpoints with a witness's cosignature, none newer than `checkpoint`.
    recordings: Sequence[PackRecording] = ()
    follow_ups: Sequence[PackFollowUp] = ()
    stamps: Sequence[PackStamp] = ()                   # None over a checkpoint newer than `checkpoint`.
    known_sizes: Sequence[int] = ()                    # Log sizes the recipient has seen before.


class PackSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    size: int
    sha256: str
    files: int


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A pack ready to be written: its exact size, and its bytes in order, as often as they are asked for."""

    size: int
    files: int
    chunks: Callable[[], Iterator[bytes]]


def trust_document(keys: ServiceKeys, witnesses_min: int = 0) -> bytes:
    """Return the trust file that a verifier is given from outside the pack: which keys it believes."""
    banks: dict[str, JsonValue] = {bank: [dict(public_jwk(key)) for key in held] for bank, held in keys.banks.items()}
    witnesses: list[JsonValue] = [{"name": name, "key": _b64(key)} for name, key in sorted(keys.witnesses.items())]
    log: dict[str, JsonValue] = {"origin": keys.origin, "key": _b64(keys.log_key)}
    if keys.former_log_keys:
        log["former_keys"] = [_b64(key) for key in keys.former_log_keys]
    return canonicalise({
        "schema": "fieldvisit-trust/1", "log": log, "devices": "history",
        "receipt_keys": [dict(public_jwk(key)) for key in keys.receipt], "derivation_keys": [dict(public_jwk(key)) for key in keys.derivation],
        "bank_keys": banks, "witnesses": witnesses, "witnesses_min": witnesses_min,
    })


def measured(content: bytes) -> Measured:
    """Measure a small file that is held in memory."""
    return Measured(sha256=sha256_hex(content), size=len(content), crc=zlib.crc32(content), chunks=lambda: (content,))


def lay_out(pack: Pack, read_node: NodeReader, key: SigningKey, kid: str) -> Packed:
    """Sign the pack's index with a receipt key and return how its bytes will run.

    Raises:
        MalformedError: an envelope, token or name is not of its shape, or two files share a name.
        LogProofInvalid: a checkpoint or proof text is not of its shape.
        TooLarge: 4 GiB or 65,000 files.
        ValueError: a proof stands under a newer checkpoint than the pack's.
    """
    named = _files(pack, read_node)
    files = dict(named)
    if len(files) != len(named):
        raise MalformedError("two files of a pack share a name")
    files["data/pack.jws"] = measured(_index(pack, files, key, kid))
    files["manifest-sha256.txt"] = _listing(files, is_payload=True)
    files["tagmanifest-sha256.txt"] = _listing(files, is_payload=False)
    names = sorted(files)
    if not all(_NAME.fullmatch(name) for name in names):
        raise MalformedError("names of a pack are plain")
    size = sum(76 + 2 * len(name) + files[name].size for name in names) + 22
    if size > BYTES_MAX or len(names) > FILES_MAX:
        raise TooLarge("a pack has less than 4 GiB and at most 65,000 files")
    return Packed(size=size, files=len(names), chunks=lambda: _run(names, files))


def write_pack(pack: Pack, read_node: NodeReader, key: SigningKey, kid: str, out: BinaryIO) -> PackSummary:
    """Write the pack to a file that need not be seekable. Raises as `lay_out`."""
    packed, digest = lay_out(pack, read_node, key, kid), hashlib.sha256()
    for chunk in packed.chunks():
        out.write(chunk)
        digest.update(chunk)
    return PackSummary(size=packed.size, sha256=digest.hexdigest(), files=packed.files)


def _run(names: Sequence[str], files: Mapping[str, Measured]) -> Iterator[bytes]:
    """Yield the container: each file behind its header, then the directory."""
    at, directory = 0, []
    for name in names:
        one, spelled = files[name], name.encode("ascii")
        # Version 20, no flags, stored, zero time: the same in local header and directory.
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, _DOS_DATE, one.crc, one.size, one.size, len(spelled), 0)
        directory.append(b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + spelled)
        yield b"PK\x03\x04" + fields + spelled
        yield from _again(name, one)
        at += 30 + len(spelled) + one.size
    listed = b"".join(directory)
    yield listed + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(names), len(names), len(listed), at, 0)


def _again(name: str, one: Measured) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for chunk in one.chunks():
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if (digest.hexdigest(), size) != (one.sha256, one.size):
        raise ValueError(f"{name} changed after it was measured")


def _files(pack: Pack, read_node: NodeReader) -> list[tuple[str, Measured]]:
    """Return every file but the index and the two lists that are made from it."""
    small = [
        ("bagit.txt", _BAGIT), ("bag-info.txt", _bag_info(pack)), ("data/custody.csv", _custody(pack.custody)),
        ("data/keys/devices.jws", pack.devices.encode("ascii")), ("data/keys/service.json", trust_document(pack.keys)),
        ("data/log/checkpoint", pack.checkpoint.encode()),
    ]
    sizes = set(pack.known_sizes)
    for signed in pack.witnessed:
        size = parse_checkpoint(signed).size
        small.append((f"data/log/witnessed-{size}", signed.encode()))
        sizes.add(size)
    for brought in pack.recordings:
        digest = compact_peek(brought.statement, TYP_RECORDING)[1]["sha256"]
        small += [(f"data/recordings/{digest}.jws", brought.statement.encode("ascii")),
                  (f"data/proofs/{digest}.recording.tlog-proof", brought.proof.encode())]
        sizes.add(parse_checkpoint(parse_proof(brought.proof).checkpoint).size)
    for told in pack.follow_ups:
        named = parse_strict(told.statement)["follow_up"]
        small += [(f"data/follow-ups/{named}.json", told.statement), (f"data/proofs/{named}.follow-up.tlog-proof", told.proof.encode())]
        sizes.add(parse_checkpoint(parse_proof(told.proof).checkpoint).size)
    for stamp in pack.stamps:
        size = parse_checkpoint(stamp.checkpoint).size
        small += [(f"data/log/stamped-{size}", stamp.checkpoint.encode()), (f"data/log/stamped-{size}.tsr", stamp.response)]
        sizes.add(size)
    for entry in pack.entries:
        digest = manifest_digest(check_shape(entry.envelope).payload)
        small += [(f"data/manifests/{digest}.json", entry.envelope), (f"data/receipts/{digest}.jws", entry.receipt.encode("ascii")),
                  (f"data/proofs/{digest}.tlog-proof", entry.proof.encode())]
        sizes.add(parse_checkpoint(parse_proof(entry.proof).checkpoint).size)
        if entry.report is not None and entry.report_proof is not None:
            small += [(f"data/reports/{digest}.json", entry.report), (f"data/proofs/{digest}.examined.tlog-proof", entry.report_proof.encode())]
            sizes.add(parse_checkpoint(parse_proof(entry.report_proof).checkpoint).size)
    for token in pack.authorisations:
        small.append((f"data/authorisations/{compact_peek(token, TYP_AUTHORISATION)[1]['jti']}.jwt", token.encode("ascii")))
    small += [(f"data/derivations/{copy.original_sha256}.jws", copy.derivation.encode("ascii")) for copy in pack.copies]
    small += [(f"data/sealed/{one.sha256}.jwe", one.jwe.encode("ascii")) for one in pack.sealed]
    newest = parse_checkpoint(pack.checkpoint).size
    for size in sorted(sizes - {0, newest}):
        path = consistency_path(read_node, size, newest)
        small.append((f"data/log/consistency-{size}.txt", "".join(f"{_b64(one)}\n" for one in path).encode("ascii")))
    return [
        *((name, measured(raw)) for name, raw in small),
        *((f"data/copies/{copy.original_sha256}.{copy.extension}", copy.content) for copy in pack.copies),
        *((f"data/sealed/{one.sha256}.fvseal", one.content) for one in pack.sealed),
    ]


def _index(pack: Pack, files: Mapping[str, Measured], key: SigningKey, kid: str) -> bytes:
    listed: list[JsonValue] = [
        {"name": name, "sha256": files[name].sha256, "size": files[name].size} for name in sorted(files) if name != "bagit.txt"]
    cases, visits = (list[JsonValue](sorted(set(ids))) for ids in (pack.cases, pack.visits))
    withheld: list[JsonValue] = [{"sha256": one.sha256, "reason": one.reason} for one in pack.withheld]
    return compact_sign({
        "schema": SCHEMA, "pack_id": pack.pack_id, "bank": pack.bank, "scope": pack.scope, "cases": cases,
        "visits": visits, "made": pack.made, "register_number": pack.register_number, "recipient": pack.recipient,
        "files": listed, "withheld": withheld, "authorisation_hardware": dict(sorted(pack.hardware.items())),
    }, key, typ=TYP_PACK, kid=kid).encode("ascii")


def _listing(files: Mapping[str, Measured], *, is_payload: bool) -> Measured:
    names = sorted(name for name in files if name.startswith("data/") is is_payload)
    return measured("".join(f"{files[name].sha256}  {name}\n" for name in names).encode("ascii"))


def _bag_info(pack: Pack) -> bytes:
    return (f"Bagging-Date: {pack.made[:10]}\nExternal-Identifier: {pack.pack_id}\nExternal-Description: {pack.scope['kind']} with "
            f"{len(set(pack.visits))} visits, register {pack.register_number}, for {pack.recipient}\n").encode()


def _custody(rows: Sequence[tuple[str, str, str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("at", "actor", "action", "object"))
    # A leading sign would be a formula in a spreadsheet.
    writer.writerows([f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
