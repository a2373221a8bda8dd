"""Write an evidence pack: a BagIt bag in one stored ZIP of canonical form, with a signed index of every file.

Canonical form: names plain and sorted, time 1980-01-01 00:00, no compression, flags, extra fields or comments. Any other byte is
a fault, because a verifier rebuilds the container from what it read. Media are streamed; everything else is small and in memory.

    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
    data/pack.jws                          signed index of all files
    data/manifests/<digest>.json           envelopes          data/receipts/<digest>.jws      data/proofs/<digest>.tlog-proof
    data/copies/<original>.<ext>           stamped copies     data/derivations/<original>.jws
    data/originals/<sha256>                originals, only in a production
    data/reports/<digest>.json             examinations       data/proofs/<digest>.examined.tlog-proof
    data/authorisations/<jti>.jwt          the bank's cash authorisations
    data/keys/devices.jws  data/keys/service.json  data/log/checkpoint  data/log/consistency-<size>.txt  data/custody.csv
"""

import base64
import csv
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import msgspec

from evidence.canonical import JsonValue, canonicalise, sha256_hex
from evidence.envelope import check_shape
from evidence.errors import MalformedError, TooLarge
from evidence.es256 import compact_peek, compact_sign
from evidence.keys import PublicKey, SigningKey, public_jwk
from evidence.manifest import manifest_digest
from evidence.merkle import NodeReader, consistency_path
from evidence.statements import TYP_PACK
from evidence.translog import parse_checkpoint, parse_proof

SCHEMA: Final = "visit-pack/1"
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


class PackCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped derivative and the signed statement of what it was made from."""

    original_sha256: str
    extension: str
    chunks: Iterable[bytes]
    derivation: str


class PackOriginal(msgspec.Struct, frozen=True, kw_only=True):
    """An original, handed over by a production with two approvals."""

    sha256: str
    chunks: Iterable[bytes]


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """An item that the pack names and does not hold, with the reason."""

    sha256: str
    reason: str


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
    """Everything a per-visit pack holds."""

    pack_id: str
    bank: str
    case: str
    visit: str
    made: str                                          # UTC text.
    register_number: str
    recipient: str                                     # Role or id, never a name.
    entries: Sequence[PackEntry]
    devices: str                                       # `evidence.statements.sign_devices`.
    checkpoint: str                                    # The newest, under which all proofs' checkpoints are consistent.
    keys: ServiceKeys
    copies: Sequence[PackCopy] = ()
    originals: Sequence[PackOriginal] = ()
    withheld: Sequence[Withheld] = ()
    authorisations: Sequence[str] = ()
    custody: Sequence[tuple[str, str, str, str]] = ()  # UTC text, actor id, action, object.
    known_sizes: Sequence[int] = ()                    # Log sizes the recipient has seen before.


class PackSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    size: int
    sha256: str
    files: int


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    sha256: str
    size: int
    crc: int
    offset: int


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


def write_pack(pack: Pack, read_node: NodeReader, key: SigningKey, kid: str, out: BinaryIO) -> PackSummary:
    """Write the pack to a seekable binary file, signing its index with a receipt key.

    Raises:
        MalformedError: an envelope, token or name is not of its shape, or two files share a name.
        LogProofInvalid: a checkpoint or proof text is not of its shape.
        TooLarge: 4 GiB or 65,000 files.
        ValueError: a proof stands under a newer checkpoint than the pack's.
    """
    writer = _ZipWriter(out)
    before, after = _small_files(pack, read_node), dict[str, bytes]()
    media = {f"data/copies/{copy.original_sha256}.{copy.extension}": copy.chunks for copy in pack.copies}
    media |= {f"data/originals/{original.sha256}": original.chunks for original in pack.originals}
    names = sorted([*before, *media, "data/pack.jws"])
    if len(set(names)) != len(names) or len(names) > FILES_MAX:
        raise MalformedError("two files of a pack share a name, or there are too many")
    # The index lists every other file by digest, so files sorted after it must be small and are hashed before they are written.
    after = {name: raw for name, raw in before.items() if name > "data/pack.jws"}
    for name in names:
        if name == "data/pack.jws":
            writer.add(name, [_index(pack, [*writer.written, *_planned(after)], key, kid)])
        else:
            writer.add(name, [before[name]] if name in before else media[name])
    payload = "".join(f"{one.sha256}  {one.name}\n" for one in writer.written if one.name.startswith("data/")).encode("ascii")
    writer.add("manifest-sha256.txt", [payload])
    tags = "".join(f"{one.sha256}  {one.name}\n" for one in writer.written if not one.name.startswith("data/")).encode("ascii")
    writer.add("tagmanifest-sha256.txt", [tags])
    return writer.finish()


def _small_files(pack: Pack, read_node: NodeReader) -> dict[str, bytes]:
    files = {
        "bagit.txt": _BAGIT, "bag-info.txt": _bag_info(pack), "data/custody.csv": _custody(pack.custody),
        "data/keys/devices.jws": pack.devices.encode("ascii"), "data/keys/service.json": trust_document(pack.keys),
        "data/log/checkpoint": pack.checkpoint.encode(),
    }
    sizes = set(pack.known_sizes)
    for entry in pack.entries:
        digest = manifest_digest(check_shape(entry.envelope).payload)
        files |= {f"data/manifests/{digest}.json": entry.envelope, f"data/receipts/{digest}.jws": entry.receipt.encode("ascii"),
                  f"data/proofs/{digest}.tlog-proof": entry.proof.encode()}
        sizes.add(parse_checkpoint(parse_proof(entry.proof).checkpoint).size)
        if entry.report is not None and entry.report_proof is not None:
            files |= {f"data/reports/{digest}.json": entry.report, f"data/proofs/{digest}.examined.tlog-proof": entry.report_proof.encode()}
            sizes.add(parse_checkpoint(parse_proof(entry.report_proof).checkpoint).size)
    for token in pack.authorisations:
        files[f"data/authorisations/{compact_peek(token, TYP_AUTHORISATION)[1]['jti']}.jwt"] = token.encode("ascii")
    for copy in pack.copies:
        files[f"data/derivations/{copy.original_sha256}.jws"] = copy.derivation.encode("ascii")
    newest = parse_checkpoint(pack.checkpoint).size
    for size in sorted(sizes - {0, newest}):
        path = consistency_path(read_node, size, newest)
        files[f"data/log/consistency-{size}.txt"] = "".join(f"{_b64(one)}\n" for one in path).encode("ascii")
    return files


def _index(pack: Pack, files: Iterable[_Written], key: SigningKey, kid: str) -> bytes:
    listed: list[JsonValue] = [{"name": one.name, "sha256": one.sha256, "size": one.size} for one in files if one.name != "bagit.txt"]
    withheld: list[JsonValue] = [{"sha256": one.sha256, "reason": one.reason} for one in pack.withheld]
    return compact_sign({
        "schema": SCHEMA, "pack_id": pack.pack_id, "bank": pack.bank, "case": pack.case, "visit": pack.visit, "made": pack.made,
        "register_number": pack.register_number, "recipient": pack.recipient, "files": listed, "withheld": withheld,
    }, key, typ=TYP_PACK, kid=kid).encode("ascii")


def _planned(files: Mapping[str, bytes]) -> Iterator[_Written]:
    for name, raw in files.items():
        yield _Written(name=name, sha256=sha256_hex(raw), size=len(raw), crc=0, offset=0)


def _bag_info(pack: Pack) -> bytes:
    return (f"Bagging-Date: {pack.made[:10]}\nExternal-Identifier: {pack.pack_id}\nExternal-Description: visit {pack.visit} of case {pack.case}, "
            f"register {pack.register_number}, for {pack.recipient}\n").encode()


def _custody(rows: Sequence[tuple[str, str, str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("at", "actor", "action", "object"))
    # A leading sign would be a formula in a spreadsheet.
    writer.writerows([f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


class _ZipWriter:
    """Write stored files in canonical form; the caller adds them in sorted order."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._at = out, 0
        self.written: list[_Written] = []

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Stream one file; its header is patched once size and checksum are known."""
        if not _NAME.fullmatch(name) or (self.written and name <= self.written[-1].name):
            raise MalformedError("names of a pack are plain and sorted")
        offset, header_size = self._at, 30 + len(name)
        self._out.write(b"\x00" * header_size)
        crc, size, digest = 0, 0, hashlib.sha256()
        for chunk in chunks:
            self._out.write(chunk)
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            digest.update(chunk)
            if offset + header_size + size > BYTES_MAX:
                raise TooLarge("a pack has less than 4 GiB")
        self.written.append(_Written(name=name, sha256=digest.hexdigest(), size=size, crc=crc, offset=offset))
        self._at = offset + header_size + size
        self._out.seek(offset)
        self._out.write(b"PK\x03\x04" + _fields(self.written[-1]) + name.encode("ascii"))
        self._out.seek(self._at)

    def finish(self) -> PackSummary:
        """Write the directory and return the digest of the whole file."""
        directory = b"".join(
            b"PK\x01\x02" + struct.pack("<H", 20) + _fields(one) + struct.pack("<HHHII", 0, 0, 0, 0, one.offset) + one.name.encode("ascii")
            for one in self.written)
        count = len(self.written)
        self._out.write(directory + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), self._at, 0))
        self._out.seek(0)
        digest, size = hashlib.sha256(), 0
        while chunk := self._out.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
        return PackSummary(size=size, sha256=digest.hexdigest(), files=count)


def _fields(one: _Written) -> bytes:
    """Return the fields that local header and directory share: version 20, no flags, stored, zero time."""
    return struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, _DOS_DATE, one.crc, one.size, one.size, len(one.name), 0)
