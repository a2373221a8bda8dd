"""Verify an evidence pack offline. One file, standard library and `cryptography` only, written apart from the service.

    python -m evidence.verify_pack PACK --trust TRUST.json [--since CHECKPOINT] [--json]        (or: python verify_pack.py PACK …)

Exit 0: clean. Exit 1: findings, each named with its file; without --trust the best verdict is `self-consistent`, also 1.
Exit 2: not readable as a pack at all.

TRUST.json comes from somewhere else than the pack:

    {"schema": "fieldvisit-trust/1",
     "log": {"origin": "log.example/agency", "key": "<base64 of 32 Ed25519 bytes>"},
     "receipt_keys": [<public P-256 JWK>, …],         sign receipts, the device history and the pack's index
     "derivation_keys": [<JWK>, …],                   sign "this stamped copy was made from that original"
     "bank_keys": {"<bank id>": [<JWK>, …]},          sign cash authorisations
     "witnesses": [{"name": "witness.example/bank", "key": "<base64>"}], "witnesses_min": 0,
     "devices": "history"}                            or {"<device kid>": "<person id>", …} to pin every phone

Steps: 1 container rebuilt byte for byte, 2 bag digests, 3 signed index of files, 4 checkpoints and their consistency, 5 device history,
6 manifests: shape, signatures, two people, 7 receipts and log proofs, 8 device chains and closes, 9 items and copies, 10 cash.
"""

import argparse
import base64
import hashlib
import json
import mmap
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

Buffer: TypeAlias = bytes | memoryview | mmap.mmap
COSIGNED = {"arrival", "declaration", "cash_receipt", "void", "visit_close"}
ZEROS = "0" * 64
SPOILED = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, struct.error)


class Bad(Exception):
    """A fault with a stable name."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name, detail)
        self.name, self.detail = name, detail


class Unreadable(Exception):
    """Not a pack: nothing further can be said."""


def sha(raw: Buffer) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(raw).hexdigest()


def demand(truth: object, name: str, detail: str = "") -> None:
    """Raise Bad unless true."""
    if not truth:
        raise Bad(name, detail)


def zip_files(pack: Buffer) -> tuple[dict[str, memoryview], list[dict[str, str]]]:
    """Step 1. Read a stored ZIP; name every container byte that our canonical form would not have."""
    view, at, files, central, faults = memoryview(pack), 0, dict[str, memoryview](), b"", []
    while bytes(view[at:at + 4]) == b"PK\x03\x04":
        crc, size, _, name_length, _ = struct.unpack("<IIIHH", view[at + 14:at + 30])
        start = at + 30 + name_length
        name, data = bytes(view[at + 30:start]), view[start:start + size]
        text = name.decode("ascii")
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, crc, len(data), len(data), len(name), 0)
        if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", text) or ".." in text or (files and text <= max(files)):
            raise Unreadable(f"file names are plain, different and sorted: {text!r}")
        if bytes(view[at:start]) != b"PK\x03\x04" + fields + name or zlib.crc32(data) != crc:
            faults.append({"name": "container-differs", "file": text, "detail": "header or checksum"})
        central += b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + name
        files[text], at = data, start + size
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(files), len(files), len(central), at, 0)
    if not files:
        raise Unreadable("not a pack")
    if bytes(view[at:]) != central + end:
        faults.append({"name": "container-differs", "file": "", "detail": "directory of the container"})
    return files, faults


def read_json(raw: Buffer) -> Any:
    """Parse strict JSON: no duplicate keys, no floats, no NaN."""
    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        demand(len({key for key, _ in members}) == len(members), "malformed-json", "duplicate key")
        return dict(members)

    def refuse(text: str) -> None:
        raise Bad("malformed-json", f"number {text[:20]}")

    return json.loads(bytes(raw).decode("utf-8"), object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)


def canonical(value: Any) -> bytes:
    """Spell a value as RFC 8785 does, for the subset without floats and with ASCII keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")


def unb64u(text: str) -> bytes:
    """Decode unpadded base64url in its only spelling."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    demand(base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text, "malformed-base64")
    return raw


def unb64(text: str, length: int | None = None) -> bytes:
    """Decode standard base64 in its only spelling."""
    raw = base64.b64decode(text, validate=True)
    demand(length in (None, len(raw)) and base64.b64encode(raw).decode() == text, "malformed-base64")
    return raw


def jwk_key(jwk: dict[str, str]) -> tuple[str, ec.EllipticCurvePublicKey]:
    """Return thumbprint and key of a public P-256 JWK."""
    demand(set(jwk) == {"kty", "crv", "x", "y"} and (jwk["kty"], jwk["crv"]) == ("EC", "P-256"), "key-malformed")
    x, y = (int.from_bytes(unb64u(jwk[name]), "big") for name in "xy")
    kid = base64.urlsafe_b64encode(hashlib.sha256(canonical(jwk)).digest()).rstrip(b"=").decode()
    return kid, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def es256(key: ec.EllipticCurvePublicKey, protected: str, body: str, signature: str) -> None:
    """Verify one ES256 signature."""
    raw = unb64u(signature)
    demand(len(raw) == 64, "signature-invalid", "64 bytes are expected")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(der, f"{protected}.{body}".encode("ascii"), ec.ECDSA(hashes.SHA256()))


def compact(raw: Buffer, typ: str, keys: dict[str, ec.EllipticCurvePublicKey]) -> dict[str, Any]:
    """Verify a compact token with header exactly alg, kid, typ."""
    protected, body, signature = bytes(raw).decode("ascii").split(".")
    header = read_json(unb64u(protected))
    demand(set(header) == {"alg", "kid", "typ"} and (header["alg"], header["typ"]) == ("ES256", typ), "header-not-allowed")
    demand(header["kid"] in keys, "key-not-trusted", str(header["kid"])[:60])
    es256(keys[header["kid"]], protected, body, signature)
    payload: dict[str, Any] = read_json(unb64u(body))
    return payload


def utc(text: str) -> datetime:
    """Read an instant."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def node(left: bytes, right: bytes) -> bytes:
    """Hash two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(at: int, last: int, seed: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Walk a proof up the tree; return the old root (of a consistency proof) and the new one (of either kind)."""
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


def consistent(old: tuple[int, bytes], new: tuple[int, bytes], path: list[bytes]) -> None:
    """Verify that one tree extends another (RFC 9162 §2.1.4.2)."""
    demand(0 < old[0] < new[0] and path, "log-inconsistent", f"{old[0]} to {new[0]}")
    seed, *path = path if old[0] & (old[0] - 1) else [old[1], *path]
    at, last = old[0] - 1, new[0] - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    demand(fold(at, last, seed, path) == (old[1], new[1]), "log-inconsistent", f"{old[0]} to {new[0]}")


def checkpoint(signed: str, trust: dict[str, Any]) -> tuple[int, bytes]:
    """Verify a C2SP checkpoint by the log's key and the witnesses demanded; return size and root."""
    text, blank, lines = signed.rpartition("\n\n")
    demand(blank and lines.endswith("\n") and len(text.split("\n")) == 3, "checkpoint-malformed")
    note = text + "\n"
    origin, size, root = text.split("\n")
    demand(origin == trust["log"]["origin"], "checkpoint-of-another-log", origin[:80])
    demand(re.fullmatch(r"0|[1-9][0-9]{0,15}", size, re.ASCII), "checkpoint-malformed", "size")
    witnesses = {one["name"]: unb64(one["key"], 32) for one in trust.get("witnesses", [])}
    log_key, is_signed, seen = unb64(trust["log"]["key"], 32), False, set()
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        raw = unb64(encoded)
        demand(dash == "—", "checkpoint-malformed")
        if name == origin and raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + log_key).digest()[:4]:
            Ed25519PublicKey.from_public_bytes(log_key).verify(raw[4:], note.encode())
            is_signed = True
        elif name in witnesses and raw[:4] == hashlib.sha256(name.encode() + b"\n\x04" + witnesses[name]).digest()[:4]:
            cosigned = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n{note}".encode()
            Ed25519PublicKey.from_public_bytes(witnesses[name]).verify(raw[12:], cosigned)
            seen.add(name)
    demand(is_signed, "checkpoint-not-signed", "no signature of the log's key")
    demand(len(seen) >= trust.get("witnesses_min", 0), "checkpoint-not-witnessed", f"{len(seen)} witnesses")
    return int(size), unb64(root, 32)


class Verifier:
    """Carries files, trust and findings through the steps; each step works on what earlier ones established."""

    def __init__(self, files: dict[str, memoryview], trust: dict[str, Any] | None) -> None:
        self.files = files
        self.findings: list[dict[str, str]] = []
        self.counts: dict[str, int] = {}
        self.trust: dict[str, Any] = trust or {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.links: dict[str, dict[int, tuple[str, str]]] = {}
        self.received: set[str] = set()
        self.heads: set[tuple[int, bytes]] = set()
        self.devices: dict[str, dict[str, Any]] = {}
        self.index: dict[str, Any] = {}
        self.head: tuple[int, bytes] | None = None

    def guard(self, file: str, check: Callable[..., object], *arguments: object) -> None:
        """Run one check; whatever breaks becomes a finding about its file."""
        try:
            check(*arguments)
        except Bad as fault:
            self.findings.append({"name": fault.name, "file": file, "detail": fault.detail})
        except InvalidSignature:
            self.findings.append({"name": "signature-invalid", "file": file, "detail": ""})
        except SPOILED as error:
            self.findings.append({"name": "file-malformed", "file": file, "detail": type(error).__name__})

    def under(self, folder: str) -> Iterator[str]:
        """Yield the names under a folder of `data/`, counting them."""
        names = [name for name in self.files if name.startswith(f"data/{folder}/")]
        self.counts[folder] = len(names)
        yield from names

    def keys(self, role: str) -> dict[str, ec.EllipticCurvePublicKey]:
        """Return trusted keys of a role by thumbprint."""
        return dict(jwk_key(jwk) for jwk in self.trust[role])

    def run(self, since: str | None) -> None:
        """Run steps 2 to 10."""
        if not self.trust:
            self.guard("data/keys/service.json", lambda: self.trust.update(read_json(self.files["data/keys/service.json"])))
        for file, step in (
            ("manifest-sha256.txt", self.check_bag), ("data/pack.jws", self.check_index), ("data/log/checkpoint", lambda: self.check_log(since)),
            ("data/keys/devices.jws", self.check_devices), ("data/manifests", self.check_manifests), ("data/receipts", self.check_receipts),
            ("data/reports", self.check_reports), ("data/log", self.check_heads), ("data/manifests", self.check_chains),
            ("data/copies", self.check_items), ("data/authorisations", self.check_cash),
        ):
            self.guard(file, step)

    def check_bag(self) -> None:
        """Step 2. Every file is listed with its digest, in both BagIt lists."""
        data = {name: sha(raw) for name, raw in self.files.items() if name.startswith("data/")}
        tags = {name: sha(raw) for name, raw in self.files.items() if not name.startswith(("data/", "tagmanifest"))}
        demand(set(tags) == {"bagit.txt", "bag-info.txt", "manifest-sha256.txt"}, "bag-file-unexpected")
        for listing, digests in (("manifest-sha256.txt", data), ("tagmanifest-sha256.txt", tags)):
            expected = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
            listed = {line[66:]: line[:64] for line in bytes(self.files[listing]).decode("ascii").splitlines()}
            for name in sorted(set(listed) | set(digests)):
                if listed.get(name) != digests.get(name):
                    state = "missing" if name not in digests else "not-listed" if name not in listed else "changed"
                    self.findings.append({"name": f"file-{state}", "file": name, "detail": listing})
            demand(bytes(self.files[listing]).decode("ascii") == expected, "bag-list-not-canonical", listing)
        demand(bytes(self.files["bagit.txt"]) == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "bag-declaration-changed")

    def check_index(self) -> None:
        """Step 3. The signed index names exactly the files that are here."""
        index = compact(self.files["data/pack.jws"], "evidence-pack+jws", self.keys("receipt_keys"))
        demand(index["schema"] == "visit-pack/1", "schema-unknown", str(index["schema"])[:40])
        listed = {one["name"]: (one["sha256"], one["size"]) for one in index["files"]}
        here = {n: (sha(raw), len(raw)) for n, raw in self.files.items() if n == "bag-info.txt" or (n.startswith("data/") and n != "data/pack.jws")}
        for name in sorted(set(listed) ^ set(here) | {name for name in listed if name in here and listed[name] != here[name]}):
            self.findings.append({"name": "index-differs", "file": name, "detail": "not as signed"})
        self.index = index

    def check_log(self, since: str | None) -> None:
        """Step 4. The newest checkpoint, and its consistency with the one known from before."""
        self.head = checkpoint(bytes(self.files["data/log/checkpoint"]).decode("utf-8"), self.trust)
        if since is not None:
            known = checkpoint(since, self.trust)
            demand(known[0] <= self.head[0], "checkpoint-stale", f"the pack ends at {self.head[0]}, {known[0]} is known")
            self.extends(known)

    def extends(self, old: tuple[int, bytes]) -> None:
        """Demand that the pack's newest checkpoint extends an older one."""
        assert self.head is not None
        if old[0] == self.head[0]:
            demand(old[1] == self.head[1], "log-forked", f"two roots at size {old[0]}")
        elif old[0] > 0:
            name = f"data/log/consistency-{old[0]}.txt"
            demand(name in self.files, "consistency-proof-missing", name)
            consistent(old, self.head, [unb64(line, 32) for line in bytes(self.files[name]).decode("ascii").splitlines()])

    def check_devices(self) -> None:
        """Step 5. The signed history of device keys."""
        history = compact(self.files["data/keys/devices.jws"], "device-history+jws", self.keys("receipt_keys"))
        for device in history["devices"]:
            kid, key = jwk_key(device["jwk"])
            demand(kid == device["kid"], "device-key-differs", str(device["kid"])[:60])
            self.devices[kid] = {**device, "key": key}
        pinned = self.trust.get("devices", "history")
        if pinned != "history":
            for kid, device in self.devices.items():
                demand(pinned.get(kid) == device["person"], "device-not-trusted", kid)

    def check_manifests(self) -> None:
        """Step 6. Each envelope by itself."""
        names = list(self.under("manifests"))
        demand(names, "manifests-missing")
        for name in names:
            self.guard(name, self.check_envelope, name)

    def check_envelope(self, name: str) -> None:
        """Shape, canonical payload, every signature, two people."""
        raw = bytes(self.files[name])
        envelope = read_json(raw)
        demand(set(envelope) == {"payload", "signatures"} and canonical(envelope) == raw, "malformed-envelope")
        payload = unb64u(envelope["payload"])
        manifest = read_json(payload)
        demand(canonical(manifest) == payload, "payload-not-canonical")
        digest = sha(payload)
        demand(name == f"data/manifests/{digest}.json", "manifest-renamed", digest)
        demand(manifest["schema"] == "visit-evidence/1", "schema-unknown")
        for field in ("visit", "case", "bank"):
            demand(manifest[field] == self.index[field], "manifest-foreign", field)
        self.manifests[digest] = manifest
        named = {manifest["device"]: ("capturer", manifest["actor"]), manifest["cosigner_device"]: ("witness", manifest["cosigner"])}
        signers = [self.signer(member, envelope["payload"], named, digest) for member in envelope["signatures"]]
        demand(1 <= len(signers) == len(set(signers)) <= 2, "cosigner-not-distinct")
        demand(manifest["device"] in signers, "capturer-missing")
        if manifest["kind"] in COSIGNED:
            demand(len(signers) == 2, "cosignature-missing", manifest["kind"])
            demand(manifest["actor"] != manifest["cosigner"] and manifest["device"] != manifest["cosigner_device"], "cosigner-not-distinct")

    def signer(self, member: dict[str, str], body: str, named: dict[str, tuple[str, str]], digest: str) -> str:
        """Verify one signature and note its link in that device's chain."""
        demand(set(member) == {"protected", "signature"}, "malformed-envelope")
        header = read_json(unb64u(member["protected"]))
        demand(set(header) == {"alg", "kid", "typ", "ev"}, "header-not-allowed")
        demand((header["alg"], header["typ"]) == ("ES256", "visit-evidence+jws"), "header-not-allowed")
        kid, ev = header["kid"], header["ev"]
        demand(set(ev) == {"role", "at", "seq", "prev", "pos"}, "header-not-allowed")
        demand(kid in self.devices, "unknown-device", str(kid)[:60])
        demand(named.get(kid) == (ev["role"], self.devices[kid]["person"]), "signer-not-named", kid)
        es256(self.devices[kid]["key"], member["protected"], body, member["signature"])
        if ev["role"] == "capturer":
            payload = read_json(unb64u(body))
            demand((ev["seq"], ev["prev"], ev["at"]) == (payload["seq"], payload["prev"], payload["captured"]), "header-differs")
        chain = self.links.setdefault(kid, {})
        demand(chain.setdefault(ev["seq"], (digest, ev["prev"])) == (digest, ev["prev"]), "chain-fork", f"{kid} seq {ev['seq']}")
        return str(kid)

    def check_receipts(self) -> None:
        """Step 7. Each manifest has a receipt by a trusted key and a proof that it is logged."""
        keys = self.keys("receipt_keys")
        for name in self.under("receipts"):
            self.guard(name, self.check_receipt, name, keys)
        for digest in set(self.manifests) - self.received:
            self.findings.append({"name": "receipt-missing", "file": f"data/manifests/{digest}.json", "detail": ""})

    def check_receipt(self, name: str, keys: dict[str, ec.EllipticCurvePublicKey]) -> None:
        """Receipt, manifest and log entry say the same."""
        receipt = compact(self.files[name], "evidence-receipt+jws", keys)
        digest = receipt["manifest_sha256"]
        demand(name == f"data/receipts/{digest}.jws" and digest in self.manifests, "receipt-of-no-manifest", str(digest)[:64])
        manifest = self.manifests[digest]
        items = {item["item_id"]: item["sha256"] for item in manifest["items"]}
        demand({one["item_id"]: one["sha256"] for one in receipt["items"]} == items, "receipt-differs", "items")
        demand(receipt["log_origin"] == self.trust["log"]["origin"], "receipt-differs", "log origin")
        index = self.check_proof(f"data/proofs/{digest}.tlog-proof", canonical(manifest), "manifest")
        demand(index == receipt["log_index"], "receipt-differs", "log index")
        self.received.add(digest)
        for kid in (manifest["device"], manifest["cosigner_device"]):
            for state in self.devices.get(kid, {}).get("states", []):
                since = state.get("compromised_since") or state["at"]
                demand(state["state"] != "revoked" or utc(receipt["received_at"]) < utc(since), "device-revoked", str(kid))

    def check_reports(self) -> None:
        """Step 7, continued. Examination reports are logged as well."""
        for name in self.under("reports"):
            proof = f"data/proofs/{Path(name).stem}.examined.tlog-proof"
            self.guard(name, self.check_proof, proof, bytes(self.files[name]), "examined")
        expected = {f"data/proofs/{digest}.tlog-proof" for digest in self.manifests}
        expected |= {f"data/proofs/{Path(name).stem}.examined.tlog-proof" for name in self.under("reports")}
        demand(set(self.under("proofs")) == expected, "proof-unexpected", ", ".join(sorted(set(self.under("proofs")) ^ expected))[:200])

    def check_proof(self, name: str, payload: bytes, entry_type: str) -> int:
        """Verify a `tlog-proof@v1` for a payload; return the entry's index."""
        demand(name in self.files, "log-proof-missing", name)
        head, _, signed = bytes(self.files[name]).decode("utf-8").partition("\n\n")
        magic, extra, index, *path = head.split("\n")
        demand(magic == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra ", "log-proof-malformed")
        demand(re.fullmatch(r"index (0|[1-9]\d*)", index, re.ASCII), "log-proof-malformed")
        claim = read_json(unb64(extra[6:]))
        demand(claim["type"] == entry_type, "log-proof-invalid", "entry type")
        size, root = checkpoint(signed, self.trust)
        leaf = {"type": claim["type"], "sha256": sha(unb64u(claim["salt"]) + payload), "time": claim["time"], "index": int(index[6:])}
        demand(0 <= leaf["index"] < size, "log-proof-invalid", "index outside the tree")
        seed = hashlib.sha256(b"\x00" + canonical(leaf)).digest()
        demand(fold(leaf["index"], size - 1, seed, [unb64(line, 32) for line in path])[1] == root, "log-proof-invalid", name)
        self.heads.add((size, root))
        return int(index[6:])

    def check_heads(self) -> None:
        """Step 4, continued. Every checkpoint met is extended by the newest one."""
        demand(self.head is not None, "checkpoint-missing")
        for head in sorted(self.heads):
            self.guard(f"data/log/consistency-{head[0]}.txt", self.extends, head)

    def check_chains(self) -> None:
        """Step 8. Neighbouring links of a device join; each close covers manifests that are here."""
        for kid, chain in self.links.items():
            for seq, (_, prev) in chain.items():
                joined = (seq == 1) == (prev == ZEROS) and chain.get(seq - 1, ("", prev))[0] in ("", prev)
                self.guard("data/manifests", demand, joined, "chain-broken", f"{kid} seq {seq}")
        for digest, manifest in self.manifests.items():
            for covered in manifest["facts"]["manifests"] if manifest["kind"] == "visit_close" else ():
                self.guard(f"data/manifests/{digest}.json", demand, covered in self.manifests, "manifest-missing", covered)

    def check_items(self) -> None:
        """Step 9. Each item is here as original, or as a copy with a signed derivation, or withheld by the signed index."""
        declared = {item["sha256"]: item for manifest in self.manifests.values() for item in manifest["items"]}
        withheld = {one["sha256"] for one in self.index["withheld"]}
        shown = set()
        for name in self.under("originals"):
            digest = sha(self.files[name])
            here = name == f"data/originals/{digest}" and digest in declared and declared[digest]["size"] == len(self.files[name])
            self.guard(name, demand, here, "digest-mismatch")
            shown.add(Path(name).name)
        keys = self.keys("derivation_keys") if list(self.under("derivations")) else {}
        copies = {Path(name).stem: name for name in self.under("copies")}
        for name in self.under("derivations"):
            self.guard(name, self.check_copy, name, copies, keys)
        derived = {Path(name).stem for name in self.under("derivations")}
        for digest in sorted(set(copies) - derived):
            self.findings.append({"name": "derivation-missing", "file": copies[digest], "detail": ""})
        for digest in sorted((shown | derived) - set(declared)):
            self.findings.append({"name": "item-not-declared", "file": digest, "detail": ""})
        for digest in sorted(set(declared) - shown - derived - withheld):
            self.findings.append({"name": "item-missing", "file": digest, "detail": declared[digest]["item_id"]})

    def check_copy(self, name: str, copies: dict[str, str], keys: dict[str, ec.EllipticCurvePublicKey]) -> None:
        """The stamped copy is the one that was derived from the original."""
        statement = compact(self.files[name], "derivation+jws", keys)
        demand(statement["original_sha256"] == Path(name).stem, "derivation-differs", "original")
        copy = copies.get(Path(name).stem)
        demand(copy is not None and sha(self.files[str(copy)]) == statement["copy_sha256"], "digest-mismatch", str(copy))

    def check_cash(self) -> None:
        """Step 10. Each receipt lies within an authorisation of the bank; amounts agree in every spelling."""
        grants: dict[str, dict[str, Any]] = {}
        for name in self.under("authorisations"):
            self.guard(name, self.read_grant, name, grants)
        receipts = [(digest, manifest) for digest, manifest in self.manifests.items() if manifest["kind"] == "cash_receipt"]
        self.counts["cash_receipts"] = len(receipts)
        for digest, manifest in sorted(receipts, key=lambda one: str(one[1]["captured"])):
            self.guard(f"data/manifests/{digest}.json", check_collection, manifest, grants)

    def read_grant(self, name: str, grants: dict[str, dict[str, Any]]) -> None:
        """Verify one authorisation token of the pack's bank."""
        bank_keys = dict(jwk_key(jwk) for jwk in self.trust["bank_keys"][self.index["bank"]])
        grant = compact(self.files[name], "cash-authorisation+jwt", bank_keys)
        demand(name == f"data/authorisations/{grant['jti']}.jwt", "authorisation-renamed")
        grants[grant["jti"]] = {**grant, "taken_fen": 0, "taken": 0}


def check_collection(manifest: dict[str, Any], grants: dict[str, dict[str, Any]]) -> None:
    """CASH-01 to CASH-07 of one receipt."""
    facts = manifest["facts"]
    amount_fen = facts["amount_fen"]
    demand(capitals(amount_fen) == facts["amount_capitals"], "amount-differs", f"{amount_fen} fen against the capitals")
    counted_fen = sum(one["face_fen"] * one["count"] for one in facts.get("denominations", []))
    demand(counted_fen in (0, amount_fen), "amount-differs", f"{amount_fen} fen against {counted_fen} counted")
    grant = grants.get(facts["authorisation_jti"])
    if grant is None:
        raise Bad("cash-not-authorised", str(facts["authorisation_jti"]))
    demand((grant["iss"], grant["case"]) == (manifest["bank"], manifest["case"]), "cash-not-authorised", "bank or case")
    demand({manifest["device"], manifest["cosigner_device"]} == set(grant["devices"]), "cash-not-authorised", "devices")
    demand(facts["instrument"] in grant["instruments"], "cash-not-authorised", "instrument")
    demand(grant["iat"] < utc(manifest["captured"]).timestamp() <= grant["exp"], "authorisation-expired")
    grant["taken_fen"] += amount_fen
    grant["taken"] += 1
    demand(grant["taken"] <= grant["max_collections"], "authorisation-exhausted")
    demand(grant["taken_fen"] <= grant["cap_fen"], "cap-exceeded", f"{grant['taken_fen']} of {grant['cap_fen']} fen")


def capitals(amount_fen: int) -> str:
    """Spell an amount in Chinese financial capitals."""
    digits, (yuan, rest), groups, text = "零壹贰叁肆伍陆柒捌玖", divmod(amount_fen, 100), [], ""
    while yuan:
        yuan, group = divmod(yuan, 10_000)
        groups.append(group)
    for place in range(len(groups) - 1, -1, -1):
        part = "".join(digits[groups[place] // 10**unit % 10] + ["", "拾", "佰", "仟"][unit] for unit in (3, 2, 1, 0))
        part = re.sub("零[仟佰拾]", "零", part) + (["", "万", "亿"][place] if groups[place] else "")
        text += part
    text = re.sub("零+(?=[万亿]|$)", "", re.sub("零+", "零", text)).lstrip("零") + ("元" if text else "")
    jiao, fen = divmod(rest, 10)
    if not rest:
        return text + "整"
    tail = (digits[jiao] + "角" if jiao else "零" if text else "") + (digits[fen] + "分" if fen else "整")
    return text + tail


def verify(pack: Path, trust: dict[str, Any] | None, since: str | None) -> dict[str, Any]:
    """Return the verdict, findings and counts for a pack. Raises Unreadable or OSError."""
    with pack.open("rb") as source:
        mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)          # Stays open as long as the views into it.
    try:
        files, faults = zip_files(mapped)
    except SPOILED as error:
        raise Unreadable(f"not a canonical ZIP: {type(error).__name__}") from None
    verifier = Verifier(files, trust)
    verifier.run(since)
    findings = faults + verifier.findings
    not_checked = [name for name in files if name.startswith("data/log/") and name.endswith(".tsr")]
    verdict = "findings" if findings else "verified" if trust is not None else "self-consistent"
    return {"verdict": verdict, "findings": findings, "counts": verifier.counts, "not_checked": not_checked}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="verify_pack", description="Verify an evidence pack offline.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--trust", type=Path)
    parser.add_argument("--since", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        trust = None if options.trust is None else read_json(options.trust.read_bytes())
        if trust is not None and (not isinstance(trust, dict) or trust.get("schema") != "fieldvisit-trust/1"):
            raise Unreadable("the trust file is not fieldvisit-trust/1")
        since = None if options.since is None else options.since.read_text("utf-8")
        outcome = verify(options.pack, trust, since)
    except (Unreadable, Bad, OSError, ValueError) as error:
        outcome = {"verdict": "unreadable", "findings": [{"name": "unreadable", "file": str(options.pack), "detail": str(error)}], "counts": {}}
    if options.json:
        print(json.dumps(outcome, ensure_ascii=False, indent=1))
    else:
        for finding in outcome["findings"]:
            print(f"{finding['name']}: {finding['file']} {finding['detail']}".rstrip())
        for name in outcome.get("not_checked", []):
            print(f"not checked here: {name}; use: openssl ts -verify -in {name} -data data/log/checkpoint -CAfile TSA.pem")
        print(f"{outcome['verdict']}: {len(outcome['findings'])} findings; " + ", ".join(f"{n} {c}" for n, c in sorted(outcome["counts"].items())))
    return 2 if outcome["verdict"] == "unreadable" else 0 if outcome["verdict"] == "verified" else 1


if __name__ == "__main__":
    sys.exit(main())
