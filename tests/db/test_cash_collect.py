"""Taking money: leave refused before, facts booked after, on both engines."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.audit.tables import AuditEntryRow
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.cash import actions, authorisations, books, transfers
from backend.cash.model import Grant, Instrument, NumberStatus, PayerRelation
from backend.cash.problems import TokenRejected
from backend.cash.tables import AuthorisationRow, CashExceptionRow, ReceiptNumberRow, ReceiptRow
from backend.core.problems import Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.exhibits.model import Standing
from backend.keys.keyring import Keyring
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from evidence.facts import Denomination
from evidence.facts import Instrument as StatedInstrument
from evidence.facts import PayerRelation as StatedPayer
from tests.support.cash import Door, door
from tests.support.world import world


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def refused(at: Door, *arguments: object, **changes: object) -> RulesBreached:
    """Ask for leave that must be refused."""
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(*arguments, **changes), at.policy, at.now)  # type: ignore[arg-type]
    return caught.value


def rules_of(at: Door, subject: str) -> set[Rule]:
    """Return the rules that a stored fact broke."""
    return {breach.rule for breach in breaches_of(at.session, subject)}


def test_CASH_01_an_intent_without_authorisation_is_refused(at: Door) -> None:
    problem = refused(at, at.lease()[0], 100, None)
    assert (problem.answered_status, problem.answered_code) == (403, "cash-not-authorised")
    assert [breach.rule for breach in problem.breaches] == [Rule.CASH_01]


def test_CASH_01_an_authorisation_of_another_case_is_refused(at: Door) -> None:
    other = door(at.session, at.keyring, at.made, serial=2)
    problem = refused(at, at.lease()[0], 100, other.authorise())
    assert problem.answered_code == "cash-not-authorised"


def test_CASH_01_another_pair_is_refused(at: Door) -> None:
    problem = refused(at, at.lease()[0], 100, at.authorise(), cosigner_device="x" * 43)
    assert problem.answered_code == "cash-not-authorised"


def test_CASH_02_an_instrument_that_was_not_authorised_is_refused(at: Door) -> None:
    problem = refused(at, at.lease()[0], 100, at.authorise(), instrument=Instrument.CASH_CHEQUE)
    assert [breach.rule for breach in problem.breaches] == [Rule.CASH_02]
    personal = refused(at, at.lease()[0], 100, at.authorise(), instrument=Instrument.PERSONAL_TRANSFER)
    assert Rule.CASH_02 in {breach.rule for breach in personal.breaches}


def test_CASH_03_a_request_without_explanation_is_refused(at: Door) -> None:
    with pytest.raises(RulesBreached) as caught:
        at.request(is_explained=False)
    assert [breach.rule for breach in caught.value.breaches] == [Rule.CASH_03]


def test_CASH_04_an_agency_supervisor_cannot_grant(at: Door) -> None:
    request_id = at.request()
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id)))
    for person in (at.made.amina, at.made.petra, at.made.lin):
        with pytest.raises(Forbidden):
            authorisations.grant(at.session, person.actor, command, at.policy, at.now)


def test_CASH_04_another_bank_sees_no_such_request(at: Door) -> None:
    request_id = at.request()
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id)))
    with pytest.raises(NotFound):
        authorisations.grant(at.session, at.made.nuo.actor, command, at.policy, at.now)
    with pytest.raises(NotFound):
        authorisations.refuse(at.session, at.made.nuo.actor, request_id, "no", at.now - timedelta(minutes=25))


@pytest.mark.parametrize("change", [
    {"iss": "another-bank"}, {"agency": "another-agency"}, {"case": "another-case"}, {"request": "another-request"},
    {"circumstance": "limited_mobility"}, {"cap_fen": 500_001},
    {"devices": ["a" * 43, "b" * 43]}, {"account_digest": "f" * 64}, {"iat": 1_700_000_000}, {"exp": 4_000_000_000}, {"max_collections": 0},
    {"instruments": ["personal_transfer"]}, {"fee_fen": 1}, {"jti": ""},
], ids=lambda change: next(iter(change)))
def test_CASH_04_a_token_that_says_anything_else_is_refused(at: Door, change: dict[str, object]) -> None:
    request_id = at.request()
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id, **change)))
    with pytest.raises(TokenRejected):
        authorisations.grant(at.session, at.made.mo.actor, command, at.policy, at.now - timedelta(minutes=19))


def test_CASH_04_only_the_banks_own_key_signs(at: Door) -> None:
    request_id = at.request()
    claims, granted_at = at.claims(request_id), at.now - timedelta(minutes=19)
    for token in (at.token(claims, bank=at.made.bank_b), at.token(claims, typ="JWT"), at.token(claims)[:-8] + "AAAAAAAA", "a.b.c"):
        with pytest.raises(TokenRejected):
            authorisations.grant(at.session, at.made.mo.actor, Grant(request_id=request_id, agency="fieldvisit", token=token), at.policy, granted_at)


def test_CASH_04_a_pair_without_phones_is_not_stood_in_for_by_others(at: Door) -> None:
    request_id = at.request()
    others = [one.actor.id for one in (at.made.amina, at.made.kai)]
    for row, staff_id in zip(at.session.scalars(select(DeviceRow)).all(), others, strict=False):
        columns = {column.name: getattr(row, column.name) for column in DeviceRow.__table__.columns}
        at.session.add(DeviceRow(**columns | {"kid": f"{staff_id}{'x' * 7}", "staff_id": staff_id}))
    at.session.flush()
    at.session.execute(update(DeviceRow).where(DeviceRow.kid.in_([at.first.kid, at.second.kid])).values(state=DeviceState.SUSPENDED))
    strangers = sorted(at.session.scalars(select(DeviceRow.kid).where(DeviceRow.state == DeviceState.ACTIVE, DeviceRow.staff_id.in_(others))))
    assert len(strangers) == 2
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id, devices=strangers)))
    with pytest.raises(TokenRejected):
        authorisations.grant(at.session, at.made.mo.actor, command, at.policy, at.now - timedelta(minutes=19))


def test_CASH_04_silence_refuses(at: Door) -> None:
    request_id = at.request(at=at.now - timedelta(seconds=at.policy.cash_request_answer_s))
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id)))
    with pytest.raises(IllegalTransition):
        authorisations.grant(at.session, at.made.mo.actor, command, at.policy, at.now)
    assert authorisations.expire_due(at.session, at.now) == 1
    assert authorisations.expire_due(at.session, at.now) == 0


def test_CASH_04_a_large_sum_takes_two_authorisers(at: Door) -> None:
    large = at.policy.second_authoriser_from_fen
    request_id, granted_at = at.request(cap_fen=large), at.now - timedelta(minutes=19)
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id, cap_fen=large)))
    with pytest.raises(RulesBreached):
        authorisations.grant(at.session, at.made.mo.actor, command, at.policy, granted_at)
    authorisations.second(at.session, at.made.mo.actor, request_id, at.policy, granted_at)
    with pytest.raises(RulesBreached):
        authorisations.grant(at.session, at.made.mo.actor, command, at.policy, granted_at)


def test_CASH_04_an_expired_or_revoked_authorisation_gives_no_leave(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise(exp=int((at.now - timedelta(minutes=1)).timestamp()))
    assert refused(at, number, 100, jti).answered_code == "authorisation-expired"
    revoked = at.authorise()
    authorisations.revoke(at.session, at.made.mo.actor, revoked, at.now - timedelta(minutes=1))
    assert refused(at, number, 100, revoked).answered_code == "cash-not-authorised"
    with pytest.raises(NotFound):
        authorisations.revoke(at.session, at.made.nuo.actor, revoked, at.now)


def test_CASH_01_above_the_cap_or_the_count_is_refused(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise(cap_fen=1_000, max_collections=1)
    assert refused(at, numbers[0], 1_001, jti).answered_code == "cap-exceeded"
    at.take(numbers[0], 400, jti)
    assert refused(at, numbers[1], 100, jti).answered_code == "authorisation-exhausted"


def test_CASH_05_a_number_that_is_not_leased_here_or_was_used_is_refused(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    assert refused(at, "NO-SUCH-1", 100, jti).answered_code == "receipt-number-not-leased"
    assert refused(at, at.lease(handset=at.second)[0], 100, jti).answered_code == "receipt-number-not-leased"
    at.take(numbers[0], 100, jti)
    assert refused(at, numbers[0], 100, jti).answered_code == "receipt-already-used"


def test_CASH_08_more_than_may_be_carried_is_refused(at: Door) -> None:
    problem = refused(at, at.lease()[0], 100, at.authorise(), unsynced_fen=at.policy.carry_limit_fen)
    assert [breach.rule for breach in problem.breaches] == [Rule.CASH_08]


def test_CASH_06_who_is_late_with_a_deposit_takes_no_more(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    at.take(numbers[0], 100, jti)
    late = at.now + timedelta(seconds=at.policy.deposit_deadline_s)
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(numbers[1], 100, jti), at.policy, late)
    assert Rule.CASH_06 in {breach.rule for breach in caught.value.breaches}


def test_CASH_06_a_receipt_that_arrives_late_was_not_taken_late(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    first, second = at.statement(numbers[0], 100, jti), at.statement(numbers[1], 100, jti)
    late = at.now + timedelta(seconds=at.policy.deposit_deadline_s)
    at.collect(first, now=late)
    done = at.collect(second, now=late)
    assert breaches_of(at.session, f"collection:{done.collection_id}") == (), "both were taken within seconds of each other"
    third = at.take(numbers[2], 100, jti, at=at.now - timedelta(minutes=4))
    assert third.standing is done.standing is Standing.ACCEPTED
    assert actions.overdue_count(at.session, frozenset({at.made.bilal.id}), late) == 3


def test_CASH_06_money_taken_while_late_is_booked_with_its_breach(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    first = at.take(numbers[0], 100, jti)
    statement = at.statement(numbers[1], 100, jti)
    late = first.deposit_due_at + timedelta(minutes=1)
    bounds = {"captured_lower_at": late, "captured_upper_at": late, "captured_at": late}
    done = at.collect(msgspec.structs.replace(statement, **bounds), now=late + timedelta(hours=1))
    assert "deposit-overdue" in {breach.code for breach in breaches_of(at.session, f"collection:{done.collection_id}")}


def test_DECL_01_no_leave_on_a_suspended_case(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    cases.suspend(at.session, at.made.bilal.actor, at.case_id, SuspensionReason.DENIES_SPENDING, at.now)
    assert [breach.rule for breach in refused(at, number, 100, jti).breaches] == [Rule.DECL_01]


def test_CONT_08_only_the_debtor_or_a_named_person_pays(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    for payer in (PayerRelation.OTHER, PayerRelation.NAMED_PERSON):
        assert [breach.rule for breach in refused(at, number, 100, jti, payer=payer).breaches] == [Rule.CONT_08]
    named = at.authorise(payer={"relation": "son", "name_sha256": "a" * 64})
    wrong = refused(at, number, 100, named, payer=PayerRelation.NAMED_PERSON, payer_digest="b" * 64)
    assert [breach.rule for breach in wrong.breaches] == [Rule.CONT_08]
    intent = at.intent(number, 100, named, payer=PayerRelation.NAMED_PERSON, payer_digest="a" * 64)
    assert actions.intend(at.session, at.made.bilal.on_phone, intent, at.policy, at.now).allowed
    stranger = at.take(number, 100, named, payer=StatedPayer.NAMED_PERSON, payer_name_sha256="b" * 64)
    assert stranger.exception_number is not None
    assert rules_of(at, f"collection:{stranger.collection_id}") == {Rule.CONT_08}


def test_CONT_08_the_person_whom_the_bank_named_pays(at: Door) -> None:
    named = at.authorise(payer={"relation": "son", "name_sha256": "a" * 64})
    done = at.take(at.lease()[0], 100, named, payer=StatedPayer.NAMED_PERSON, payer_name_sha256="a" * 64)
    assert (done.standing, done.exception_number) == (Standing.ACCEPTED, None)


def test_CASH_05_collection_receipt_and_transfer_are_one(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise(cap_fen=1_000)
    leave = actions.intend(at.session, at.made.bilal.on_phone, at.intent(number, 300, jti), at.policy, at.now)
    done = at.take(number, 300, jti)
    assert (leave.remaining_fen, done.standing, done.exception_number) == (700, Standing.ACCEPTED, None)
    receipt = at.session.get_one(ReceiptRow, number)
    assert (receipt.amount_fen, receipt.collection_id) == (300, done.collection_id)
    assert transfers.balance(at.session, transfers.custody_of(at.made.bilal.id, at.bank.id)) == 300
    assert transfers.balance(at.session, transfers.debtor_of(at.case_id, at.bank.id)) == -300
    authorisation = at.session.get_one(AuthorisationRow, jti, populate_existing=True)
    assert (authorisation.collected_fen, authorisation.collected_count) == (300, 1)
    assert at.session.get_one(ReceiptNumberRow, number).status is NumberStatus.ISSUED


def test_CASH_05_the_same_statement_again_books_nothing(at: Door) -> None:
    statement = at.statement(at.lease()[0], 300, at.authorise())
    assert at.collect(statement) == at.collect(statement)
    assert transfers.balance(at.session, transfers.custody_of(at.made.bilal.id, at.bank.id)) == 300


def test_CASH_01_money_taken_without_authority_is_booked_and_blocks_both(at: Door) -> None:
    numbers = at.lease()
    done = at.take(numbers[0], 500, None)
    assert (done.standing, done.receipt_number) == (Standing.BREACH, numbers[0])
    assert done.exception_number is not None
    assert transfers.balance(at.session, transfers.custody_of(at.made.bilal.id, at.bank.id)) == 500
    assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CASH_01}
    jti = at.authorise()
    assert "collector-blocked" in {breach.code for breach in refused(at, numbers[1], 100, jti).breaches}
    assert not actions.resolve_exception(at.session, at.made.amina.actor, done.exception_number, at.now)
    with pytest.raises(NotFound):
        actions.resolve_exception(at.session, at.made.chen.actor, done.exception_number, at.now)
    assert actions.resolve_exception(at.session, at.made.mo.actor, done.exception_number, at.now)
    told = select(func.count()).select_from(AuditEntryRow).where(AuditEntryRow.subject == f"collection:{done.collection_id}")
    assert at.session.scalar(told) == 2
    for person in (at.made.amina, at.made.mo):
        assert actions.resolve_exception(at.session, person.actor, done.exception_number, at.now)
    assert at.session.scalar(told) == 2, "said again, it is the same word"
    assert actions.intend(at.session, at.made.bilal.on_phone, at.intent(numbers[1], 100, jti), at.policy, at.now).allowed


def test_CASH_08_nobody_resolves_the_exception_of_money_they_took(at: Door) -> None:
    done = at.take(at.lease()[0], 500, None)
    assert done.exception_number is not None
    for person in (at.made.bilal, at.made.dong):
        promoted = msgspec.structs.replace(at.made.amina.actor, id=person.id)
        with pytest.raises(Forbidden):
            actions.resolve_exception(at.session, promoted, done.exception_number, at.now)
    assert actions.blocked_count(at.session, frozenset({at.made.bilal.id})) == 1


def test_CASH_04_consent_that_came_after_the_money_is_no_consent(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise(at=at.now - timedelta(minutes=4))
    done = at.take(number, 500, jti)
    assert done.exception_number is not None
    assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CASH_04}


def test_CASH_01_a_personal_transfer_stands_as_a_breach(at: Door) -> None:
    done = at.take(at.lease()[0], 500, at.authorise(), instrument=StatedInstrument.PERSONAL_TRANSFER, denominations=())
    assert done.exception_number is not None
    assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CASH_02}


def test_CASH_01_more_than_the_cap_never_uses_the_authorisation_up(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise(cap_fen=1_000)
    done = at.take(number, 1_001, jti)
    assert done.exception_number is not None
    assert at.session.get_one(AuthorisationRow, jti, populate_existing=True).collected_fen == 0


def test_CASH_05_a_number_used_twice_stands_under_an_exception(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    first, second = at.take(number, 100, jti), at.take(number, 200, jti)
    assert (first.receipt_number, second.receipt_number) == (number, second.exception_number)
    assert rules_of(at, f"collection:{second.collection_id}") == {Rule.CASH_05}
    assert transfers.balance(at.session, transfers.custody_of(at.made.bilal.id, at.bank.id)) == 300


def test_CASH_05_a_suspended_number_is_welcome_late(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    statement = at.statement(numbers[0], 100, jti)
    assert books.suspend_device(at.session, at.made.kai.actor, at.first.kid, at.now) == len(numbers)
    assert at.collect(statement).standing is Standing.ACCEPTED
    assert refused(at, numbers[1], 100, jti).answered_code == "receipt-number-not-leased"


def test_CASH_07_capitals_notes_and_amount_must_agree(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    wrong_capitals = at.take(numbers[0], 300, jti, amount_capitals="壹元整")
    short_notes = at.take(numbers[1], 300, jti, denominations=(Denomination(face_fen=100, count=2),))
    for done in (wrong_capitals, short_notes):
        assert (done.standing, done.exception_number) == (Standing.BREACH, None)
        assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CASH_07}


def test_CASH_05_no_counterfoil_and_no_signature_of_the_payer_stand_as_breaches(at: Door) -> None:
    done = at.take(at.lease()[0], 300, at.authorise(), items=())
    assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CASH_05}


def test_CONT_08_money_from_somebody_else_stands_as_an_exception(at: Door) -> None:
    done = at.take(at.lease()[0], 300, at.authorise(), payer=StatedPayer.OTHER)
    assert done.exception_number is not None
    assert rules_of(at, f"collection:{done.collection_id}") == {Rule.CONT_08}


def test_DECL_01_money_taken_before_the_suspension_is_sound_and_after_it_is_not(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    before = at.statement(numbers[0], 100, jti)
    after = at.statement(numbers[1], 100, jti, at=at.now - timedelta(seconds=31))
    cases.suspend(at.session, at.made.bilal.actor, at.case_id, SuspensionReason.DENIES_SPENDING, at.now - timedelta(minutes=2))
    assert at.collect(before).standing is Standing.ACCEPTED
    late = at.collect(after)
    assert late.exception_number is not None
    assert rules_of(at, f"collection:{late.collection_id}") == {Rule.DECL_01}


def test_DECL_01_money_taken_while_suspended_stays_a_breach_after_the_bank_resumed(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    cases.suspend(at.session, at.made.bilal.actor, at.case_id, SuspensionReason.DENIES_APPLICATION, at.taken_at - timedelta(minutes=2))
    late = at.statement(numbers[0], 500, jti)
    cases.resume(at.session, at.made.lin.actor, at.keyring, at.case_id, "the bank's ruling", at.now - timedelta(minutes=1))
    booked = at.collect(late)
    assert booked.standing is Standing.BREACH
    assert Rule.DECL_01 in rules_of(at, f"collection:{booked.collection_id}")


def test_CASH_04_an_end_inside_the_bounds_of_time_is_a_doubt(at: Door) -> None:
    done = at.take(at.lease()[0], 100, at.authorise(exp=int(at.taken_at.timestamp())))
    assert (done.standing, done.exception_number) == (Standing.DOUBTFUL, None)


def test_CASH_05_a_void_number_takes_both_signatures_and_a_photo(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    actor = at.made.bilal.on_phone
    assert actions.void_receipt(at.session, actor, at.void_statement(numbers[0]), at.policy, at.now) is NumberStatus.VOID
    assert refused(at, numbers[0], 100, jti).answered_code == "receipt-already-used"
    at.take(numbers[1], 100, jti)
    issued = at.void_statement(numbers[1])
    assert actions.void_receipt(at.session, actor, issued, at.policy, at.now) is NumberStatus.ISSUED
    bare = at.void_statement(numbers[2], items=())
    actions.void_receipt(at.session, actor, bare, at.policy, at.now)
    assert "void-photo-missing" in {breach.code for breach in breaches_of(at.session, f"manifest:{bare.manifest_id}")}


def test_SEC_01_a_void_notice_tells_nothing_of_another_phones_number(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 100, at.authorise())
    assert actions.report_void(at.session, at.made.bilal.on_phone, number, at.policy, at.now)[0] is NumberStatus.ISSUED
    told = [actions.report_void(at.session, at.made.zhen.on_phone, one, at.policy, at.now) for one in (number, "NO-SUCH-00001")]
    assert told[0] == told[1]
    assert told[0][0] is None
    assert len(breaches_of(at.session, f"receipt:{number}")) == 1, "nobody else writes beside somebody's receipt"


def test_an_exception_row_exists_for_each_exception(at: Door) -> None:
    done = at.take(at.lease()[0], 500, None)
    assert at.session.scalars(select(CashExceptionRow.number)).all() == [done.exception_number]


def test_the_receipt_and_its_book_are_another_branchs_business(at: Door) -> None:
    command = books.Lease(serial="B-FOREIGN", bank_id=at.bank.id, device=at.first.kid, first_number=1, last_number=2)
    with pytest.raises(Forbidden):
        books.lease(at.session, at.made.yara.actor, command, at.now)
