"""Said to have been paid personally: a hint blocks the pair at once; and a witnessed payment keeps everybody from pressing. Both engines."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.auth.actors import Role
from backend.cases.layout import Acceptance
from backend.cases.tables import CaseRow, RepaymentRow
from backend.cash import actions, alerts, bank_files, claims, hints, repayments
from backend.cash.alerts import AlertKind
from backend.cash.bank_files import BankFile
from backend.cash.claim_model import ClaimStatus
from backend.cash.field_tables import CashHintRow, DirectPaymentRow
from backend.cash.hint_model import HintFinding, HintSource
from backend.contacts.actions import record_contact
from backend.contacts.model import Channel, Mode, RecordContact
from backend.core.fen import Fen
from backend.core.ids import CaseId, RequestId, VisitId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.keys.keyring import Keyring
from backend.offers import promises, queries
from backend.offers.model import NewPromise, PromiseSource, PromiseStatus
from backend.offers.tables import PromiseRow
from backend.policies.tables import PolicyRow
from backend.requests.model import Withheld
from backend.requests.queries import withheld_reasons
from backend.visits.tables import VisitRow
from tests.support.cash import Door, door
from tests.support.world import Person, add_person, world


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def told(at: Door, source: HintSource = HintSource.CALL, person: Person | None = None, **changes: Any) -> Any:
    return hints.tell(at.session, (person or at.made.hana).actor, hints.Hint(**({"case_id": at.case_id, "source": source} | changes)), at.now)


def codes_of_intent(at: Door) -> set[str]:
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(at.lease()[0], 100, at.authorise()), at.policy, at.now)
    return {breach.code for breach in caught.value.breaches}


@pytest.mark.parametrize("source", HintSource)
def test_CASH_02_a_hint_of_a_personal_transfer_blocks_both_until_agency_and_bank_have_looked(at: Door, source: HintSource) -> None:
    hint = told(at, source)
    assert told(at, source) == hint
    assert codes_of_intent(at) == {"collector-blocked"}
    for one in (at.made.bilal.id, at.made.dong.id):
        assert actions.blocked_count(at.session, frozenset({one})) == 1
    for viewer in (at.made.amina, at.made.lin):
        assert [one.kind for one in alerts.list_alerts(at.session, viewer.actor, at.now) if one.kind is AlertKind.TRANSFER_HINT] != []
    assert not hints.resolve(at.session, at.made.amina.actor, hint, HintFinding.UNFOUNDED, at.now)
    assert codes_of_intent(at) == {"collector-blocked"}
    assert hints.resolve(at.session, at.made.lin.actor, hint, HintFinding.UNFOUNDED, at.now)
    actions.intend(at.session, at.made.bilal.on_phone, at.intent(at.lease()[0], 100, at.authorise()), at.policy, at.now)
    assert hints.resolve(at.session, at.made.lin.actor, hint, HintFinding.UPHELD, at.now)
    row = at.session.get_one(CashHintRow, hint)
    assert (row.agency_finding, row.bank_finding) == (HintFinding.UNFOUNDED, HintFinding.UNFOUNDED), "a finding stands"
    entries = at.session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == EventTag.CASH_HINT_RESOLVED)).all()
    assert [one.details["finding"] for one in entries] == ["unfounded", "unfounded"], "the audit tells of no finding that nobody keeps"


def test_CASH_02_money_taken_while_a_hint_is_open_is_booked_with_its_breach(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    told(at)
    done = at.take(number, 100, jti)
    assert (done.standing.value, done.exception_number) == ("breach", None)


def test_a_hint_is_looked_into_by_others_than_who_told_or_took(at: Door) -> None:
    hint = told(at, HintSource.COMPLAINT, at.made.amina)
    with pytest.raises(Forbidden):
        hints.resolve(at.session, at.made.amina.actor, hint, HintFinding.UNFOUNDED, at.now)
    for person, refusal in ((at.made.bilal, Forbidden), (at.made.hana, Forbidden), (at.made.chen, NotFound), (at.made.yara, NotFound)):
        with pytest.raises(refusal):
            hints.resolve(at.session, person.actor, hint, HintFinding.UNFOUNDED, at.now)
    assert hints.list_hints(at.session, at.made.chen.actor, limit=5, after=None) == []
    assert [one.id for one in hints.list_hints(at.session, at.made.lin.actor, limit=5, after=None)] == [hint]


def test_a_hint_names_a_door_where_somebody_of_ours_was(at: Door) -> None:
    for person in (at.made.chen, at.made.yara):
        with pytest.raises(NotFound):
            told(at, person=person)
    with pytest.raises(Forbidden):
        told(at, person=at.made.bilal)
    with pytest.raises(NotFound):
        told(at, visit_id=VisitId(new_id()))
    at.session.execute(update(VisitRow).where(VisitRow.id == at.visit_id).values(started_at=None))
    at.session.expire_all()
    with pytest.raises(Conflict):
        told(at)


@pytest.mark.parametrize("change", ["told_by = :other", "agency_finding = NULL", "agency_finding = 'upheld'", "agency_resolved_at = NULL"])
def test_a_finding_is_not_rewritten_in_the_database(at: Door, change: str) -> None:
    hint = told(at)
    hints.resolve(at.session, at.made.amina.actor, hint, HintFinding.UNFOUNDED, at.now)
    values: dict[str, Any] = {"told_by = :other": {"told_by": at.made.farid.id}, "agency_finding = NULL": {"agency_finding": None},
                              "agency_finding = 'upheld'": {"agency_finding": HintFinding.UPHELD},
                              "agency_resolved_at = NULL": {"agency_resolved_at": None}}
    point = at.session.begin_nested()
    with pytest.raises(IntegrityError):
        at.session.execute(update(CashHintRow).where(CashHintRow.id == hint).values(**values[change]))
    point.rollback()


# -- A witnessed payment keeps everybody from pressing (F10) --------------------------------------------------------


def seen(at: Door, amount_fen: int = 1_000) -> DirectPaymentRow:
    payment = claims.WitnessedPayment(
        visit_id=VisitId(at.visit_id), amount_fen=Fen(amount_fen), channel="mobile_bank", paid_at=at.taken_at, witnessed_at=at.taken_at)
    return at.session.get_one(DirectPaymentRow, claims.claim(at.session, at.made.bilal.on_phone, payment, at.now))


def promised(at: Door) -> Any:
    return promises.promise(at.session, at.made.hana.actor, at.session.get_one(CaseRow, at.case_id), NewPromise(
        case_id=at.case_id, amount_fen=Fen(1_000), due_on=at.made.today, made_on=at.made.today, source=PromiseSource.CONTACT, source_id=new_id()),
        at.now)


def due(at: Door) -> list[Any]:
    return [one.id for one in queries.list_promises(at.session, at.made.hana.actor, limit=9, after=None, due_by=at.made.today)]


def rules_of(act: Any) -> set[tuple[Rule, str]]:
    with pytest.raises(RulesBreached) as caught:
        act()
    return {(breach.rule, breach.code) for breach in caught.value.breaches}


def test_F10_nobody_presses_while_a_witnessed_payment_is_open(at: Door) -> None:
    promise_id, number, jti = promised(at), at.lease()[0], at.authorise()
    assert due(at) == [promise_id]
    seen(at)
    assert due(at) == []
    stopped = (Rule.CONT_11, "case-payment-claimed")
    assert rules_of(lambda: promises.follow_up(at.session, at.made.hana.actor, promise_id, at.now)) == {stopped}
    call = RecordContact(case_id=at.case_id, mode=Mode.INTENT, channel=Channel.LETTER, at=at.now)
    assert stopped in rules_of(lambda: record_contact(at.session, at.made.hana.actor, at.keyring, call, at.now))
    assert stopped in rules_of(
        lambda: actions.intend(at.session, at.made.bilal.on_phone, at.intent(number, 100, jti), at.policy, at.now))
    assert rules_of(lambda: at.request()) == {stopped}
    request_id = at.session.get_one(VisitRow, at.visit_id).request_id
    assert Withheld.PAYMENT_CLAIMED in withheld_reasons(at.session, [request_id], at.made.today)[RequestId(request_id)]
    taken = at.take(number, 100, jti)
    assert taken.exception_number is None, "money under the bank's word stands, whatever else was paid"
    payment = claims.Repayment(case_id=CaseId(at.case_id), amount_fen=Fen(1_000), paid_on=at.made.today, reference="R-1")
    assert not repayments.record_one(at.session, at.made.gu.actor, payment, at.now)
    assert at.session.get_one(CaseRow, at.case_id).payment_claimed_at is None
    assert at.session.get_one(PromiseRow, promise_id).status is PromiseStatus.KEPT


def test_F10_two_open_claims_stop_the_case_until_both_are_settled(at: Door) -> None:
    seen(at), seen(at, 2_000)
    for reference, amount, is_stopped in (("R-1", 1_000, True), ("R-2", 2_000, False)):
        payment = claims.Repayment(case_id=CaseId(at.case_id), amount_fen=Fen(amount), paid_on=at.made.today, reference=reference)
        claims.confirm(at.session, None, payment, at.now)
        assert (at.session.get_one(CaseRow, at.case_id).payment_claimed_at is not None) is is_stopped


def test_F10_a_payment_that_the_bank_told_before_the_phone_settles_the_claim(at: Door) -> None:
    payment = claims.Repayment(case_id=CaseId(at.case_id), amount_fen=Fen(1_000), paid_on=at.made.today, reference="R-1")
    repayments.record_one(at.session, at.made.gu.actor, payment, at.now)
    other = seen(at, 999)
    claimed = seen(at)
    assert (claimed.status, claimed.reference) == (ClaimStatus.CONFIRMED, "R-1")
    assert other.status is ClaimStatus.CLAIMED, "another amount is another payment"


def test_F10_a_claim_waits_as_long_as_its_own_bank_says(at: Door) -> None:
    at.session.add(PolicyRow(
        id=new_id(), version="bank-a-slow", bank_id=at.bank.id, valid_from=at.now - timedelta(days=1), thresholds={"claim_days_max": 9},
        made_by=at.made.oscar.id, made_at=at.now))
    assert seen(at).due_at == at.taken_at + timedelta(days=9)


def test_F10_a_contradicted_claim_lets_the_case_go_on(at: Door) -> None:
    claimed = seen(at)
    later = at.policy.claim_days_max + 2
    when = at.now + timedelta(days=later)
    claims.contradict_due(at.session, at.made.gu.actor, at.bank.id, at.made.today + timedelta(days=later), when)
    assert claimed.status is ClaimStatus.CONTRADICTED
    assert at.session.get_one(CaseRow, at.case_id).payment_claimed_at is None


# -- Files of other branches ---------------------------------------------------------------------------------------


class TwoBranches:
    """A case here and one in the other branch, each with a promise due yesterday, a clerk each, and the bank's one file."""

    def __init__(self, at: Door) -> None:
        self.at = at
        row = at.session.get_one(CaseRow, at.case_id)
        columns = {column.key: getattr(row, column.key) for column in CaseRow.__table__.columns}
        self.there = CaseRow(**(columns | {"id": new_id(), "branch_id": at.made.bj1, "bank_reference": "THERE-1"}))
        at.session.add(self.there)
        at.session.flush()
        self.promises = {case.id: self._promise(case) for case in (row, self.there)}
        self.lines = (f"{row.bank_reference},H-1,{at.made.today},10.00", f"THERE-1,T-1,{at.made.today},20.00")
        self.gu_there = add_person(at.session, at.keyring, "gu-there", Role.DATA_CLERK, branch_id=at.made.bj1)

    def _promise(self, case: CaseRow) -> Any:
        return promises.promise(self.at.session, self.at.made.amina.actor, case, NewPromise(
            case_id=CaseId(case.id), amount_fen=Fen(2_000), due_on=self.at.made.today, made_on=self.at.made.today, source=PromiseSource.CONTACT,
            source_id=new_id()), self.at.now)

    def send(self, person: Person, *, acceptance: Acceptance = Acceptance.ACCEPT_GOOD) -> repayments.Repaid:
        file = BankFile(
            bank_id=self.at.bank.id, content="\n".join(["case,reference,paid_on,amount", *self.lines]).encode(), row_count=2,
            amount_total_fen=Fen(3_000), as_of_on=self.at.made.today + timedelta(days=2), acceptance=acceptance)
        return repayments.import_repayments(self.at.session, person.actor, file, self.at.now + timedelta(days=2))

    def status(self, case_id: Any) -> PromiseStatus:
        return self.at.session.get_one(PromiseRow, self.promises[case_id], populate_existing=True).status


def test_a_file_sent_by_two_branches_takes_in_the_cases_of_both_and_tells_neither_of_the_other(at: Door) -> None:
    two = TwoBranches(at)
    here = two.send(at.made.gu)
    assert (here.accepted_count, here.accepted_fen, here.is_first) == (1, 1_000, True)
    assert two.status(two.there.id) is PromiseStatus.OPEN, "what the other branch was paid is not known yet"
    assert two.status(at.case_id) is PromiseStatus.BROKEN
    there = two.send(two.gu_there)
    assert (there.accepted_count, there.accepted_fen, there.is_first) == (1, 2_000, True)
    assert there.file_id != here.file_id
    assert two.status(two.there.id) is PromiseStatus.KEPT
    assert two.send(two.gu_there).file_id == there.file_id
    assert [one.id for one in bank_files.list_files(at.session, two.gu_there.actor, limit=9, after=None)] == [there.file_id]
    assert [one.id for one in bank_files.list_files(at.session, at.made.gu.actor, limit=9, after=None)] == [here.file_id]
    with pytest.raises(NotFound):
        bank_files.rejections_of(at.session, two.gu_there.actor, here.file_id)
    assert [one.code for one in bank_files.rejections_of(at.session, at.made.gu.actor, here.file_id)] == ["unknown-case"]
    assert len(bank_files.list_files(at.session, at.made.lin.actor, limit=9, after=None)) == 2, "the bank sees its own files"


def test_the_liaisons_import_of_the_same_file_adds_nothing_and_stays_the_banks(at: Door) -> None:
    two = TwoBranches(at)
    two.send(at.made.gu)
    whole = two.send(at.made.lin)
    assert (whole.accepted_count, whole.is_first) == (2, True)
    assert at.session.scalar(select(func.count()).select_from(RepaymentRow)) == 2
    assert whole.file_id not in [one.id for one in bank_files.list_files(at.session, at.made.gu.actor, limit=9, after=None)]


def test_a_clerk_reads_why_rows_of_their_file_were_rejected(at: Door) -> None:
    refused = TwoBranches(at).send(at.made.gu, acceptance=Acceptance.ALL_OR_NOTHING)
    assert [one.column for one in bank_files.rejections_of(at.session, at.made.gu.actor, refused.file_id)] == ["case"]
    for person in (at.made.hana, at.made.bilal):
        with pytest.raises(Forbidden):
            bank_files.rejections_of(at.session, person.actor, refused.file_id)
