"""Recordings that hold another bank's visit: withheld from banks at every way out, from the moment that it is known (F22, SEC-01)."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import productions
from backend.archive.model import AskProduction
from backend.auth.actors import Actor
from backend.core.ids import CaseId, VisitId
from backend.core.problems import NotFound
from backend.core.settings import Settings
from backend.exhibits import examinations, exports, joint, receipts, spans
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.custody_model import ExclusionReason, ItemVerdict, Scope, ScopeKind
from backend.exhibits.exports import PackView
from backend.exhibits.item_reviews import ReviewItem, review_item
from backend.exhibits.packs import contents, visit_scope
from backend.exhibits.queries import statements_of, stored_item, withheld_in
from backend.exhibits.refusals import NotExportable, PackGone
from backend.exhibits.tables import FindingRow, ItemRow, ManifestRow
from backend.exhibits.transfers import Desk
from backend.visits.for_evidence import facts_for_evidence
from backend.visits.tables import VisitRow
from evidence.examination import Audio, Examination, State
from evidence.facts import Kind
from evidence.keys import generate_key, public_jwk
from evidence.manifest import Item, Role
from evidence.stores.file import FileStore
from evidence.times import format_utc
from tests.db.test_exhibits_packs import KEYRING, ORIGIN, PHOTO, SOUND, Evidence, _take
from tests.support.cases import approved_request
from tests.support.exhibits import CAPTURE, Handset, bring_to_rest, item, signed_once
from tests.support.visits import planned_day
from tests.support.world import Person, add_credential, world

JOINT = ExclusionReason.JOINT.value
MINUTE = timedelta(minutes=1)


@dataclass
class Street:
    """Two doors of one pair: bank A's from 60 to 50 minutes ago, bank B's from 40 to 30. Neither is closed. A phone recorded at A's."""

    evidence: Evidence
    first: UUID
    later: UUID

    @property
    def made(self) -> Any:
        return self.evidence.made

    def tell(self, visit_id: UUID, from_min: int | None, to_min: int | None) -> None:
        at = [None if one is None else self.made.now - one * MINUTE for one in (from_min, to_min)]
        with self.evidence.sessions.begin() as session:
            session.execute(update(VisitRow).where(VisitRow.id == visit_id).values(started_at=at[0], ended_at=at[1]))

    def measure(self, minutes: float, content: bytes = SOUND) -> None:
        """A decoder hears so many minutes in the recording."""
        heard = Audio(codec="pcm", decoded_ms=int(minutes * 60_000), declared_ms=None, packets=1, bad_packets=0, sample_rate=8000, rms_dbfs=-20,
                      silent_pct=0, clipped_pct=0, looped_pct=0, fingerprint="0")
        with self.evidence.sessions.begin() as session:
            for row in session.scalars(select(ItemRow).where(ItemRow.size == len(content))).all():
                examinations.store(session, row.id, Examination(state=State.EXAMINED, audio=heard), self.made.now)

    def pack(self, who: Person, *, minutes: int = 0) -> PackView:
        request = exports.PackRequest(scope=visit_scope(VisitId(self.first)), purpose=CopyPurpose.BANK)
        return exports.export(
            self.evidence.sessions.begin, who.actor, KEYRING, self.evidence.place, (request, self.made.now + minutes * MINUTE))

    def open(self, pack_id: UUID) -> None:
        with self.evidence.sessions() as session:
            exports.open_pack(session, self.made.lin.actor, KEYRING, self.evidence.place, pack_id)

    def review(self, who: Person, verdict: ItemVerdict, key: UUID | None = None, *, minutes: int = 0) -> None:
        with self.evidence.sessions.begin() as session:
            command = ReviewItem(item_key=key or self.evidence.item_of(SOUND).id, verdict=verdict, comment="heard whole")
            review_item(session, who.actor, KEYRING, command, self.made.now + minutes * MINUTE)

    def held(self, actor: Actor) -> tuple[set[str], dict[str, str]]:
        """Return the digests that a pack of the first visit would hold, and why others stay."""
        with self.evidence.sessions() as session:
            found = contents(session, actor, visit_scope(VisitId(self.first)))
        return {one.sha256 for one in found.items}, {one.sha256: one.reason for one in found.withheld}


def ran(made: Any, content: bytes, from_min: float, to_min: float, role: Role = Role.AUDIO) -> Item:
    return msgspec.structs.replace(
        item(content, role, "audio/wav", at=made.now), started=format_utc(made.now - from_min * MINUTE), ended=format_utc(made.now - to_min * MINUTE))


def streets(sessions: sessionmaker[Session], tmp_path: Path, from_min: float, to_min: float, role: Role = Role.AUDIO) -> Street:
    folder = tmp_path / "data"
    folder.mkdir()
    desk = Desk(FileStore(folder / "evidence"), Settings(data_folder=folder, key_folder=folder, free_bytes_min=0, free_share_min=0))
    with sessions.begin() as session:
        made = world(session, KEYRING)
        for person in (made.bilal, made.dong):
            add_credential(session, made, person, made.bank_b.id)
        asked = [approved_request(session, KEYRING, made), approved_request(session, KEYRING, made, 2, bank=made.bank_b)]
        stops = {stop.request_id: stop.visit_id for stop in planned_day(session, made).stops}
        first, later = (stops[one.request_id] for one in asked)
        visit = facts_for_evidence(session, str(first))
        assert visit is not None
        visit = msgspec.structs.replace(visit, pair=frozenset({made.bilal.id, made.dong.id}))
    found = Evidence(sessions, made, visit, desk, [])
    street = Street(found, first, later)
    street.tell(first, 60, 50)
    street.tell(later, 40, 30)
    files = (item(PHOTO, at=made.now - 55 * MINUTE), ran(made, SOUND, from_min, to_min, role))
    add(street, files)
    return street


def add(street: Street, files: tuple[Item, ...], seq: int = 0, prev: str = "0" * 64) -> None:
    """The pair's phone declares files of the first visit and uploads those that are not here yet."""
    made, evidence = street.made, street.evidence
    phone = Handset(made.bilal, seq, prev)
    raw = signed_once(phone, phone.payload(made, evidence.visit, Kind.CAPTURE, CAPTURE, items=files, at=made.now - 20 * MINUTE))
    accepted = _take(evidence, raw)
    evidence.statements.append(accepted)
    for content in (PHOTO, SOUND):
        if any(one.size == len(content) and one.state.value == "needed" for one in accepted.items):
            bring_to_rest(evidence.sessions, evidence.desk, KEYRING, accepted, content)
    evidence.sequence()
    with evidence.sessions.begin() as session:
        receipts.issue(session, KEYRING, accepted.manifest_id, made.now, origin=ORIGIN)
    evidence.sequence()


@pytest.fixture
def route(sessions: sessionmaker[Session], tmp_path: Path) -> Street:
    """The phone ran on through both doors, and says so."""
    return streets(sessions, tmp_path, 61, 25)


@pytest.fixture
def honest(sessions: sessionmaker[Session], tmp_path: Path) -> Street:
    """The phone says that it recorded A's door alone, with the minute before and after."""
    return streets(sessions, tmp_path, 61, 49)


def test_SEC_01_before_any_closing_no_way_out_hands_a_joint_recording_to_a_bank(route: Street) -> None:
    made, evidence = route.made, route.evidence
    sound, photo = evidence.item_of(SOUND), evidence.item_of(PHOTO)
    route.measure(36)
    for who in (made.lin, made.amina):                                    # A pack is for the bank, whoever makes it.
        assert route.held(who.actor) == ({photo.sha256}, {sound.sha256: JOINT})
    with pytest.raises(NotFound):
        evidence.copy(made.lin.actor, SOUND)
    with evidence.sessions() as session, pytest.raises(NotFound):
        stored_item(session, made.lin.actor, sound.id)
    with evidence.sessions() as session:
        for who in (made.lin, made.amina):
            shown = {one.id: one.is_withheld for view in statements_of(session, who.actor, VisitId(route.first)) for one in view.items}
            assert shown == {sound.id: True, photo.id: False}
        assert withheld_in(session, [VisitId(route.first), VisitId(route.later)]) == {route.first: 1}
    for purpose in set(CopyPurpose) - {CopyPurpose.REVIEW, CopyPurpose.AUDIT}:
        with pytest.raises(NotExportable):
            evidence.copy(made.amina.actor, SOUND, purpose)
    assert evidence.copy(made.amina.actor, SOUND).read()                  # Who must hear it does.
    with evidence.sessions() as session:
        case_id = CaseId(evidence.visit.case_id)
        assert {one.id for one in productions.choosable(session, made.lin.actor, case_id)} == {photo.id}
    command = AskProduction(
        case_id=case_id, items=(sound.id,), recipient="the court", purpose="litigation", reason="asked",
        recipient_jwk=dict(public_jwk(generate_key().public_key())))
    with evidence.sessions.begin() as session, pytest.raises(NotFound):
        productions.ask(session, made.lin.actor, KEYRING, command, made.now)


def test_SEC_01_a_recording_goes_to_no_bank_before_somebody_measured_it(honest: Street) -> None:
    made, sound = honest.made, honest.evidence.item_of(SOUND)
    assert honest.held(made.lin.actor)[1] == {sound.sha256: JOINT}
    honest.measure(12)
    assert honest.held(made.lin.actor)[1] == {}


def test_SEC_01_what_a_decoder_heard_counts_and_not_what_the_phone_said(honest: Street) -> None:
    honest.measure(35)
    assert set(honest.held(honest.made.lin.actor)[1].values()) == {JOINT}


def test_SEC_01_a_pack_is_closed_once_the_next_door_is_told_and_the_new_one_lacks_the_recording(route: Street) -> None:
    made, sound = route.made, route.evidence.item_of(SOUND)
    route.tell(route.later, None, None)
    route.measure(36)
    early = route.pack(made.lin)
    route.open(early.id)
    with route.evidence.sessions.begin() as session:
        asked = productions.ask(session, made.lin.actor, KEYRING, AskProduction(
            case_id=CaseId(route.evidence.visit.case_id), items=(sound.id, route.evidence.item_of(PHOTO).id), recipient="the court",
            purpose="litigation", reason="asked", recipient_jwk=dict(public_jwk(generate_key().public_key()))), made.now)
    route.tell(route.later, 40, 30)
    with pytest.raises(PackGone):
        route.open(early.id)
    late = route.pack(made.lin, minutes=1)
    route.open(late.id)
    assert route.held(made.lin.actor)[1] == {sound.sha256: JOINT}
    with route.evidence.sessions() as session:
        scope = Scope(kind=ScopeKind.PRODUCTION, told={}, case_ids=(CaseId(route.evidence.visit.case_id),))
        assert sound.id in asked.items
        assert sound.id not in {one.id for one in contents(session, made.lin.actor, scope).items}
        assert session.scalars(select(FindingRow.code).where(FindingRow.item_key == sound.id)).all() == ["joint-recording"]


def test_SEC_01_only_who_was_told_has_heard_for_it_and_a_word_taken_back_closes_packs(route: Street) -> None:
    made, sound = route.made, route.evidence.item_of(SOUND)
    route.measure(36)
    route.review(made.amina, ItemVerdict.ACCEPTED)                        # Nobody had told her yet.
    assert route.held(made.lin.actor)[1] == {sound.sha256: JOINT}
    route.review(made.lin, ItemVerdict.ACCEPTED)
    assert route.held(made.lin.actor)[1] == {sound.sha256: JOINT}
    route.review(made.amina, ItemVerdict.ACCEPTED)
    assert route.held(made.lin.actor)[1] == {}
    pack = route.pack(made.lin)
    route.open(pack.id)
    route.review(made.amina, ItemVerdict.RETURNED, minutes=1)
    with pytest.raises(PackGone):
        route.open(pack.id)


def test_SEC_01_the_same_bytes_under_a_shorter_claim_stay_as_well(route: Street) -> None:
    made, evidence = route.made, route.evidence
    before = evidence.statements[-1].digest
    add(route, (ran(made, SOUND, 60, 50),), 1, before)
    with evidence.sessions() as session:
        both = session.scalars(select(ItemRow.id).where(ItemRow.size == len(SOUND)).order_by(ItemRow.id)).all()
        assert len(both) == 2
        assert joint.withheld_of(session, both) == set(both)
    for key in both:
        with evidence.sessions() as session, pytest.raises(NotFound):
            stored_item(session, made.lin.actor, key)


def test_SEC_01_sound_under_the_role_of_a_paper_is_a_recording(sessions: sessionmaker[Session], tmp_path: Path) -> None:
    route = streets(sessions, tmp_path, 61, 25, Role.LETTER_DELIVERY)
    assert set(route.held(route.made.lin.actor)[1].values()) == {JOINT}


def test_F22_an_open_next_door_lasts_and_an_earlier_one_ends_where_the_pair_begins_anew(honest: Street) -> None:
    made = honest.made
    honest.measure(12)
    honest.tell(honest.later, 49, None)                                   # A minute of overrun at a neighbour's whose end nobody told.
    assert honest.held(made.lin.actor)[1] == {}
    honest.tell(honest.later, 120, None)                                  # Never told that they left: they stood at A's door at 60.
    assert honest.held(made.lin.actor)[1] == {}
    honest.tell(honest.later, 55, None)
    assert set(honest.held(made.lin.actor)[1].values()) == {JOINT}


def test_SEC_01_shared_bytes_go_to_the_bank_for_which_nobody_rejected_them(honest: Street) -> None:
    made, evidence = honest.made, honest.evidence
    honest.measure(12)
    with evidence.sessions() as session:
        later = facts_for_evidence(session, str(honest.later))
    assert later is not None
    phone = Handset(made.dong)
    payload = phone.payload(made, later, Kind.CAPTURE, CAPTURE, items=(ran(made, SOUND, 40, 30),), at=made.now - 19 * MINUTE)
    mine = evidence.item_of(SOUND).id
    _take(Evidence(evidence.sessions, made, later, evidence.desk, []), signed_once(phone, payload))
    with evidence.sessions() as session:
        theirs = session.scalars(select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
            ManifestRow.visit_id == honest.later)).one()
        assert joint.withheld_of(session, [mine, theirs]) == {mine, theirs}
    honest.review(made.amina, ItemVerdict.ACCEPTED, mine)
    assert set(honest.held(made.lin.actor)[1].values()) == {JOINT}
    honest.review(made.amina, ItemVerdict.REJECTED, theirs)
    assert honest.held(made.lin.actor)[1] == {}
    with evidence.sessions() as session:
        assert joint.withheld_of(session, [theirs]) == {theirs}


def test_visits_are_read_by_the_names_and_types_that_they_have() -> None:
    held = VisitRow.__table__.columns
    for column in spans.VISITS.columns:
        assert type(held[column.name].type) is type(column.type), column.name
