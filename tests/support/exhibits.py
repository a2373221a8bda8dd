"""Signed statements made from the world's own phones, sound or not, and a bare case to make them about."""

import hashlib
import io
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker

from backend.banks.model import AmountStyle, DateStyle
from backend.banks.tables import ImportProfileRow
from backend.cases.layout import Acceptance, BatchOutcome
from backend.cases.model import Bucket, CaseStatus, GenderRule, Risk
from backend.cases.tables import CaseRow, PlacementBatchRow
from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, VisitId, new_id
from backend.exhibits import uploads
from backend.exhibits.model import Accepted, VisitFacts
from backend.exhibits.transfers import Desk, OpenPiece, settle_whole
from backend.keys.keyring import Keyring
from backend.keys.sealing import create_case_key
from evidence.envelope import SignatureHeader, SignatureMember, SignerRole, assemble, header_for, sign
from evidence.facts import ArrivalFacts, CaptureFacts, Facts, IdentityPresented, Kind, RightParty, VisitCloseFacts
from evidence.manifest import (
    App,
    Datum,
    Integrity,
    Item,
    Manifest,
    Position,
    Provider,
    Role,
    build_manifest,
    decode_manifest,
    encode_manifest,
    manifest_digest,
)
from evidence.times import format_utc
from evidence.uploads import Piece
from tests.support.world import Person, World

DOOR = LonLat(121.4737, 31.2304)
APP = App(id="org.fieldvisit.reference", version="1", build="0" * 64, os="Linux", model="test phone", integrity=Integrity.NONE)
ARRIVAL = ArrivalFacts(
    lead="bilal", credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True, recording_running=True)
CAPTURE = CaptureFacts(occasion="door_plate")


def open_case(session: Session, keyring: Keyring, made: World, *, bank_id: BankId | None = None) -> CaseId:
    """Make a case of bank A (or another bank), with its key, and nothing else that evidence does not need."""
    case_id, profile_id, batch_id = CaseId(new_id()), new_id(), new_id()
    of_bank = bank_id or made.bank_a.id
    session.add(ImportProfileRow(
        id=profile_id, bank_id=of_bank, version=f"v{profile_id.hex[-8:]}", columns={}, encoding="utf-8", date_style=next(iter(DateStyle)),
        amount_style=next(iter(AmountStyle)), separator=","))
    session.flush()
    session.add(PlacementBatchRow(
        id=batch_id, bank_id=of_bank, branch_id=made.sh1, profile_id=profile_id, number=batch_id.hex[-8:], file_sha256=batch_id.hex * 2,
        encoding="utf-8", acceptance=next(iter(Acceptance)), outcome=BatchOutcome.IMPORTED,
        as_of_on=made.today, received_by=made.gu.id, received_at=made.now,
        row_count=1, accepted_count=1, rejected_count=0, amount_total_fen=100, accepted_fen=100))
    session.flush()
    sealer = create_case_key(session, keyring, case_id, made.now)
    sealed = {name: sealer.seal(f"cases.{name}", text) for name, text in (
        ("name", "测试人"), ("id_number", "110101199001011234"), ("birth_on", "1990-01-01"), ("card_number", "6200000000000000"))}
    session.add(CaseRow(
        id=case_id, bank_id=of_bank, branch_id=made.sh1, batch_id=batch_id, row_number=1, bank_reference=case_id.hex[-12:],
        status=CaseStatus.PHONE_COLLECTION, resumes_to=None, amount_fen=100, amount_as_of_on=made.today, days_past_due=70, bucket=Bucket.M2,
        risk=Risk.LOW, score=1, priority=3, gender_rule=GenderRule.ANY, language="zh", debtor_hmac=case_id.bytes * 2, id_last4_hmac=case_id.bytes * 2,
        term_ends_on=made.today + timedelta(days=90), **sealed))
    session.flush()
    return case_id


def visit_facts(made: World, case_id: CaseId, **changes: Any) -> VisitFacts:
    """Return a visit of bilal and dong to the case, started an hour ago."""
    members: dict[str, Any] = {
        "visit_id": VisitId(new_id()), "version": 1, "case_id": case_id, "bank_id": made.bank_a.id, "branch_id": BranchId(made.sh1),
        "pair": frozenset({made.bilal.id, made.dong.id}), "is_open": True, "address": DOOR, "started_at": made.now - timedelta(hours=1),
    }
    return VisitFacts(**(members | changes))


def item(content: bytes, role: Role = Role.PHOTO, media_type: str = "image/jpeg", *, at: datetime, item_id: str | None = None) -> Item:
    """Describe a captured file."""
    started, ended = format_utc(at - timedelta(minutes=2)), format_utc(at)
    digest = hashlib.sha256(content).hexdigest()
    return Item(
        item_id=item_id or f"item-{digest[:12]}", role=role, sha256=digest, size=len(content), media_type=media_type, started=started, ended=ended)


@dataclass
class Handset:
    """One person's phone with the end of its chain."""

    person: Person
    seq: int = 0
    prev: str = field(default="0" * 64)

    @property
    def kid(self) -> str:
        """The device's key id."""
        assert self.person.phone is not None
        return self.person.phone.kid

    def payload(self, made: World, visit: VisitFacts, kind: Kind, facts: Facts, **changes: Any) -> bytes:
        """Make the next canonical payload of this phone's chain."""
        partner: Handset | None = changes.pop("partner", None)
        at: datetime = changes.pop("at", made.now - timedelta(minutes=5))
        members: dict[str, Any] = {
            "manifest_id": str(new_id()), "tenant": "fieldvisit", "bank": str(visit.bank_id), "case": str(visit.case_id),
            "visit": str(visit.visit_id), "visit_version": visit.version, "kind": kind, "device": self.kid, "actor": str(self.person.id),
            "cosigner_device": partner.kid if partner else None, "cosigner": str(partner.person.id) if partner else None,
            "seq": self.seq + 1, "prev": self.prev, "captured": format_utc(at), "monotonic_ms": 10 * 3_600_000, "boot_id": "boot-1", "beacon": None,
            "beacon_age_ms": None, "clock_offset_ms": None, "position": position(DOOR, at), "items": (), "app": APP, "facts": facts,
        }
        payload = encode_manifest(build_manifest(**(members | changes)))
        self.seq, self.prev = self.seq + 1, manifest_digest(payload)
        return payload

    def sign(self, payload: bytes, manifest: Manifest, **changes: Any) -> SignatureMember:
        """Sign as the phone that captured."""
        return sign(payload, self._key, _changed(header_for(manifest), changes))

    def witness(self, payload: bytes, at: datetime, **changes: Any) -> SignatureMember:
        """Sign a partner's payload as the next link of this phone's own chain."""
        fix = position(DOOR, at)
        header = SignatureHeader(
            kid=self.kid, role=SignerRole.WITNESS, at=format_utc(at), seq=self.seq + 1, prev=self.prev,
            pos=header_for(_with_position(payload, fix)).pos)
        self.seq, self.prev = self.seq + 1, manifest_digest(payload)
        return sign(payload, self._key, _changed(header, changes))

    @property
    def _key(self) -> Any:
        assert self.person.phone is not None
        return self.person.phone.key


def position(place: LonLat, at: datetime, *, mock: bool = False, accuracy_m: int = 12, datum: Datum = Datum.WGS84) -> Position:
    """Return a fix."""
    return Position(
        lat_e7=round(place.lat * 1e7), lon_e7=round(place.lon * 1e7), datum=datum, accuracy_cm=accuracy_m * 100, fix_time=format_utc(at),
        provider=Provider.GPS, mock=mock)


def close_facts(made: World, digests: tuple[str, ...]) -> VisitCloseFacts:
    """Return the facts of a close that covers these payloads."""
    return VisitCloseFacts(
        outcome="nobody_met", entered=False, right_party=RightParty.NOBODY_MET, identity_presented=IdentityPresented.AGENCY,
        arrived=format_utc(made.now - timedelta(minutes=40)), departed=format_utc(made.now - timedelta(minutes=4)), manifests=digests)


def envelope_of(payload: bytes, *members: SignatureMember) -> bytes:
    """Assemble an envelope of strict shape."""
    return assemble(payload, members)


def signed_twice(first: Handset, second: Handset, payload: bytes, at: datetime) -> bytes:
    """Sign a payload by both."""
    return assemble(payload, [first.sign(payload, decode_manifest(payload)), second.witness(payload, at)])


def signed_once(first: Handset, payload: bytes) -> bytes:
    """Sign a payload by its own phone alone."""
    return assemble(payload, [first.sign(payload, decode_manifest(payload))])


def _with_position(payload: bytes, fix: Position) -> Manifest:
    return msgspec.structs.replace(decode_manifest(payload), position=fix, no_fix_reason=None)


def _changed(header: SignatureHeader, changes: dict[str, Any]) -> SignatureHeader:
    return msgspec.structs.replace(header, **changes)


def photograph(shade: int = 120) -> bytes:
    """Return a small real JPEG."""
    out = io.BytesIO()
    picture = Image.new("RGB", (320, 240), (shade, 90, 60))
    picture.paste((250, 250, 250), (40, 40, 120 + shade % 90, 200))
    picture.save(out, "JPEG")
    return out.getvalue()


def sound(seconds: int = 1) -> bytes:
    """Return a small real WAV: 8 kHz, 16 bit, a saw."""
    samples = b"".join(((at * 301) % 20_000 - 10_000).to_bytes(2, "little", signed=True) for at in range(8_000 * seconds))
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    return head + struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16) + b"data" + len(samples).to_bytes(4, "little") + samples


def bring_to_rest(sessions: sessionmaker[Session], desk: Desk, keyring: Keyring, accepted: Accepted, content: bytes) -> None:
    """Upload the one file of that content as a phone would, without HTTP between."""
    digest = hashlib.sha256(content).hexdigest()
    wanted = next(one for one in accepted.items if one.sha256 == digest)
    now = accepted.received_at
    with sessions.begin() as session:
        tickets = uploads.issue_tickets(session, keyring, accepted.manifest_id, accepted.device, now)
        ticket = next(one for one in tickets if one.item_id == wanted.item_id)
        leave = uploads.read_leave(session, ticket.token, now)
        transfer = uploads.transfer_of(session, leave, ticket.upload_id, keyring)
    piece = OpenPiece(desk, transfer, Piece(offset=0, length=len(content), checksum=None), now)
    piece.take(content)
    piece.close(is_whole=True)
    assert settle_whole(desk, transfer)
    with sessions.begin() as session:
        uploads.complete(session, leave.actor, transfer, now)
