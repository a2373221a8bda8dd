"""Taking in placement files on both engines: what is refused, what is rejected, what is stored and how it is found again."""

from datetime import datetime, timedelta

import msgspec
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.archive.model import DestructionGround
from backend.archive.tables import DestructionRow
from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.cases.batches import PlacementRefused, demand_imported, import_placement, list_batches, rejections_of, statistics_of
from backend.cases.layout import Acceptance, BatchOutcome, ControlTotalsMismatch, Encoding, EncodingMismatch
from backend.cases.model import CaseStatus, Field, ReadPurpose, Source
from backend.cases.queries import Sought, list_cases, search_cases, show_case, unmask
from backend.cases.tables import BatchRejectionRow, CaseAddressRow, CaseDecisionRow, CaseRow, CaseSearchRow, PlacementBatchRow
from backend.core.fen import Fen
from backend.core.ids import BranchId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from backend.keys.keyring import Keyring
from backend.keys.sealing import CaseKeyDestroyed
from backend.keys.tables import CaseKeyRow
from tests.support.cases import HEADINGS, case_by_reference, counted_statements, csv_text, id_number, place, placement, profile, row, total_fen
from tests.support.world import World, shared_keyring, world


@pytest.fixture
def made(session: Session, keyring: Keyring, now: datetime) -> World:
    return world(session, keyring, now)


def count(session: Session, table: type) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def test_CASE_01_collector_may_not_import(session: Session, keyring: Keyring, made: World) -> None:
    with pytest.raises(Forbidden):
        import_placement(session, made.hana.actor, keyring, placement(made, profile(session, made.bank_a), [row(1)]), made.now)


def test_other_bank_profile_and_branch_are_not_found(session: Session, keyring: Keyring, made: World) -> None:
    own, others = profile(session, made.bank_a), profile(session, made.bank_b)
    command = placement(made, own, [row(1)])
    for actor, asked in (
        (made.chen.actor, command),
        (made.gu.actor, msgspec.structs.replace(command, profile_id=others)),
        (made.gu.actor, msgspec.structs.replace(command, branch_id=made.bj1)),
        (made.lin.actor, msgspec.structs.replace(command, branch_id=BranchId(new_id()))),
    ):
        with pytest.raises(NotFound):
            import_placement(session, actor, keyring, asked, made.now)
    assert count(session, CaseRow) == 0


def test_file_that_does_not_add_up_leaves_nothing(session: Session, keyring: Keyring, made: World) -> None:
    command = placement(made, profile(session, made.bank_a), [row(1), row(2)])
    for wrong in (
        msgspec.structs.replace(command, row_count=3), msgspec.structs.replace(command, amount_total_fen=Fen(command.amount_total_fen - 1)),
    ):
        with pytest.raises(ControlTotalsMismatch):
            import_placement(session, made.gu.actor, keyring, wrong, made.now)
    assert count(session, PlacementBatchRow) == count(session, CaseRow) == 0


def test_file_in_another_encoding_than_the_profile_declares_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    profile_id = profile(session, made.bank_a, encoding="gb18030")
    with pytest.raises(EncodingMismatch):
        import_placement(session, made.gu.actor, keyring, placement(made, profile_id, [row(1)]), made.now)
    taken = import_placement(session, made.gu.actor, keyring, placement(made, profile_id, [row(1)], encoding=Encoding.GB18030), made.now)
    assert (taken.accepted_count, taken.encoding) == (1, "gb18030")


def test_file_over_a_hundred_megabytes_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    command = placement(made, profile(session, made.bank_a), [row(1)], content=bytes(100_000_001))
    with pytest.raises(TooLarge):
        import_placement(session, made.gu.actor, keyring, command, made.now)


def test_file_as_of_tomorrow_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    command = placement(made, profile(session, made.bank_a), [row(1)])
    with pytest.raises(InvalidInput):
        import_placement(session, made.gu.actor, keyring, msgspec.structs.replace(command, as_of_on=made.today + timedelta(days=1)), made.now)


def test_batch_number_of_another_file_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    profile_id = profile(session, made.bank_a)
    import_placement(session, made.gu.actor, keyring, placement(made, profile_id, [row(1)]), made.now)
    with pytest.raises(Conflict):
        import_placement(session, made.gu.actor, keyring, placement(made, profile_id, [row(2)]), made.now)


def test_all_or_nothing_keeps_the_rejections_and_no_case(session: Session, keyring: Keyring, made: World) -> None:
    rows = [row(1), row(2, id_number="990000198506150011"), row(3, phone="?")]
    command = placement(made, profile(session, made.bank_a), rows)
    result = import_placement(session, made.gu.actor, keyring, command, made.now)
    assert (result.outcome, result.accepted_count, count(session, CaseRow)) == (BatchOutcome.REFUSED, 0, 0)
    with pytest.raises(PlacementRefused):
        demand_imported(result)
    assert {(one.row_number, one.column) for one in rejections_of(session, made.gu.actor, result.id)} == {(2, "id_number"), (3, "phone")}
    # The choice is the clerk's: the same file again, taking its good rows.
    good = import_placement(session, made.gu.actor, keyring, msgspec.structs.replace(command, acceptance=Acceptance.ACCEPT_GOOD), made.now)
    assert (good.outcome, good.accepted_count, good.rejected_count, good.accepted_fen) == (BatchOutcome.IMPORTED, 1, 2, total_fen(rows[:1]))


def test_same_file_again_changes_nothing_and_tells_the_first_result(session: Session, keyring: Keyring, made: World) -> None:
    command = placement(made, profile(session, made.bank_a), [row(1), row(2)])
    first = import_placement(session, made.gu.actor, keyring, command, made.now)
    before = [count(session, table) for table in (CaseRow, CaseSearchRow, CaseDecisionRow, CaseAddressRow, AuditEntryRow)]
    again = import_placement(session, made.gu.actor, keyring, msgspec.structs.replace(command, number="other"), made.now + timedelta(days=1))
    assert again == msgspec.structs.replace(first, is_first=False)
    assert [count(session, table) for table in (CaseRow, CaseSearchRow, CaseDecisionRow, CaseAddressRow, AuditEntryRow)] == before


def test_reference_placed_before_unknown_branch_and_ended_term_are_rejected(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    columns = dict(HEADINGS, branch_code="分行")
    profile_id = profile(session, made.bank_a, columns=columns)
    rows = [row(1), row(2), row(3, term_ends_on="2026-11-26"), row(4)]
    content = _with_branch(rows, ["sh1", "bj1", "sh1", "sh1"])
    command = placement(made, profile_id, rows, number="B-2", acceptance=Acceptance.ACCEPT_GOOD, content=content)
    result = import_placement(session, made.gu.actor, keyring, command, made.now)
    found = {(one.row_number, one.code) for one in rejections_of(session, made.gu.actor, result.id)}
    assert found == {(1, "already-placed"), (2, "unknown-branch"), (3, "term-over")}
    assert result.accepted_count == 1


def test_CASE_01_batch_names_bank_number_receiver_time_and_rows(session: Session, keyring: Keyring, made: World) -> None:
    rows = [row(serial) for serial in range(1, 6)]
    result = place(session, keyring, made, rows, number="2026-11-27/A")
    stored = session.get_one(PlacementBatchRow, result.id)
    assert (stored.bank_id, stored.number, stored.received_by, stored.received_at) == (made.bank_a.id, "2026-11-27/A", made.gu.id, made.now)
    assert (stored.row_count, stored.accepted_count, stored.amount_total_fen) == (5, 5, total_fen(rows))
    assert session.scalars(select(CaseRow.batch_id).distinct()).all() == [result.id]


def test_CASE_02_statistics_by_bucket(session: Session, keyring: Keyring, made: World) -> None:
    rows = [row(1, days_past_due="95"), row(2, days_past_due="91", amount="1.00"), row(3, days_past_due="30", amount="2.00")]
    result = place(session, keyring, made, rows)
    lines = {line.bucket: (line.case_count, line.amount_fen) for line in statistics_of(session, made.lin.actor, result.id)}
    assert lines == {"M3+": (2, 1_234_667), "M1": (1, 200)}


def test_CONT_02_bank_file_confirms_as_of_its_date_and_not_what_it_leaves_empty(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1), row(2, occupation="")])
    ids = [case_by_reference(session, made.bank_a, reference).id for reference in ("R-0001", "R-0002")]
    whole, empty = (show_case(session, made.amina.actor, keyring, case_id, made.now) for case_id in ids)
    assert whole.unconfirmed == ()
    assert {(one.source, one.on) for one in whole.confirmed.values()} == {(Source.BANK_FILE, made.today)}
    assert empty.unconfirmed == (Field.OCCUPATION,)


def test_CASE_26_larger_and_older_cases_come_first(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1, amount="1000.00", days_past_due="20"), row(2, amount="90,000.00", days_past_due="400")])
    small, large = (case_by_reference(session, made.bank_a, reference) for reference in ("R-0001", "R-0002"))
    assert small.priority < large.priority
    assert small.score < large.score


def test_CASE_28_signal_in_the_file_raises_the_priority(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1), row(2, signals="asset_transfer")])
    calm, warned = (case_by_reference(session, made.bank_a, reference) for reference in ("R-0001", "R-0002"))
    assert warned.priority > calm.priority


def test_SEC_03_nothing_personal_is_stored_in_the_clear(session: Session, keyring: Keyring, made: World) -> None:
    one = row(1)
    place(session, keyring, made, [one, row(2, phone="?" * 9)][:1])
    secrets = [one[column] for column in ("name", "id_number", "card_number", "phone", "occupation", "street")]
    for table in (CaseRow, CaseAddressRow, CaseSearchRow, BatchRejectionRow, AuditEntryRow, CaseDecisionRow):
        for stored in session.execute(select(table.__table__)).all():
            texts = [value if isinstance(value, bytes) else str(value).encode() for value in stored]
            assert not any(secret.encode() in text for secret in secrets for text in texts), table


def test_SEC_01_lists_searches_and_cases_are_masked_and_each_page_read_is_recorded(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1), row(2, name="欧阳明")])
    before = count(session, AuditReadRow)
    listed = list_cases(session, made.amina.actor, keyring, made.now, limit=10, after=None)
    assert [one.name for one in listed] == ["测**", "欧**"]
    assert all(one.id_number.startswith("*" * 14) for one in listed)
    assert count(session, AuditReadRow) - before == 2
    for sought in (
        Sought(name="阳明"), Sought(name="欧阳明"), Sought(id_number=id_number(2)), Sought(phone="+10000000002"), Sought(bank_reference="R-0002"),
        Sought(card_number=row(2)["card_number"]),
    ):
        assert [one.bank_reference for one in search_cases(session, made.amina.actor, keyring, sought, made.now, limit=10, after=None)] == ["R-0002"]
    assert search_cases(session, made.amina.actor, keyring, Sought(name="欧明"), made.now, limit=10, after=None) == []


@pytest.mark.parametrize("sought", [Sought(), Sought(name="欧"), Sought(name="欧阳", phone="1")])
def test_search_for_nothing_or_for_two_things_is_refused(session: Session, keyring: Keyring, made: World, sought: Sought) -> None:
    with pytest.raises(InvalidInput):
        search_cases(session, made.amina.actor, keyring, sought, made.now, limit=10, after=None)


def test_SEC_01_other_bank_and_other_branch_see_nothing(session: Session, keyring: Keyring, made: World) -> None:
    result = place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    for stranger in (made.chen.actor, made.yara.actor):
        assert list_cases(session, stranger, keyring, made.now, limit=10, after=None) == []
        assert search_cases(session, stranger, keyring, Sought(id_number=id_number(1)), made.now, limit=10, after=None) == []
        assert list_batches(session, stranger, limit=10, after=None) == []
        for read in (
            lambda who: show_case(session, who, keyring, case.id, made.now), lambda who: rejections_of(session, who, result.id),
            lambda who: statistics_of(session, who, result.id),
        ):
            with pytest.raises(NotFound):
                read(stranger)


def test_SEC_01_phone_collector_sees_allocated_cases_only(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    with pytest.raises(NotFound):
        show_case(session, made.hana.actor, keyring, case_by_reference(session, made.bank_a, "R-0001").id, made.now)


def test_SEC_03_SEC_05_unmasking_needs_the_permission_and_states_its_purpose(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    with pytest.raises(Forbidden):
        unmask(session, made.gu.actor, keyring, case.id, fields=frozenset({"id_number"}), purpose=ReadPurpose.CALL, now=made.now)
    with pytest.raises(NotFound):
        unmask(session, made.yara.actor, keyring, case.id, fields=frozenset({"id_number"}), purpose=ReadPurpose.CALL, now=made.now)
    for fields in (frozenset[str](), frozenset({"status"})):
        with pytest.raises(InvalidInput):
            unmask(session, made.amina.actor, keyring, case.id, fields=fields, purpose=ReadPurpose.CALL, now=made.now)
    wanted = frozenset({"id_number", "name"})
    shown = unmask(session, made.amina.actor, keyring, case.id, fields=wanted, purpose=ReadPurpose.IDENTITY_CHECK, now=made.now)
    assert (shown.id_number, shown.name, shown.card_number) == (row(1)["id_number"], row(1)["name"], None)
    entry = session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "actor.unmasked")).one()
    assert entry.details == {"fields": ["id_number", "name"], "purpose": "identity_check"}


def test_shredding_the_key_of_a_case_erases_what_it_sealed(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    destruction = DestructionRow(
        id=new_id(), case_id=case.id, ground=next(iter(DestructionGround)), proposed_by=made.amina.id, proposed_at=made.now, decided_by=None,
        decided_at=None, is_approved=None, done_at=None, certificate=None, log_entry_id=None)
    session.add(destruction)
    session.flush()
    destruction.decided_by, destruction.decided_at, destruction.is_approved = made.petra.id, made.now, True
    session.flush()
    key = session.get_one(CaseKeyRow, case.id)
    key.wrapped, key.destroyed_at = None, made.now
    session.flush()
    with pytest.raises(CaseKeyDestroyed):
        show_case(session, made.amina.actor, keyring, case.id, made.now)


def test_new_case_is_filed_with_its_author(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    decision = session.scalars(select(CaseDecisionRow).where(CaseDecisionRow.case_id == case.id)).one()
    assert (case.status, decision.by, decision.at) == (CaseStatus.FILED, made.gu.id, made.now)


def test_import_of_committed_files_is_once_even_when_sessions_differ(sessions: sessionmaker[Session], now: datetime) -> None:
    keyring = shared_keyring()
    with sessions.begin() as session:
        made = world(session, keyring, now)
        command = placement(made, profile(session, made.bank_a), [row(1)])
    results = []
    for _ in range(2):
        with sessions.begin() as session:
            results.append(import_placement(session, made.lin.actor, keyring, command, now))
    assert [one.is_first for one in results] == [True, False]
    assert results[0].id == results[1].id


def _with_branch(rows: list[dict[str, str]], codes: list[str]) -> bytes:
    lines = csv_text(rows).splitlines()
    return "\r\n".join(line + "," + extra for line, extra in zip(lines, ["分行", *codes], strict=True)).encode()


def test_LEGAL_11_amount_changes_by_a_later_statement_of_the_bank_only(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    raised = update(CaseRow).where(CaseRow.id == case.id).values(amount_fen=CaseRow.amount_fen + 1)
    with pytest.raises(DBAPIError, match="later statement of the bank"), session.begin_nested():
        session.execute(raised)
    session.refresh(case)
    case.amount_fen, case.amount_as_of_on = case.amount_fen + 1, made.today + timedelta(days=1)
    session.flush()


def test_page_of_cases_asks_the_database_as_often_for_nine_as_for_three(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(serial) for serial in range(1, 10)])
    session.flush()
    counts = []
    for limit in (3, 9):
        with counted_statements(session) as statements:
            list_cases(session, made.amina.actor, keyring, made.now, limit=limit, after=None)
        counts.append(sum(not statement.startswith("INSERT") for statement in statements))
    assert counts[0] == counts[1]
