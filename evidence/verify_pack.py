"""Verify an evidence pack offline. One file, standard library and `cryptography` only, written apart from the service.

    python -m evidence.verify_pack PACK --trust TRUST.json [--since CHECKPOINT] [--tsa CERT.pem [--crl LISTS --at INSTANT]] [--open KEY.pem] [--json]

or `python verify_pack.py PACK …`. Exit 0: clean. Exit 1: findings, each named with its file; without --trust the best verdict is
`self-consistent`, also 1. Exit 2: not readable as a pack at all. --tsa has `openssl` judge the pack's time-stamps by that authority, --crl,
with `revocation.py` beside this file, whether revocation lists in force at --at (2026-11-22T08:00:00Z) let them stand. --open writes sealed
originals to the folder PACK.opened, each only once its digest is as signed. TRUST.json comes from somewhere else:

    {"schema": "fieldvisit-trust/1", "log": {"origin": "fieldvisit/agency", "key": "<base64 of 32 bytes>", "former_keys": [<base64>, …]},
     "receipt_keys": [<public P-256 JWK>, …],         sign receipts, the device history and the pack's index
     "derivation_keys": [<JWK>, …],                   sign "this stamped copy was made from that original"
     "bank_keys": {"<bank id>": [<JWK>, …]},          sign cash authorisations
     "witnesses": [{"name": "witness.example/bank", "key": "<base64>"}], "witnesses_min": 0,
     "devices": "history"}                            or {"<device kid>": "<person id>", …} to pin every phone
"""

import argparse
import base64
import hashlib
import importlib
import json
import mmap
import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Buffer: TypeAlias = bytes | memoryview | mmap.mmap
COSIGNED, SINGLE = {"arrival", "declaration", "cash_receipt", "void", "visit_close"}, {"capture", "departure", "cosign_refusal"}
SPOILED = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, struct.error)


class Bad(Exception):
    """A fault: its stable name, then a detail."""


def sha(raw: Buffer) -> str:
    return hashlib.sha256(raw).hexdigest()


def demand(truth: object, name: str, detail: str = "") -> None:
    if not truth:
        raise Bad(name, detail)


def zip_files(pack: Buffer) -> tuple[dict[str, memoryview], list[dict[str, str]]]:
    """Step 1. Read a stored ZIP; name every container byte that our canonical form would not have."""
    view, at, files, central, faults, last = memoryview(pack), 0, dict[str, memoryview](), b"", [], ""
    while bytes(view[at:at + 4]) == b"PK\x03\x04":
        crc, size, _, name_length, _ = struct.unpack("<IIIHH", view[at + 14:at + 30])
        start = at + 30 + name_length
        name, text, content = bytes(view[at + 30:start]), str(view[at + 30:start], "ascii"), view[start:start + size]
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, crc, len(content), len(content), len(name), 0)
        if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", text) or ".." in text or text <= last:
            raise Bad("unreadable", f"file names are plain, different and sorted: {text!r}")
        if bytes(view[at:start]) != b"PK\x03\x04" + fields + name or zlib.crc32(content) != crc:
            faults.append({"name": "container-differs", "file": text, "detail": "header or checksum"})
        central += b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + name
        files[text], at, last = content, start + size, text
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(files), len(files), len(central), at, 0)
    demand(files, "unreadable", "not a pack")
    return files, faults + [{"name": "container-differs", "file": "", "detail": "directory"}] * (bytes(view[at:]) != central + end)


def read_json(raw: Buffer) -> Any:
    """Parse strict JSON: no duplicate keys, no floats, no NaN."""
    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        demand(len({key for key, _ in members}) == len(members), "malformed-json", "duplicate key")
        return dict(members)
    refuse = partial(demand, None, "malformed-json")
    return json.loads(str(raw, "utf-8"), object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)


def canonical(value: Any) -> bytes:
    """Spell a value as RFC 8785 does, for the subset without floats and with ASCII keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")


def unb64(text: str, length: int | None = None, alphabet: bytes = b"+/") -> bytes:
    """Decode base64 in its only spelling: standard with padding, or `-_` without."""
    padding = "" if alphabet == b"+/" else "=" * (-len(text) % 4)
    raw = base64.b64decode(text + padding, altchars=alphabet, validate=True)
    demand(length in (None, len(raw)) and base64.b64encode(raw, alphabet).decode() == text + padding, "malformed-base64")
    return raw


unb64u = partial(unb64, alphabet=b"-_")


def jwk_key(jwk: dict[str, str]) -> tuple[str, ec.EllipticCurvePublicKey]:
    """Return thumbprint and key of a public P-256 JWK."""
    demand(set(jwk) == {"kty", "crv", "x", "y"} and (jwk["kty"], jwk["crv"]) == ("EC", "P-256"), "key-malformed")
    x, y = (int.from_bytes(unb64u(jwk[name], 32), "big") for name in "xy")
    kid = base64.urlsafe_b64encode(hashlib.sha256(canonical(jwk)).digest()).rstrip(b"=").decode()
    return kid, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def es256(key: ec.EllipticCurvePublicKey, protected: str, body: str, signature: str) -> None:
    """Verify one ES256 signature."""
    r, s = (int.from_bytes(half, "big") for half in struct.unpack("32s32s", unb64u(signature)))
    key.verify(utils.encode_dss_signature(r, s), f"{protected}.{body}".encode("ascii"), ec.ECDSA(hashes.SHA256()))


def opened(sealed: memoryview, token: str, key: ec.EllipticCurvePrivateKey, context: bytes) -> bytes:
    """Open an item's key (JWE: ECDH-ES, A256GCM; RFC 7518 §4.6.2), then the records that it seals."""
    protected, wrapped, nonce, body, tag = token.split(".")
    header = read_json(unb64u(protected))
    demand((header["alg"], header["enc"], wrapped) == ("ECDH-ES", "A256GCM", ""), "header-not-allowed")
    known = b"\0\0\0\1" + key.exchange(ec.ECDH(), jwk_key(header["epk"])[1]) + b"\0\0\0\x07A256GCM" + bytes(8) + b"\0\0\1\0"
    item_key = AESGCM(hashlib.sha256(known).digest()).decrypt(unb64u(nonce), unb64u(body) + unb64u(tag), protected.encode())
    cipher, at, last, plain = AESGCM(item_key), 8, 0, list[bytes]()
    while at < len(sealed):
        prefix, length = struct.unpack(">7sI", sealed[at:at + 11])
        last, end = length >> 31, at + 27 + (length & 0x7FFFFFFF)
        plain.append(cipher.decrypt(prefix + len(plain).to_bytes(4, "big") + bytes([last]), bytes(sealed[at + 11:end]), context))
        demand(last == (end == len(sealed)), "seal-broken", "the last record is missing, or not the last")
        at = end
    return b"".join(plain)


def seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def fold(at: int, last: int, seed: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Walk a proof up the tree; return the old root (of a consistency proof) and the new one (of either kind)."""
    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()
    first = second = seed
    for sibling in path:
        demand(last, "log-proof-invalid", "too long")
        if at & 1 or at == last:
            first, second = node(sibling, first), node(sibling, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = node(second, sibling)
        at, last = at >> 1, last >> 1
    demand(last == 0, "log-proof-invalid", "too short")
    return first, second


class Verifier:
    """Carries files, trust and findings through the steps; each step works on what earlier ones established."""

    def __init__(self, files: dict[str, memoryview], trust: dict[str, Any] | None, opening: tuple[ec.EllipticCurvePrivateKey, Path] | None) -> None:
        self.files, self.trust, self.opening = files, trust or {}, opening
        self.digests = {name: sha(raw) for name, raw in files.items()}
        self.findings: list[dict[str, str]] = []
        self.index, self.admitted = dict[str, Any](), dict[str, list[str]]()      # The latter: which visits, cases and bank the index names.
        self.manifests, self.devices = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()             # By payload digest; by device key id.
        self.links = dict[str, dict[int, tuple[str, str]]]()                      # By device, by seq: payload digest and prev.
        self.stamps = {name: "" for name in files if name.endswith(".tsr")}       # When a third party saw the log, once that is shown.
        self.head, self.heads = (0, b""), set[tuple[int, bytes]]()                # Size and root of the newest checkpoint, and of all others.
        self.witnessed, self.indices = dict[str, int](), dict[str, int]()         # How far each witness saw; each manifest's index in the log.
        self.claimed = {name for name in files if not re.match("data/(?!log/|custody.csv$|keys/service.json$)", name)}      # The rest must be taken.

    def found(self, name: str, file: str, detail: str = "") -> None:
        self.findings.append({"name": name, "file": file, "detail": detail})

    def guard(self, file: str, check: Callable[..., object], *arguments: object) -> None:
        """Run one check; whatever breaks becomes a finding about its file."""
        try:
            check(*arguments)
        except (Bad, InvalidSignature, InvalidTag, *SPOILED) as error:
            name = {InvalidSignature: "signature-invalid", InvalidTag: "seal-broken"}.get(type(error), "file-malformed")
            self.found(*((error.args[0], file, error.args[1]) if isinstance(error, Bad) else (name, file, type(error).__name__)))

    def take(self, name: str) -> memoryview:
        """Return a file, noting that something accounts for it; what nothing accounts for at the end is a finding."""
        demand(name in self.files, "file-missing", name)
        self.claimed.add(name)
        return self.files[name]

    def under(self, folder: str) -> list[str]:
        return [name for name in self.files if name.startswith(f"data/{folder}")]

    def read(self, name: str, typ: str, role: str) -> dict[str, Any]:
        """Take a file that is a compact token with header exactly alg, kid, typ; verify it by the trusted keys of a role."""
        keys, (protected, body, signature) = dict(jwk_key(jwk) for jwk in self.trust[role]), str(self.take(name), "ascii").split(".")
        header = read_json(unb64u(protected))
        demand(set(header) == {"alg", "kid", "typ"} and (header["alg"], header["typ"]) == ("ES256", typ), "header-not-allowed")
        demand(header["kid"] in keys, "key-not-trusted", str(header["kid"])[:60])
        es256(keys[header["kid"]], protected, body, signature)
        return dict(read_json(unb64u(body)))

    def run(self, since: str | None, authority: Path | None) -> list[dict[str, str]]:
        """Run steps 2 to 11 and return what was found."""
        if not self.trust:
            self.guard("data/keys/service.json", lambda: self.trust.update(read_json(self.files["data/keys/service.json"])))
        each = {"manifests/": self.check_envelope, "recordings/": self.check_recording, "follow-ups/": self.check_follow_up}
        steps: list[tuple[str, Callable[[], object]]] = [
            ("manifest-sha256.txt", self.check_bag), ("data/pack.jws", self.check_index), ("data/log/checkpoint", lambda: self.check_log(since)),
            ("data/keys/devices.jws", self.check_devices), *((one, partial(check, one)) for at, check in each.items() for one in self.under(at)),
            ("data/manifests", self.check_receipts), ("data/manifests", self.check_chains), ("data/copies", self.check_items),
            ("data/authorisations", self.check_cash), *((name, partial(self.check_stamp, name, authority)) for name in self.stamps if authority)]
        for file, step in steps:
            self.guard(file, step)
        return self.findings + [{"name": "file-unexpected", "file": name, "detail": ""} for name in sorted(set(self.files) - self.claimed)]

    def check_bag(self) -> None:
        """Step 2. Both BagIt lists say what is here."""
        tags = ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"]
        demand({*self.under(""), *tags, "tagmanifest-sha256.txt"} == set(self.files), "bag-file-unexpected")
        demand(bytes(self.files["bagit.txt"]) == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "bag-declaration-changed")
        for listing, names in (("manifest-sha256.txt", sorted(self.under(""))), ("tagmanifest-sha256.txt", tags)):
            lines = "".join(f"{self.digests[name]}  {name}\n" for name in names)
            self.guard(listing, demand, lines.encode() == self.files[listing], "bag-list-differs")

    def check_index(self) -> None:
        """Step 3. The signed index names exactly the files that are here."""
        self.index = index = self.read("data/pack.jws", "evidence-pack+jws", "receipt_keys")
        demand(index["schema"] in ("visit-pack/1", "evidence-pack/2"), "schema-unknown")
        self.admitted = {"bank": [index["bank"]], **{one: index.get(f"{one}s", [index.get(one)]) for one in ("case", "visit")}}
        listed = {one["name"]: (one["sha256"], one["size"]) for one in index["files"]}
        here = {name: (digest, len(self.files[name])) for name, digest in self.digests.items() if name == "bag-info.txt" or name[:5] == "data/"}
        for name in sorted(name for name in {**listed, **here} if name != "data/pack.jws" and listed.get(name) != here.get(name)):
            self.found("index-differs", name, "not as signed")

    def check_log(self, since: str | None) -> None:
        """Step 4. The newest checkpoint, and its consistency with the one known from before."""
        self.head = self.seen(str(self.files["data/log/checkpoint"], "utf-8"))
        self.heads |= {self.seen(str(self.files[name], "utf-8")) for name in self.under("log/") if re.search(r"/(witnessed|stamped)-\d+$", name)}
        if since is not None:
            self.extends(self.seen(since))

    def seen(self, signed: str) -> tuple[int, bytes]:
        """Verify a C2SP checkpoint by the log's key; return size and root, and note how far each trusted witness on it has seen."""
        text, _, lines = signed.rpartition("\n\n")
        (origin, size, root), note = text.split("\n"), text + "\n"
        demand(lines.endswith("\n") and re.fullmatch(r"0|[1-9][0-9]{0,15}", size, re.ASCII), "checkpoint-malformed")
        demand(origin == self.trust["log"]["origin"], "checkpoint-of-another-log", origin[:80])
        keys = [(origin, b"\n\x01", unb64(key, 32)) for key in (self.trust["log"]["key"], *self.trust["log"].get("former_keys", ()))]
        keys += [(one["name"], b"\n\x04", unb64(one["key"], 32)) for one in self.trust.get("witnesses", [])]
        known, seen = {(name, hashlib.sha256(name.encode() + kind + key).digest()[:4]): key for name, kind, key in keys}, set[str]()
        for line in lines[:-1].split("\n"):
            dash, name, encoded = line.split(" ")
            raw = unb64(encoded)
            demand(dash == "—", "checkpoint-malformed", "signature line")
            if (name, raw[:4]) in known:
                head = b"" if name == origin else f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n".encode()
                ed25519.Ed25519PublicKey.from_public_bytes(known[name, raw[:4]]).verify(raw[12 if head else 4:], head + note.encode())
                seen.add(name)
        demand(origin in seen, "checkpoint-not-signed", "no signature of the log's key")
        self.witnessed.update({name: max(int(size), self.witnessed.get(name, 0)) for name in seen - {origin}})
        return int(size), unb64(root, 32)

    def extends(self, old: tuple[int, bytes]) -> None:
        """Demand that the pack's newest checkpoint extends an older one (RFC 9162 §2.1.4.2)."""
        size, name, (new_size, new_root) = old[0], f"data/log/consistency-{old[0]}.txt", self.head
        demand(size <= new_size, "checkpoint-stale", f"the pack ends at {new_size}, {size} is known")
        if size == new_size:
            demand(old[1] == new_root, "log-forked", f"two roots at size {size}")
        elif size > 0:
            demand(name in self.files, "consistency-proof-missing", name)
            seed, *path = [old[1]] * (not size & (size - 1)) + [unb64(line, 32) for line in str(self.files[name], "ascii").splitlines()]
            at, last = size - 1, new_size - 1
            while at & 1:
                at, last = at >> 1, last >> 1
            demand(fold(at, last, seed, path) == (old[1], new_root), "log-inconsistent", f"{size} to {new_size}")

    def check_stamp(self, name: str, authority: Path) -> None:
        """Step 11. A third party says when a checkpoint existed (RFC 3161); its certificates are judged at the instant that it names."""
        with tempfile.TemporaryDirectory() as folder:
            (stamp := Path(folder, "stamp.tsr")).write_bytes(self.files[name])
            openssl = partial(subprocess.run, capture_output=True, check=False, encoding="utf-8", errors="replace")
            said = openssl(["openssl", "ts", "-reply", "-in", stamp, "-text"]).stdout
            found = re.search(r"^Time stamp: (\w{3} +\d+ [\d:]{8})(?:\.\d+)?( \d{4}) GMT$", said, re.ASCII | re.MULTILINE)
            at = datetime.strptime("".join(found.groups()), "%b %d %H:%M:%S %Y").replace(tzinfo=UTC) if found else datetime.fromtimestamp(0, UTC)
            told = openssl(["openssl", "ts", "-verify", "-in", stamp, "-digest", self.digests[name[:-4]], "-CAfile", authority,
                            "-partial_chain", "-attime", f"{at.timestamp():.0f}"])
            demand(told.returncode == 0, "stamp-invalid", told.stderr[-200:])
            self.stamps[name] = at.isoformat()

    def check_devices(self) -> None:
        """Step 5. The signed history of device keys."""
        for device in self.read("data/keys/devices.jws", "device-history+jws", "receipt_keys")["devices"]:
            kid, key = jwk_key(device["jwk"])
            demand(kid == device["kid"], "device-key-differs", str(device["kid"])[:60])
            self.devices[kid] = {**device, "key": key}
            demand((pinned := self.trust.get("devices", "history")) == "history" or pinned.get(kid) == device["person"], "device-not-trusted", kid)

    def check_envelope(self, name: str) -> None:
        """Step 6. Shape, canonical payload, every signature, two people."""
        envelope = read_json(self.take(name))
        demand(set(envelope) == {"payload", "signatures"} and canonical(envelope) == self.files[name], "malformed-envelope")
        manifest, digest = read_json(payload := unb64u(envelope["payload"])), sha(payload)
        demand(canonical(manifest) == payload, "payload-not-canonical")
        demand(name == f"data/manifests/{digest}.json", "manifest-renamed", digest)
        demand(manifest["schema"] == "visit-evidence/1" and manifest["kind"] in COSIGNED | SINGLE, "schema-unknown")
        demand(all(manifest[field] in admitted for field, admitted in self.admitted.items()), "manifest-foreign")
        self.manifests[digest] = manifest
        signers = [self.signer(member, envelope["payload"], manifest, digest) for member in envelope["signatures"]]
        demand(len(signers) == len(set(signers)) <= 2, "cosigner-not-distinct")
        demand(manifest["device"] in signers, "capturer-missing")
        if manifest["kind"] in COSIGNED:
            demand(len(signers) == 2, "cosignature-missing", manifest["kind"])
            demand(manifest["actor"] != manifest["cosigner"] and manifest["device"] != manifest["cosigner_device"], "cosigner-not-distinct")

    def signer(self, member: dict[str, str], body: str, manifest: dict[str, Any], digest: str) -> str:
        """Verify one signature and note its link in that device's chain."""
        named = {manifest["device"]: ("capturer", manifest["actor"]), manifest["cosigner_device"]: ("witness", manifest["cosigner"])}
        demand(set(member) == {"protected", "signature"}, "malformed-envelope")
        kid, ev = (header := read_json(unb64u(member["protected"])))["kid"], header["ev"]
        demand((*sorted(header), *sorted(ev)) == ("alg", "ev", "kid", "typ", "at", "pos", "prev", "role", "seq"), "header-not-allowed")
        demand((header["alg"], header["typ"]) == ("ES256", "visit-evidence+jws"), "header-not-allowed")
        demand(kid in self.devices, "unknown-device", str(kid)[:60])
        demand(named.get(kid) == (ev["role"], self.devices[kid]["person"]), "signer-not-named", kid)
        es256(self.devices[kid]["key"], member["protected"], body, member["signature"])
        if ev["role"] == "capturer":
            demand((ev["seq"], ev["prev"], ev["at"]) == (manifest["seq"], manifest["prev"], manifest["captured"]), "header-differs")
        chain = self.links.setdefault(kid, {})
        demand(chain.setdefault(ev["seq"], (digest, ev["prev"])) == (digest, ev["prev"]), "chain-fork", f"{kid} seq {ev['seq']}")
        return str(kid)

    def check_receipts(self) -> None:
        """Step 7. Each manifest has a receipt by a trusted key and a proof that it is logged; the newest checkpoint extends all others."""
        demand(self.manifests, "manifests-missing")
        for digest, manifest in self.manifests.items():
            self.guard(f"data/receipts/{digest}.jws", self.check_receipt, digest, manifest)
            if (report := f"data/reports/{digest}.json") in self.files:
                self.guard(report, self.check_proof, f"data/proofs/{digest}.examined.tlog-proof", bytes(self.take(report)), "examined")
        for head in sorted(self.heads):
            self.guard(f"data/log/consistency-{head[0]}.txt", self.extends, head)
        for digest, index in self.indices.items():
            is_seen = sum(size > index for size in self.witnessed.values()) >= self.trust.get("witnesses_min", 0)
            self.guard(f"data/manifests/{digest}.json", demand, is_seen, "checkpoint-not-witnessed", f"index {index}")

    def check_receipt(self, digest: str, manifest: dict[str, Any]) -> None:
        """Receipt, manifest and log entry say the same."""
        self.indices[digest] = self.check_proof(f"data/proofs/{digest}.tlog-proof", canonical(manifest), "manifest")
        receipt = self.read(f"data/receipts/{digest}.jws", "evidence-receipt+jws", "receipt_keys")
        said, meant = ({one["item_id"]: one["sha256"] for one in listed["items"]} for listed in (receipt, manifest))
        known = (digest, self.trust["log"]["origin"], self.indices[digest], meant)
        demand((receipt["manifest_sha256"], receipt["log_origin"], receipt["log_index"], said) == known, "receipt-differs")
        devices = [self.devices.get(kid, {}) for kid in (manifest["device"], manifest["cosigner_device"])]
        for state in [state for device in devices for state in device.get("states", []) if state["state"] == "revoked"]:
            demand(seconds(receipt["received_at"]) < seconds(state.get("compromised_since") or state["at"]), "device-revoked")

    def check_recording(self, name: str) -> None:
        """Step 7. A recorder's file was brought in for this visit by a third person, logged, and signed for by one of the pair."""
        said = self.read(name, "recording-import+jws", "derivation_keys")
        demand(name == f"data/recordings/{said['sha256']}.jws", "recording-renamed")
        self.check_proof(f"data/proofs/{said['sha256']}.recording.tlog-proof", canonical(said), "recording")
        meant = {field: said[field] for field in ("visit", "case", "bank")}
        takers = [one for one in self.manifests.values() if {**one, **meant} == one and said["sha256"] in {item["sha256"] for item in one["items"]}]
        demand(takers, "recording-not-accepted")
        demand(all(said["imported_by"] not in (one["actor"], one["cosigner"]) for one in takers), "recording-imported-by-pair")

    def check_follow_up(self, name: str) -> None:
        """Step 7. What the bank did after it ruled a case of this pack to be fraud is logged, and named by its own id."""
        said = read_json(raw := bytes(self.take(name)))
        demand(said["case"] in self.admitted["case"] and name == f"data/follow-ups/{said['follow_up']}.json", "follow-up-foreign")
        self.check_proof(f"data/proofs/{said['follow_up']}.follow-up.tlog-proof", raw, "follow-up")

    def check_proof(self, name: str, payload: bytes, entry_type: str) -> int:
        """Verify a `tlog-proof@v1` for a payload; return the entry's index."""
        head, _, signed = bytes(self.take(name)).decode("utf-8").partition("\n\n")
        (magic, extra, index, *path), number = head.split("\n"), r"index (0|[1-9]\d*)"
        demand((magic, extra[:6]) == ("c2sp.org/tlog-proof@v1", "extra ") and re.fullmatch(number, index, re.ASCII), "log-proof-malformed")
        claim, (size, root), at = read_json(unb64(extra[6:])), self.seen(signed), int(index[6:])
        demand(claim["type"] == entry_type and at < size, "log-proof-invalid", "entry type, or index outside the tree")
        leaf = canonical({"type": entry_type, "sha256": sha(unb64u(claim["salt"]) + payload), "time": claim["time"], "index": at})
        demand(fold(at, size - 1, hashlib.sha256(b"\x00" + leaf).digest(), [unb64(one, 32) for one in path])[1] == root, "log-proof-invalid", name)
        self.heads.add((size, root))
        return at

    def check_chains(self) -> None:
        """Step 8. Neighbouring links of a device join; each close covers manifests that are here."""
        for kid, chain in self.links.items():
            for seq, (_, prev) in chain.items():
                joined = (seq == 1) == (prev == 64 * "0") and chain.get(seq - 1, ("", prev))[0] in ("", prev)
                self.guard("data/manifests", demand, joined, "chain-broken", f"{kid} seq {seq}")
                self.guard("data/manifests", demand, seq <= self.devices[kid].get("last_seq", seq), "device-renewed", f"{kid} seq {seq}")
        for digest, manifest in self.manifests.items():
            for covered in manifest["facts"]["manifests"] if manifest["kind"] == "visit_close" else ():
                self.guard(f"data/manifests/{digest}.json", demand, covered in self.manifests, "manifest-missing", covered)

    def check_items(self) -> None:
        """Step 9. Each item is here as a copy with a signed derivation, or sealed, or withheld by the signed index."""
        copies, withheld = {Path(name).stem: name for name in self.under("copies/")}, {one["sha256"] for one in self.index.get("withheld", [])}
        for manifest, item, digest in [(one, item, item["sha256"]) for one in self.manifests.values() for item in one["items"]]:
            if is_sealed := f"data/sealed/{digest}.jwe" in self.files:
                self.guard(f"data/sealed/{digest}.fvseal", self.check_sealed, item, str(manifest["tenant"]))
            if digest in copies or f"data/derivations/{digest}.jws" in self.files:
                self.guard(copies.get(digest, f"data/copies/{digest}"), self.check_copy, digest, copies.get(digest, ""))
            elif not is_sealed and digest not in withheld:
                self.found("item-missing", digest, str(item["item_id"]))

    def check_copy(self, original: str, name: str) -> None:
        """The stamped copy is the one that was derived from the original."""
        copy, statement = self.take(name), self.read(f"data/derivations/{original}.jws", "derivation+jws", "derivation_keys")
        demand(statement["original_sha256"] == original, "derivation-differs", "original")
        demand(sha(copy) == statement["copy_sha256"], "digest-mismatch", name)

    def check_sealed(self, item: dict[str, Any], tenant: str) -> None:
        """A sealed original comes with its key; opened, it is the one that was signed."""
        digest = item["sha256"]
        sealed, token = self.take(f"data/sealed/{digest}.fvseal"), bytes(self.take(f"data/sealed/{digest}.jwe")).decode("ascii")
        if self.opening is not None:
            content = opened(sealed, token, self.opening[0], tenant.encode() + b"\0" + bytes.fromhex(digest))
            demand((sha(content), len(content)) == (digest, item["size"]), "digest-mismatch")
            self.opening[1].mkdir(exist_ok=True)
            (self.opening[1] / digest).write_bytes(content)

    def check_cash(self) -> None:
        """Step 10. Each receipt lies within an authorisation of the bank; amounts agree in every spelling."""
        grants, self.trust["bank"] = dict[str, dict[str, Any]](), self.trust["bank_keys"].get(self.index["bank"], [])
        def read_grant(name: str) -> None:
            grant = self.read(name, "cash-authorisation+jwt", "bank")
            demand(name == f"data/authorisations/{grant['jti']}.jwt", "authorisation-renamed")
            grants[grant["jti"]] = {**grant, "taken_fen": 0, "taken": 0}
        for name in self.under("authorisations/"):
            self.guard(name, read_grant, name)
        for digest, manifest in sorted(self.manifests.items(), key=lambda one: str(one[1]["captured"])):
            if manifest["kind"] == "cash_receipt":
                self.guard(f"data/manifests/{digest}.json", check_collection, manifest, grants)


def check_collection(manifest: dict[str, Any], grants: dict[str, dict[str, Any]]) -> None:
    """CASH-01 to CASH-07 of one receipt."""
    facts, amount_fen = manifest["facts"], manifest["facts"]["amount_fen"]
    demand(capitals(amount_fen) == facts["amount_capitals"], "amount-differs", f"{amount_fen} fen against the capitals")
    counted_fen = sum(one["face_fen"] * one["count"] for one in facts.get("denominations", []))
    demand(counted_fen in (0, amount_fen), "amount-differs", f"{amount_fen} fen against {counted_fen} counted")
    demand(facts["authorisation_jti"] in grants, "cash-not-authorised", str(facts["authorisation_jti"]))
    grant, meant = grants[facts["authorisation_jti"]], (manifest["bank"], manifest["case"], {manifest["device"], manifest["cosigner_device"]})
    demand((grant["iss"], grant["case"], set(grant["devices"])) == meant, "cash-not-authorised", "bank, case or devices")
    demand(facts["instrument"] in grant["instruments"], "cash-not-authorised", "instrument")
    demand(grant["iat"] < seconds(manifest["captured"]) < grant["exp"], "authorisation-expired")
    grant["taken_fen"], grant["taken"] = grant["taken_fen"] + amount_fen, grant["taken"] + 1
    demand(grant["taken"] <= grant["max_collections"], "authorisation-exhausted")
    demand(grant["taken_fen"] <= grant["cap_fen"], "cap-exceeded", f"{grant['taken_fen']} of {grant['cap_fen']} fen")


def capitals(amount_fen: int) -> str:
    """Spell an amount in Chinese financial capitals."""
    text = "".join("零壹贰叁肆伍陆柒捌玖"[int(digit)] + unit for digit, unit in zip(f"{amount_fen:014}", "仟佰拾亿仟佰拾万仟佰拾元角分", strict=True))
    for told, short in (("零[仟佰拾]", "零"), ("零{4}([亿万])", "零零"), ("零+([亿万])", r"\1零"), ("零+元", "元"), ("零+", "零"), ("^零?元?", ""),
                        ("零角零分|零分", "整"), ("零角", "零"), ("^零", "")):
        text = re.sub(told, short, text)
    return text


def verify(pack: Path, trust: dict[str, Any] | None, since: str | None, key: ec.EllipticCurvePrivateKey | None = None,
           authority: Path | None = None) -> dict[str, Any]:
    """Return verdict, findings, counts, what is withheld, and each stamp's time, "" where none was shown. Raises Bad, OSError or of SPOILED."""
    with pack.open("rb") as source:
        files, faults = zip_files(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))      # Stays open as long as the views into it.
    verifier = Verifier(files, trust, None if key is None else (key, pack.with_name(pack.name + ".opened")))
    findings = faults + verifier.run(since, authority)
    verdict = "findings" if findings else "self-consistent" if trust is None else "verified"
    folders = ("manifests", "receipts", "proofs", "reports", "copies", "sealed", "authorisations")
    return {"verdict": verdict, "findings": findings, "counts": {folder: len(verifier.under(folder + "/")) for folder in folders},
            "withheld": verifier.index.get("withheld", []), "stamps": verifier.stamps}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="verify_pack", description="Verify an evidence pack offline.")
    for name in ("pack", "--trust", "--since", "--open", "--tsa", "--crl", "--at"):
        parser.add_argument(name, type=str if name == "--at" else Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        trust = None if options.trust is None else dict(read_json(options.trust.read_bytes()))
        demand(trust is None or trust.get("schema") == "fieldvisit-trust/1", "unreadable", "the trust file is not fieldvisit-trust/1")
        key: Any = options.open and serialization.load_pem_private_key(options.open.read_bytes(), None)
        outcome = verify(options.pack, trust, options.since and options.since.read_text("utf-8"), key, options.tsa)
        if options.tsa and options.crl:
            importlib.import_module("evidence.revocation" if __package__ else "revocation").weigh(outcome, vars(options))
    except (Bad, OSError, ImportError, *SPOILED) as error:
        fault = {"name": "unreadable", "file": str(options.pack), "detail": str(error.args[-1] if error.args else error)}
        outcome = {"verdict": "unreadable", "findings": [fault], "counts": {}, "stamps": {}, "withheld": []}
    if options.json:
        print(json.dumps(outcome, ensure_ascii=False, indent=1))
    else:
        lines = [f"{one['name']}: {one['file']} {one['detail']}".rstrip() for one in outcome["findings"]]
        lines += [f"not here: {one['sha256']} {one['reason']}" for one in outcome["withheld"]]
        lines += [f"stamped: {name} {at or 'was not checked; name its authority by --tsa'}" for name, at in outcome["stamps"].items()]
        lines += [f"{word}: {name} {detail}" for name, (word, detail) in outcome.get("revocation", {}).items()]
        counts = ", ".join(f"{name} {count}" for name, count in sorted(outcome["counts"].items()))
        print("\n".join([*lines, f"{outcome['verdict']}: {len(outcome['findings'])} findings; {counts}"]))
    return {"unreadable": 2, "verified": 0}.get(outcome["verdict"], 1)


if __name__ == "__main__":
    raise SystemExit(main())
