"""Custody of evidence: reviews of files, masks, holds, terms, destruction by two people, originals for one recipient."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import destructions, holds, productions
from backend.archive import tasks as archive_tasks
from backend.archive.model import AskProduction, DestructionGround, HoldGround, SetHold
from backend.archive.tables import DestructionRow, LegalHoldRow, ProductionRow
from backend.auth.actors import Role
from backend.cases.model import CaseStatus
from backend.cases.tables import CaseRow
from backend.core.ids import CaseId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.core.rulebook import RulesBreached
from backend.exhibits import commands, copies, exports
from backend.exhibits.copies import INSIDE, CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import ItemVerdict, MaskReason, Scope, ScopeKind, SetMask
from backend.exhibits.item_reviews import ReviewItem, review_item, reviews_of
from backend.exhibits.masks import set_mask
from backend.exhibits.packs import visit_scope
from backend.exhibits.refusals import CopyGone, NotExportable, PackGone
from backend.exhibits.tables import CopyRow, ItemMaskRow, ItemReviewRow, ItemRow
from backend.keys.tables import CaseKeyRow
from evidence import verify_pack
from evidence.keys import generate_key, public_jwk
from evidence.photo_marks import Box
from tests.db.test_exhibits_packs import KEYRING, ORIGIN, PHOTO, SOUND, Evidence, evidence_of
from tests.support.exhibits import open_case
from tests.support.world import Person, add_person


@pytest.fixture
def evidence(sessions: sessionmaker[Session], tmp_path: Path) -> Evidence:
    return evidence_of(sessions, tmp_path)


@pytest.fixture
def old(sessions: sessionmaker[Session], tmp_path: Path) -> Evidence:
    """A recording three years old, its case closed, its term over."""
    found = evidence_of(sessions, tmp_path, age=timedelta(days=1_100), contents=(SOUND,))
    with sessions.begin() as session:
        session.execute(update(CaseRow).values(status=CaseStatus.CLOSED))
    return found


def person(evidence: Evidence, name: str, role: Role) -> Person:
    with evidence.sessions.begin() as session:
        branch = None if role is Role.GENERAL_MANAGER else evidence.made.sh1
        return add_person(session, KEYRING, name, role, branch_id=branch, now=evidence.made.now)


def case_of(evidence: Evidence) -> CaseId:
    return CaseId(evidence.visit.case_id)


def judged(evidence: Evidence, pack: bytes, tmp_path: Path, key: Any = None) -> dict[str, Any]:
    path = tmp_path / "judged.zip"
    path.write_bytes(pack)
    with evidence.sessions() as session:
        trust = json.loads(commands.trust(session, KEYRING, ORIGIN))
    return verify_pack.verify(path, trust, None, key)


# -- Reviews of files ----------------------------------------------------------------------------------------------------------


def review(evidence: Evidence, who: Person, verdict: ItemVerdict, content: bytes = PHOTO) -> UUID:
    with evidence.sessions.begin() as session:
        command = ReviewItem(item_key=evidence.item_of(content).id, verdict=verdict, comment="the door plate cannot be read")
        return review_item(session, who.actor, KEYRING, command, evidence.made.now).id


def test_SEC_01_strangers_and_signers_review_no_file(evidence: Evidence) -> None:
    made = evidence.made
    for stranger in (made.chen, made.yara):
        with pytest.raises(NotFound):
            review(evidence, stranger, ItemVerdict.COMMENT)
    with pytest.raises(Forbidden):
        review(evidence, made.hana, ItemVerdict.COMMENT)
    with pytest.raises(Forbidden):
        review(evidence, made.lin, ItemVerdict.REJECTED)


def test_EVD_08_rejected_file_leaves_packs_and_the_pack_says_so(evidence: Evidence, tmp_path: Path) -> None:
    digest = evidence.item_of(PHOTO).sha256
    review(evidence, evidence.made.amina, ItemVerdict.REJECTED)
    outcome = judged(evidence, evidence.export(evidence.made.lin.actor), tmp_path)
    assert (outcome["verdict"], outcome["withheld"]) == ("verified", [{"sha256": digest, "reason": "rejected in review"}])
    review(evidence, evidence.made.amina, ItemVerdict.COMMENT)
    assert judged(evidence, evidence.export(evidence.made.lin.actor), tmp_path)["withheld"]
    review(evidence, evidence.made.amina, ItemVerdict.ACCEPTED)
    assert judged(evidence, evidence.export(evidence.made.lin.actor), tmp_path)["withheld"] == []


def test_EVD_08_a_rejected_file_is_copied_for_no_bank_and_for_nobody_outside_until_it_is_accepted_again(evidence: Evidence) -> None:
    lin, amina = evidence.made.lin.actor, evidence.made.amina.actor
    assert evidence.copy(lin, PHOTO).extension == "jpg"
    review(evidence, evidence.made.amina, ItemVerdict.REJECTED)
    for purpose in CopyPurpose:
        with pytest.raises(CopyGone):
            evidence.copy(lin, PHOTO, purpose)
    for purpose in set(CopyPurpose) - INSIDE:
        with pytest.raises(NotExportable):
            evidence.copy(amina, PHOTO, purpose)
    for purpose in INSIDE:                                                # Who decides about it again has to see it.
        assert evidence.copy(amina, PHOTO, purpose).extension == "jpg"
    assert evidence.copy(lin, SOUND).extension == "wav"
    review(evidence, evidence.made.amina, ItemVerdict.ACCEPTED)
    assert evidence.copy(lin, PHOTO).extension == "jpg"


def test_EVD_08_a_file_rejected_while_it_is_stamped_is_not_handed_out(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    make = copies.make

    def rejecting(*arguments: Any) -> Any:
        review(evidence, evidence.made.amina, ItemVerdict.REJECTED)
        return make(*arguments)

    monkeypatch.setattr(copies, "make", rejecting)
    with pytest.raises(CopyGone):
        evidence.copy(evidence.made.lin.actor, PHOTO)
    with evidence.sessions() as session:
        assert session.scalars(select(CopyRow)).all() == []


def test_EVD_09_words_on_files_are_sealed_kept_and_never_changed(evidence: Evidence) -> None:
    review(evidence, evidence.made.lin, ItemVerdict.COMMENT)
    with evidence.sessions() as session:
        told = reviews_of(session, KEYRING, [one.manifest_id for one in evidence.statements])
        assert [(one.verdict, one.comment) for one in told] == [(ItemVerdict.COMMENT, "the door plate cannot be read")]
        assert b"door plate" not in bytes(session.scalars(select(ItemReviewRow.comment)).one())
    with evidence.sessions.begin() as session, pytest.raises(DBAPIError, match=r"append-only|permission denied"):
        session.execute(update(ItemReviewRow).values(verdict=ItemVerdict.ACCEPTED))


@pytest.mark.parametrize("act", ["rejected", "masked"])
def test_EVD_08_a_pack_made_before_a_file_was_rejected_or_masked_is_fetched_no_more(evidence: Evidence, act: str) -> None:
    made = evidence.made
    request = exports.PackRequest(scope=visit_scope(evidence.visit.visit_id), purpose=CopyPurpose.REVIEW)
    pack = exports.export(evidence.sessions.begin, made.lin.actor, KEYRING, evidence.place, (request, made.now))
    with evidence.sessions() as session:
        assert exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, pack.id)
    key, later = evidence.item_of(PHOTO).id, made.now + timedelta(minutes=1)
    with evidence.sessions.begin() as session:
        if act == "rejected":
            word = ReviewItem(item_key=key, verdict=ItemVerdict.REJECTED, comment="another door")
            review_item(session, made.amina.actor, KEYRING, word, later)
        else:
            boxes = (Box(left=0, top=0, right=500, bottom=1000),)
            set_mask(session, made.amina.actor, SetMask(item_key=key, boxes=boxes, reason=MaskReason.BYSTANDER), later)
    with evidence.sessions() as session, pytest.raises(PackGone):
        exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, pack.id)
    again = exports.export(evidence.sessions.begin, made.lin.actor, KEYRING, evidence.place, (request, later))
    with evidence.sessions() as session:
        assert exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, again.id)


# -- Masks and identity documents -----------------------------------------------------------------------------------------------


def test_SEC_03_mask_is_burnt_into_copies_and_never_into_the_original(evidence: Evidence) -> None:
    before = evidence.copy(evidence.made.lin.actor, PHOTO).read()
    boxes = (Box(left=0, top=0, right=500, bottom=1000),)
    with evidence.sessions.begin() as session:
        command = SetMask(item_key=evidence.item_of(PHOTO).id, boxes=boxes, reason=MaskReason.BYSTANDER)
        set_mask(session, evidence.made.amina.actor, command, evidence.made.now)
    masked = evidence.copy(evidence.made.lin.actor, PHOTO)
    assert masked.read() != before
    assert '"transform":"stamp-jpeg/2;masks=1"' in verify_pack.unb64u(masked.statement.split(".")[1]).decode()
    with evidence.sessions() as session:
        assert commands.verify_store(session, KEYRING, evidence.desk.store, "fieldvisit").faults == ()
    with evidence.sessions.begin() as session, pytest.raises(InvalidInput):
        set_mask(session, evidence.made.amina.actor, SetMask(
            item_key=evidence.item_of(SOUND).id, boxes=boxes, reason=MaskReason.CHILD), evidence.made.now)
    with evidence.sessions.begin() as session, pytest.raises(DBAPIError, match=r"append-only|permission denied"):
        session.execute(update(ItemMaskRow).values(boxes=[]))


def test_SEC_03_unmasking_needs_its_own_permission(evidence: Evidence) -> None:
    archive = person(evidence, "archie", Role.ARCHIVE_ADMIN)
    with pytest.raises(Forbidden):
        evidence.copy(archive.actor, PHOTO, unmask=UnmaskPurpose.IDENTITY_CHECK)
    assert evidence.copy(evidence.made.lin.actor, PHOTO, unmask=UnmaskPurpose.IDENTITY_CHECK).read()


# -- Holds ----------------------------------------------------------------------------------------------------------------------


def hold(evidence: Evidence, who: Person) -> UUID:
    with evidence.sessions.begin() as session:
        command = SetHold(case_id=case_of(evidence), ground=HoldGround.LITIGATION, reason="a suit is announced")
        return holds.set_hold(session, who.actor, KEYRING, command, evidence.made.now)


def lift(evidence: Evidence, who: Person, hold_id: UUID) -> None:
    with evidence.sessions.begin() as session:
        holds.lift_hold(session, who.actor, KEYRING, (hold_id, "the suit was withdrawn"), evidence.made.now)


def test_EVD_09_hold_is_lifted_by_its_own_side_once_and_its_history_stays(evidence: Evidence) -> None:
    made = evidence.made
    with pytest.raises(NotFound):
        hold(evidence, made.chen)
    hold_id = hold(evidence, made.lin)
    with pytest.raises(Forbidden):
        lift(evidence, made.amina, hold_id)
    lift(evidence, made.lin, hold_id)
    with pytest.raises(Conflict):
        lift(evidence, made.lin, hold_id)
    with evidence.sessions.begin() as session:
        told = holds.holds_of(session, made.amina.actor, KEYRING, case_of(evidence), made.now)
    assert [(one.reason, one.lift_reason, one.lifted_by) for one in told] == [("a suit is announced", "the suit was withdrawn", made.lin.id)]
    for change in ({"lifted_at": None}, {"set_at": made.now + timedelta(days=1)}):
        with evidence.sessions.begin() as session, pytest.raises(IntegrityError):
            session.execute(update(LegalHoldRow).values(**change))
    with evidence.sessions.begin() as session, pytest.raises(DBAPIError):
        session.execute(delete(LegalHoldRow).where(LegalHoldRow.id == hold_id))


# -- Destruction ----------------------------------------------------------------------------------------------------------------


def test_EVD_02_recent_recordings_and_files_without_a_term_are_not_destroyed(evidence: Evidence) -> None:
    with evidence.sessions.begin() as session, pytest.raises(RulesBreached) as refused:
        destructions.propose(session, evidence.made.petra.actor, case_of(evidence), DestructionGround.TERM_OVER, evidence.made.now)
    assert {breach.code for breach in refused.value.breaches} == {"recording-kept", "evidence-kept", "case-open"}


@pytest.mark.parametrize("status", [CaseStatus.PAID, CaseStatus.RULED_FRAUD])
def test_EVD_09_what_belongs_to_a_case_that_is_not_over_is_not_destroyed(old: Evidence, status: CaseStatus) -> None:
    with old.sessions.begin() as session:
        session.execute(update(CaseRow).values(status=status))
    with old.sessions() as session, pytest.raises(RulesBreached) as refused:
        destructions.propose(session, old.made.petra.actor, case_of(old), DestructionGround.CONTRACT_END, old.made.now)
    assert [breach.code for breach in refused.value.breaches] == ["case-open"]


def test_EVD_09_a_recalled_case_is_over(old: Evidence) -> None:
    with old.sessions.begin() as session:
        session.execute(update(CaseRow).values(status=CaseStatus.RECALLED))
    destroyed(old, person(old, "boss", Role.GENERAL_MANAGER))


def test_EVD_03_term_is_set_for_the_time_to_come_and_never_shortened(evidence: Evidence) -> None:
    made = evidence.made
    with evidence.sessions.begin() as session, pytest.raises(InvalidInput):
        destructions.set_term(session, made.petra.actor, case_of(evidence), made.now, made.now)
    with evidence.sessions.begin() as session:
        assert destructions.set_term(session, made.petra.actor, case_of(evidence), made.now + timedelta(days=5_000), made.now) == 2
    with evidence.sessions.begin() as session:
        assert destructions.set_term(session, made.petra.actor, case_of(evidence), made.now + timedelta(days=4_000), made.now) == 0
    with evidence.sessions.begin() as session, pytest.raises(IntegrityError, match="retention"):
        session.execute(update(ItemRow).values(retained_until_at=made.now + timedelta(days=4_000)))


def destroyed(old: Evidence, decider: Person) -> UUID:
    with old.sessions.begin() as session:
        proposed = destructions.propose(session, old.made.petra.actor, case_of(old), DestructionGround.CONTRACT_END, old.made.now)
    with old.sessions.begin() as session:
        destructions.decide(session, decider.actor, proposed, old.made.now, is_approved=True)
    return proposed


class Means:
    """What the tasks are given."""

    def __init__(self, found: Evidence) -> None:
        self.sessions, self.store, self.keyring, self.origin = found.sessions, found.desk.store, KEYRING, ORIGIN
        self.clock = lambda: found.made.now


def carry_out(old: Evidence, destruction_id: UUID) -> None:
    task = next(task for task in archive_tasks.tasks(Means(old)) if task.name == archive_tasks.DESTROY)
    assert destruction_id in task.unfinished()
    task.run(destruction_id)
    task.run(destruction_id)


def test_EVD_02_one_person_never_destroys_and_a_hold_beats_every_term(old: Evidence) -> None:
    boss = person(old, "gemma", Role.GENERAL_MANAGER)
    with old.sessions.begin() as session:
        proposed = destructions.propose(session, old.made.petra.actor, case_of(old), DestructionGround.TERM_OVER, old.made.now)
    with old.sessions.begin() as session, pytest.raises(Conflict):
        destructions.propose(session, boss.actor, case_of(old), DestructionGround.TERM_OVER, old.made.now)
    with old.sessions.begin() as session, pytest.raises(RulesBreached) as refused:
        destructions.decide(session, old.made.petra.actor, proposed, old.made.now, is_approved=True)
    assert [breach.code for breach in refused.value.breaches] == ["one-person"]
    hold_id = hold(old, old.made.amina)
    with old.sessions.begin() as session, pytest.raises(RulesBreached) as refused:
        destructions.decide(session, boss.actor, proposed, old.made.now, is_approved=True)
    assert [breach.code for breach in refused.value.breaches] == ["legal-hold"]
    lift(old, old.made.amina, hold_id)
    with old.sessions.begin() as session:
        assert destructions.decide(session, boss.actor, proposed, old.made.now, is_approved=True).is_approved
    hold(old, old.made.amina)
    carry_out(old, proposed)                        # A hold after the decision still beats it: nothing happens.
    with old.sessions() as session:
        assert session.get_one(DestructionRow, proposed).done_at is None
        assert session.get_one(CaseKeyRow, case_of(old)).wrapped is not None
    for statement in (update(ItemRow).values(wrapped_key=None), update(CaseKeyRow).where(CaseKeyRow.subject_id == case_of(old)).values(
            wrapped=None, destroyed_at=old.made.now)):
        with old.sessions.begin() as session, pytest.raises(IntegrityError, match="custody"):
            session.execute(statement)


def test_EVD_02_database_keeps_keys_until_two_people_decided(old: Evidence) -> None:
    with old.sessions.begin() as session, pytest.raises(IntegrityError, match="custody"):
        session.execute(update(ItemRow).values(wrapped_key=None))
    one_person = insert(DestructionRow).values(
        id=case_of(old), case_id=case_of(old), ground=DestructionGround.TERM_OVER, proposed_by=old.made.petra.id, proposed_at=old.made.now,
        decided_by=old.made.petra.id, decided_at=old.made.now, is_approved=True)
    with old.sessions.begin() as session, pytest.raises(IntegrityError):
        session.execute(one_person)


def test_EVD_02_destroyed_evidence_is_named_and_everything_else_still_verifies(old: Evidence, tmp_path: Path) -> None:
    boss = person(old, "gemma", Role.GENERAL_MANAGER)
    before = old.export(old.made.lin.actor)
    digests = {old.item_of(SOUND).sha256}
    scope = Scope(kind=ScopeKind.CASE, told={"case": str(case_of(old))}, case_ids=(case_of(old),))
    request = exports.PackRequest(scope=scope, purpose=CopyPurpose.BANK)
    kept = exports.export(old.sessions.begin, old.made.lin.actor, KEYRING, old.place, (request, old.made.now))
    carry_out(old, destroyed(old, boss))
    with old.sessions() as session:
        done = destructions.page(session, boss.actor, after=None, limit=5)[0]
        assert done.done_at is not None
        assert set(done.certificate["items"]) == digests
        assert session.get_one(CaseKeyRow, case_of(old)).wrapped is None
        assert commands.verify_store(session, KEYRING, old.desk.store, "fieldvisit").faults == ()
        with pytest.raises(PackGone):
            exports.open_pack(session, old.made.lin.actor, KEYRING, old.place, kept.id)
    assert not [path for path in (old.desk.settings.data_folder / "evidence" / "blobs").rglob("*") if path.is_file()]
    after = judged(old, old.export(old.made.lin.actor), tmp_path)
    assert after["verdict"] == "verified"
    assert {(one["sha256"], one["reason"]) for one in after["withheld"]} == {(digest, "destroyed after its term") for digest in digests}
    assert judged(old, before, tmp_path)["verdict"] == "verified"
    with old.sessions.begin() as session, pytest.raises(Conflict):
        destructions.propose(session, old.made.petra.actor, case_of(old), DestructionGround.TERM_OVER, old.made.now)


def test_EVD_02_pack_that_was_being_made_meanwhile_keeps_nothing_of_what_is_destroyed(old: Evidence) -> None:
    boss, begun = person(old, "gemma", Role.GENERAL_MANAGER), list[int]()

    def begin() -> Any:
        begun.append(1)
        if len(begun) == 3:                         # The copies are made; the register is written next.
            carry_out(old, destroyed(old, boss))
        return old.sessions.begin()

    request = exports.PackRequest(scope=visit_scope(old.visit.visit_id), purpose=CopyPurpose.BANK)
    with pytest.raises(PackGone):
        exports.export(begin, old.made.lin.actor, KEYRING, old.place, (request, old.made.now))
    assert len(begun) == 3
    with old.sessions() as session:
        assert exports.pack_page(session, old.made.lin.actor, after=None, limit=5) == ()
    assert not [path for path in (old.desk.settings.data_folder / "evidence").rglob("*") if path.is_file()]


# -- Productions of originals ---------------------------------------------------------------------------------------------------


def test_ARCH_11_originals_leave_only_twice_approved_by_others_and_the_general_manager(evidence: Evidence, tmp_path: Path) -> None:
    made, key = evidence.made, generate_key()
    archive, manager = person(evidence, "archie", Role.ARCHIVE_ADMIN), made.petra
    boss = person(evidence, "gemma", Role.GENERAL_MANAGER)
    command = AskProduction(
        case_id=case_of(evidence), items=(evidence.item_of(PHOTO).id,), recipient="the court", recipient_jwk=dict(public_jwk(key.public_key())),
        purpose="litigation", reason="asked for by the court")

    def decide(who: Person, production_id: UUID, *, is_approved: bool = True) -> productions.ProductionView:
        with evidence.sessions.begin() as session:
            return productions.decide(session, who.actor, production_id, made.now, is_approved=is_approved)

    def produce(who: Person, production_id: UUID) -> exports.PackView:
        return productions.produce(evidence.sessions.begin, who.actor, KEYRING, evidence.place, (production_id, made.now))

    for stranger, refusal in ((made.amina, Forbidden), (made.chen, NotFound)):
        with evidence.sessions.begin() as session, pytest.raises(refusal):
            productions.ask(session, stranger.actor, KEYRING, command, made.now)
    with evidence.sessions.begin() as session:
        asked = productions.ask(session, made.lin.actor, KEYRING, command, made.now)
    with pytest.raises(Conflict):
        produce(made.lin, asked.id)
    decide(archive, asked.id)
    for again, code in ((archive, "one-person"), (manager, "general-manager-missing")):
        with pytest.raises(RulesBreached) as refused:
            decide(again, asked.id)
        assert code in {breach.code for breach in refused.value.breaches}
    with pytest.raises(Conflict):
        produce(made.lin, asked.id)
    decide(boss, asked.id)
    pack = produce(made.lin, asked.id)
    with pytest.raises(Conflict):
        produce(made.lin, asked.id)
    with evidence.sessions() as session:
        opened = exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, pack.id)
        raw = b"".join(opened.chunks(0, pack.size))
    assert PHOTO not in raw
    assert SOUND not in raw
    assert judged(evidence, raw, tmp_path)["verdict"] == "verified"
    assert judged(evidence, raw, tmp_path, key)["verdict"] == "verified"
    assert (tmp_path / "judged.zip.opened" / evidence.item_of(PHOTO).sha256).read_bytes() == PHOTO
    assert {finding["name"] for finding in judged(evidence, raw, tmp_path, generate_key())["findings"]} == {"seal-broken"}


def test_ARCH_11_refused_production_stays_refused(evidence: Evidence) -> None:
    made = evidence.made
    command = AskProduction(
        case_id=case_of(evidence), items=(evidence.item_of(PHOTO).id,), recipient="the court", purpose="litigation", reason="asked for",
        recipient_jwk=dict(public_jwk(generate_key().public_key())))
    with evidence.sessions.begin() as session:
        asked = productions.ask(session, made.lin.actor, KEYRING, command, made.now)
    with evidence.sessions.begin() as session:
        assert productions.decide(session, made.petra.actor, asked.id, made.now, is_approved=False).refused_by == made.petra.id
    with evidence.sessions.begin() as session, pytest.raises(Conflict):
        productions.decide(session, made.petra.actor, asked.id, made.now, is_approved=True)


def test_SEC_01_a_page_of_the_register_is_full_whatever_other_branches_asked_for(evidence: Evidence) -> None:
    made, asked = evidence.made, list[UUID]()
    for _ in range(3):
        command = AskProduction(
            case_id=case_of(evidence), items=(evidence.item_of(PHOTO).id,), recipient="the court", purpose="litigation", reason="asked for",
            recipient_jwk=dict(public_jwk(generate_key().public_key())))
        with evidence.sessions.begin() as session:
            asked.append(productions.ask(session, made.lin.actor, KEYRING, command, made.now).id)
    with evidence.sessions.begin() as session:
        elsewhere = open_case(session, KEYRING, made)
        session.execute(update(CaseRow).where(CaseRow.id == elsewhere).values(branch_id=made.bj1))
        columns = {column.name for column in ProductionRow.__table__.columns} - {"id", "case_id", "register_number"}
        row = session.get_one(ProductionRow, asked[0])
        session.add_all(ProductionRow(
            id=new_id(), case_id=elsewhere, register_number=f"P-elsewhere-{number}", **{name: getattr(row, name) for name in columns})
            for number in range(3))
    with evidence.sessions() as session:
        assert [one.id for one in productions.page(session, made.amina.actor, after=None, limit=2)] == asked[:0:-1]
        assert len(productions.page(session, made.lin.actor, after=None, limit=9)) == 6
        assert productions.page(session, made.chen.actor, after=None, limit=9) == ()


# -- Packs of every scope -------------------------------------------------------------------------------------------------------


def test_EVD_06_packs_of_case_and_period_verify_and_show_one_banks_keys_only(evidence: Evidence, tmp_path: Path) -> None:
    made = evidence.made
    scopes = (
        Scope(kind=ScopeKind.CASE, told={"case": str(case_of(evidence))}, case_ids=(case_of(evidence),)),
        Scope(kind=ScopeKind.PERIOD, told={"bank": str(made.bank_a.id)}, bank_id=made.bank_a.id, from_at=made.now - timedelta(days=1),
              to_at=made.now + timedelta(days=1)))
    for scope in scopes:
        raw = evidence.export_scope(made.lin.actor, scope)
        assert judged(evidence, raw, tmp_path)["verdict"] == "verified"
        assert str(made.bank_a.id).encode() in raw
        assert str(made.bank_b.id).encode() not in raw
    empty = Scope(kind=ScopeKind.PERIOD, told={}, bank_id=made.bank_a.id, from_at=made.now + timedelta(days=1), to_at=made.now + timedelta(days=2))
    with pytest.raises(NotFound):
        evidence.export_scope(made.lin.actor, empty)


def test_EVD_08_second_pack_proves_that_the_log_of_the_first_was_not_rewritten(evidence: Evidence, tmp_path: Path) -> None:
    first = evidence.export(evidence.made.lin.actor)
    (tmp_path / "first.zip").write_bytes(first)
    files, _ = verify_pack.zip_files((tmp_path / "first.zip").read_bytes())
    since = bytes(files["data/log/checkpoint"]).decode()
    evidence.sequence()
    (tmp_path / "second.zip").write_bytes(evidence.export(evidence.made.lin.actor))
    with evidence.sessions() as session:
        trust = json.loads(commands.trust(session, KEYRING, ORIGIN))
    assert verify_pack.verify(tmp_path / "second.zip", trust, since)["verdict"] == "verified"
    newer = bytes(verify_pack.zip_files((tmp_path / "second.zip").read_bytes())[0]["data/log/checkpoint"]).decode()
    assert {one["name"] for one in verify_pack.verify(tmp_path / "first.zip", trust, newer)["findings"]} == {"checkpoint-stale"}


def test_EVD_08_pack_is_read_from_any_byte_and_goes_when_its_time_is_over(evidence: Evidence) -> None:
    made = evidence.made
    request = exports.PackRequest(scope=Scope(kind=ScopeKind.CASE, told={}, case_ids=(case_of(evidence),)), purpose=CopyPurpose.AUDIT)
    pack = exports.export(evidence.sessions.begin, made.lin.actor, KEYRING, evidence.place, (request, made.now))
    with evidence.sessions() as session:
        opened = exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, pack.id)
        whole = b"".join(opened.chunks(0, pack.size))
        for start, end in ((0, 1), (65_535, 65_537), (pack.size - 1, pack.size), (10, 11), (3, pack.size)):
            assert b"".join(opened.chunks(start, end)) == whole[start:end]
        with pytest.raises(NotFound):
            exports.open_pack(session, made.chen.actor, KEYRING, evidence.place, pack.id)
        assert exports.over(session, made.now) == ()
        assert exports.over(session, pack.expires_at) == (pack.id,)
    drop = next(task for task in archive_tasks.tasks(Means(evidence)) if task.name == archive_tasks.DROP_PACK)
    drop.run(pack.id)
    with evidence.sessions() as session, pytest.raises(PackGone):
        exports.open_pack(session, made.lin.actor, KEYRING, evidence.place, pack.id)
