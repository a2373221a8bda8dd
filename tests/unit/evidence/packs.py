"""A whole small pack: one door with arrival, a cash receipt, a close, receipts, log, copies, authorisation."""

import base64
import io
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence.canonical import canonicalise, sha256_hex
from evidence.envelope import SignatureHeader, SignerRole, assemble, header_for, sign
from evidence.es256 import compact_sign
from evidence.facts import CashReceiptFacts, Denomination, IdentityPresented, Instrument, Kind, PayerRelation, RightParty, VisitCloseFacts
from evidence.handover import seal_item_key
from evidence.keys import generate_key, thumbprint
from evidence.manifest import Manifest, Role, build_manifest, encode_manifest, manifest_digest
from evidence.merkle import inclusion_proof, leaf_hash, nodes_over, root_of
from evidence.pack import Pack, PackCopy, PackEntry, PackSealed, ServiceKeys, measured, trust_document, write_pack
from evidence.sealing import SealContext, Sealer
from evidence.statements import (
    Derivation,
    DeviceHistory,
    DeviceState,
    Logged,
    ReceiptStatus,
    receipt_payload,
    sign_derivation,
    sign_devices,
    sign_receipt,
)
from evidence.translog import Checkpoint, Entry, LogProof, cosign_checkpoint, encode_proof, entry_extra, leaf_bytes, sign_checkpoint
from tests.unit.evidence import builders
from tests.unit.evidence.builders import BILAL, BILAL_KID, DONG, DONG_KID

ORIGIN = "log.example/agency"
COPY, ORIGINAL = b"stamped copy of the photo", b"an original photo"
DAY_S = 1_795_737_600                                  # 2026-11-27T00:00:00Z.


class House:
    """The service's and the bank's keys, and a log."""

    def __init__(self) -> None:
        self.log, self.witness = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.receipt, self.derivation, self.bank, self.recipient = generate_key(), generate_key(), generate_key(), generate_key()
        self.leaves: list[bytes] = [leaf_hash(b"older entry %d" % number) for number in range(3)]

    def keys(self) -> ServiceKeys:
        return ServiceKeys(
            origin=ORIGIN, log_key=self.log.public_key().public_bytes_raw(), receipt=[self.receipt.public_key()],
            derivation=[self.derivation.public_key()],
            banks={"bank-1": [self.bank.public_key()]}, witnesses={"witness.example/bank": self.witness.public_key().public_bytes_raw()})

    def trust(self, witnesses_min: int = 1) -> bytes:
        return trust_document(self.keys(), witnesses_min)

    def checkpoint(self, size: int | None = None) -> str:
        leaves = self.leaves[:size]
        signed = sign_checkpoint(Checkpoint(origin=ORIGIN, size=len(leaves), root=root_of(leaves)), self.log)
        return cosign_checkpoint(signed, "witness.example/bank", self.witness, DAY_S + 9_000)

    def logged(self, entry_type: str, payload: bytes) -> tuple[int, str]:
        """Append an entry; return its index and a proof under the checkpoint of that moment."""
        entry = Entry(type=entry_type, time=builders.AT, salt=len(self.leaves).to_bytes(16, "big"), payload=payload)
        index = len(self.leaves)
        self.leaves.append(leaf_hash(leaf_bytes(entry, index)))
        proof = LogProof(index=index, path=inclusion_proof(self.leaves, index), checkpoint=self.checkpoint(), extra=entry_extra(entry))
        return index, encode_proof(proof)


class Door:
    """The pair's manifests, chained on both devices."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.seq = {BILAL_KID: 0, DONG_KID: 0}
        self.prev = {BILAL_KID: "0" * 64, DONG_KID: "0" * 64}
        self.entries: list[PackEntry] = []
        self.digests: list[str] = []

    def add(self, kind: Kind, facts: Any, captured: str, *, witness: bool = True, **changes: Any) -> Manifest:
        link = self._link(BILAL_KID)
        number = len(self.entries)
        manifest = build_manifest(**builders.members(
            kind=kind, facts=facts, captured=captured, seq=link[0], prev=link[1], manifest_id=f"01932b6e-7c2a-7abc-8def-0123456789{number:02x}",
            **{"items": (), **changes}))
        payload = encode_manifest(manifest)
        digest = manifest_digest(payload)
        signatures = [sign(payload, BILAL, header_for(manifest))]
        self.prev[BILAL_KID] = digest
        if witness:
            seq, prev = self._link(DONG_KID)
            header = SignatureHeader(kid=DONG_KID, role=SignerRole.WITNESS, at=captured, seq=seq, prev=prev, pos=None)
            signatures.append(sign(payload, DONG, header))
            self.prev[DONG_KID] = digest
        self.receive(manifest, payload, assemble(payload, signatures))
        return manifest

    def _link(self, kid: str) -> tuple[int, str]:
        self.seq[kid] += 1
        return self.seq[kid], self.prev[kid]

    def receive(self, manifest: Manifest, payload: bytes, envelope: bytes) -> None:
        digest = manifest_digest(payload)
        index, proof = self.house.logged("manifest", payload)
        said = receipt_payload(manifest, digest, status=ReceiptStatus.RECEIVED, received_at="2026-11-27T05:00:00.000Z",
                               logged=Logged(origin=ORIGIN, index=index))
        report = canonicalise({"schema": "examination/1", "manifest_sha256": digest, "findings": []})
        receipt = sign_receipt(said, self.house.receipt, thumbprint(self.house.receipt))
        self.digests.append(digest)
        self.entries.append(PackEntry(envelope=envelope, receipt=receipt, proof=proof, report=report, report_proof=self.house.logged("examined",
        report)[1]))


def cash_facts(**changes: Any) -> CashReceiptFacts:
    members: dict[str, Any] = {
        "receipt_number": "R-0001", "amount_fen": 200_000, "amount_capitals": "贰仟元整", "instrument": Instrument.CASH,
        "payer": PayerRelation.DEBTOR, "payer_name_sha256": "d" * 64, "authorisation_jti": "grant-1", "previous_receipt": "0" * 64,
        "denominations": (Denomination(face_fen=10_000, count=20),)}
    return CashReceiptFacts(**{**members, **changes})


def grant(house: House, **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": "bank-1", "jti": "grant-1", "agency": "agency", "request": "request-1", "case": "case-1", "devices": [BILAL_KID, DONG_KID],
        "instruments": ["cash"], "cap_fen": 300_000, "max_collections": 1, "circumstance": "remote_area", "account_digest": "e" * 64,
        "iat": DAY_S, "exp": DAY_S + 72 * 3600}
    return compact_sign({**claims, **changes}, house.bank, typ="cash-authorisation+jwt", kid=thumbprint(house.bank))


def door(house: House, cash: CashReceiptFacts | None = None) -> Door:
    at = Door(house)
    photo = builders.item("i1", sha256=sha256_hex(b"the photo itself"), size=16)
    slip = builders.item("i2", sha256=sha256_hex(ORIGINAL), size=len(ORIGINAL), role=Role.PAYER_SIGNATURE)
    at.add(Kind.ARRIVAL, builders.ARRIVED, "2026-11-27T02:00:00.000Z", items=(photo,))
    at.add(Kind.CASH_RECEIPT, cash or cash_facts(), "2026-11-27T02:10:00.000Z", items=(slip,))
    at.add(Kind.VISIT_CLOSE, VisitCloseFacts(
        outcome="paid_cash", entered=False, right_party=RightParty.CONFIRMED, identity_presented=IdentityPresented.AGENCY,
        arrived="2026-11-27T02:00:00.000Z", departed="2026-11-27T02:20:00.000Z", manifests=tuple(at.digests)), "2026-11-27T02:20:00.000Z")
    return at


def devices(house: House, **states: tuple[DeviceState, ...]) -> str:
    active = (DeviceState(state="active", at="2026-01-01T00:00:00.000Z"),)
    listed = [DeviceHistory(key=key.public_key(), person=person, level="tee", states=states.get(person, active)) for key, person in
              ((BILAL, "bilal"), (DONG, "dong"))]
    return sign_devices(listed, house.receipt, thumbprint(house.receipt))


def pack_of(house: House, at: Door, **changes: Any) -> Pack:
    digest = sha256_hex(b"the photo itself")
    derivation = Derivation(
        original_sha256=digest, copy_sha256=sha256_hex(COPY), transform="stamp-jpeg/1", stamp="再次复印无效", made="2026-11-27T06:00:00.000Z",
        person="liaison-1", register_number="C-1")
    members: dict[str, Any] = {
        "pack_id": "pack-1", "bank": "bank-1", "scope": {"kind": "visit", "visit": "visit-1"}, "cases": ["case-1"], "visits": ["visit-1"],
        "made": "2026-11-27T07:00:00.000Z", "register_number": "X-1",
        "recipient": "liaison", "entries": at.entries, "devices": devices(house), "checkpoint": house.checkpoint(), "keys": house.keys(),
        "copies": [PackCopy(original_sha256=digest, extension="jpg", content=measured(COPY),
                            derivation=sign_derivation(derivation, house.derivation, thumbprint(house.derivation)))],
        "sealed": [sealed(house, ORIGINAL)], "authorisations": [grant(house)],
        "custody": [("2026-11-27T05:00:00.000Z", "bilal", "received", "i1")], "known_sizes": [2]}
    return Pack(**{**members, **changes})


def sealed(house: House, content: bytes, **changes: Any) -> PackSealed:
    """Seal an original for the recipient."""
    key, context = bytes(range(32)), SealContext(tenant="agency", item_sha256=sha256_hex(content))
    sealing = Sealer(key, context)
    raw = sealing.update(content) + sealing.finish()
    return PackSealed(**{
        "sha256": sha256_hex(content), "content": measured(raw), "jwe": seal_item_key(key, house.recipient.public_key()), **changes})


def packed(house: House, pack: Pack) -> bytes:
    out = io.BytesIO()
    house.logged("export", b"a later entry, so that every proof needs consistency")
    write_pack(msgspec_replace(pack, checkpoint=house.checkpoint()), nodes_over(house.leaves), house.receipt, thumbprint(house.receipt), out)
    return out.getvalue()


def msgspec_replace(pack: Pack, **changes: Any) -> Pack:
    return Pack(**{**{name: getattr(pack, name) for name in Pack.__struct_fields__}, **changes})


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
