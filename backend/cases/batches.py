"""Taking in a bank's placement file, and reading what became of it."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankRow, ImportProfileRow
from backend.cases.identity import character_pairs
from backend.cases.layout import (
    Acceptance,
    BatchOutcome,
    BatchResult,
    Column,
    Encoding,
    ImportPlacement,
    Layout,
)
from backend.cases.model import AGENCY_ZONE, CaseEvent, CaseStatus, Source, advance, bucket_of, level_of, risk_of, score_of, today_of
from backend.cases.placement import Placed, Placement, Rejection, demand_totals, read_placement
from backend.cases.tables import BatchRejectionRow, CaseAddressRow, CaseDecisionRow, CaseRow, CaseSearchRow, PlacementBatchRow, SignalTaskRow
from backend.core.fen import Fen
from backend.core.i18n import N_
from backend.core.ids import BatchId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound, Problem, TooLarge
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, create_case_key
from backend.staff.tables import BranchRow

FILE_BYTES_MAX: Final = 100_000_000
_LOCATED_PCT, _UNLOCATED_PCT = 80, 0
_CHUNK = 500


class PlacementRefused(Problem):
    """Some rows are bad and the file was to be taken whole or not at all; the rejections are kept under `batch_id`."""

    status, code, title = 422, "placement-refused", N_("Rows of the file were rejected, and it was to be taken whole or not at all.")
    explanation = N_("Fetch the rejection file, let the bank correct the rows, or import again accepting the good rows only.")


class StatisticsLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Cases of one batch in one bucket: how many and how much (CASE-02)."""

    bucket: str
    case_count: int
    amount_fen: Fen


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `PlacementBatchRow` that holds for what `actor` may see."""
    if actor.bank is not None:
        return PlacementBatchRow.bank_id == actor.bank
    return true() if actor.sees_every_branch else PlacementBatchRow.branch_id.in_(actor.branches)


def import_placement(session: Session, actor: Actor, keyring: Keyring, command: ImportPlacement, now: datetime) -> BatchResult:
    """Take in a placement file: control totals first, then row by row. The same file again changes nothing (CASE-01).

    A file refused as a whole because of bad rows stays known with its rejections; `demand_imported` turns it into a problem.

    Raises:
        TooLarge, EncodingMismatch, PlacementUnreadable, ControlTotalsMismatch: Nothing is stored.
        Conflict: The bank's batch number was used for another file, or this file placed cases of branches that are not the actor's.
        NotFound: Bank, profile or branch are not the actor's.
    """
    authorise(actor, Permission.BATCH_IMPORT)
    if len(command.content) > FILE_BYTES_MAX:
        raise TooLarge(limit_bytes=FILE_BYTES_MAX)
    layout, branches = _layout(session, actor, command), _branches(session, actor, command.branch_id)
    digest = hashlib.sha256(command.content).hexdigest()
    earlier = _earlier(session, actor, command, digest)
    if earlier is not None:
        return result_of(earlier, is_first=False)
    if command.as_of_on > today_of(now):
        raise InvalidInput(pointer="/asOfOn", expected="today or a day before", got=command.as_of_on.isoformat())
    placement = read_placement(command.content, layout, command.rows)
    demand_totals(placement, row_count=command.row_count, amount_total=command.amount_total_fen)
    good, rejections = _judge(session, command, placement, branches)
    is_refused = not good or (bool(rejections) and command.acceptance is Acceptance.ALL_OR_NOTHING)
    taken = [] if is_refused else good
    batch = _batch(actor, command, placement, taken, digest=digest, now=now)
    session.add(batch)
    session.flush()
    session.add_all(_rejection_row(batch.id, place, one) for place, one in enumerate(rejections, start=1))
    for placed in taken:
        branch = branches[placed.branch_code] if placed.branch_code else branches[None]
        _open_case(session, actor, keyring, _Origin(batch, branch, now), placed)
    record(
        session, actor, EventTag.BATCH_IMPORTED, f"batch:{batch.id}", now, bank=batch.bank_id, outcome=batch.outcome.value, file=digest,
        rows=batch.row_count, accepted=batch.accepted_count, rejected=batch.rejected_count, amount_fen=batch.amount_total_fen,
    )
    return result_of(batch, is_first=True)


def demand_imported(result: BatchResult) -> BatchResult:
    """Return the result, or refuse after the commit that kept the rejections.

    Raises:
        PlacementRefused: The file's good rows did not become cases.
    """
    if result.outcome is BatchOutcome.REFUSED:
        raise PlacementRefused(batch_id=str(result.id), row_count=result.row_count, rejected_count=result.rejected_count)
    return result


def result_of(batch: PlacementBatchRow, *, is_first: bool) -> BatchResult:
    """Return what became of a batch."""
    return BatchResult(
        id=BatchId(batch.id), outcome=batch.outcome, number=batch.number, file_sha256=batch.file_sha256, encoding=batch.encoding,
        row_count=batch.row_count, accepted_count=batch.accepted_count, rejected_count=batch.rejected_count,
        amount_total_fen=Fen(batch.amount_total_fen), accepted_fen=Fen(batch.accepted_fen), as_of_on=batch.as_of_on,
        received_at=batch.received_at, received_by=StaffId(batch.received_by), is_first=is_first,
    )


def list_batches(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[BatchResult]:
    """Return at most `limit` + 1 batches after a cursor, oldest first."""
    authorise(actor, Permission.BATCH_READ)
    query = select(PlacementBatchRow).where(visible_to(actor))
    if after is not None:
        query = query.where(PlacementBatchRow.id > after)
    return [result_of(row, is_first=False) for row in session.scalars(query.order_by(PlacementBatchRow.id).limit(limit + 1))]


def rejections_of(session: Session, actor: Actor, batch_id: UUID) -> tuple[Rejection, ...]:
    """Return every reason against rows of a batch, in the file's order; personal values are masked in it. Raises `NotFound`."""
    batch = _visible_batch(session, actor, batch_id)
    rows = session.scalars(select(BatchRejectionRow).where(BatchRejectionRow.batch_id == batch.id).order_by(BatchRejectionRow.position))
    return tuple(
        Rejection(row_number=row.row_number, column=row.column_name, code=row.code, expected=row.expected, got=row.got) for row in rows
    )


def statistics_of(session: Session, actor: Actor, batch_id: UUID) -> tuple[StatisticsLine, ...]:
    """Return cases and amounts of a batch by delinquency bucket (CASE-02). Raises `NotFound`."""
    batch = _visible_batch(session, actor, batch_id)
    rows = session.execute(
        select(CaseRow.bucket, func.count(), func.sum(CaseRow.amount_fen)).where(CaseRow.batch_id == batch.id)
        .group_by(CaseRow.bucket).order_by(CaseRow.bucket)
    )
    return tuple(StatisticsLine(bucket=bucket.value, case_count=count, amount_fen=Fen(int(total))) for bucket, count, total in rows)


def _visible_batch(session: Session, actor: Actor, batch_id: UUID) -> PlacementBatchRow:
    authorise(actor, Permission.BATCH_READ)
    batch = session.scalar(select(PlacementBatchRow).where(PlacementBatchRow.id == batch_id, visible_to(actor)))
    if batch is None:
        raise NotFound
    return batch


def _layout(session: Session, actor: Actor, command: ImportPlacement) -> Layout:
    # The bank's row is the lock: of two imports of one file the second waits and finds the first.
    bank = session.scalar(select(BankRow).where(BankRow.id == command.bank_id).with_for_update())
    if bank is None or (actor.bank is not None and actor.bank != bank.id):
        raise NotFound
    profile = session.scalar(select(ImportProfileRow).where(ImportProfileRow.id == command.profile_id, ImportProfileRow.bank_id == bank.id))
    if profile is None:
        raise NotFound
    try:
        return Layout(
            columns={Column(name): heading for name, heading in profile.columns.items()}, encoding=Encoding(profile.encoding),
            date_style=profile.date_style, amount_style=profile.amount_style, separator=profile.separator,
        )
    except ValueError as error:
        raise InvalidInput(pointer="/profileId", expected="a complete profile", got=str(error)) from error


def _earlier(session: Session, actor: Actor, command: ImportPlacement, digest: str) -> PlacementBatchRow | None:
    rows = session.scalars(
        select(PlacementBatchRow).where(PlacementBatchRow.bank_id == command.bank_id, PlacementBatchRow.file_sha256 == digest)
    ).all()
    own = [row for row in rows if actor.bank is not None or actor.sees_every_branch or row.branch_id in actor.branches]
    found = [row for row in own if row.outcome is BatchOutcome.IMPORTED] + [row for row in own if row.acceptance is command.acceptance]
    if found:
        return found[0]
    if any(row.outcome is BatchOutcome.IMPORTED for row in rows):
        raise Conflict(reason="this file was taken in by another branch")  # Its id and counts are that branch's to know.
    is_number_used = session.scalar(select(PlacementBatchRow.id).where(
        PlacementBatchRow.bank_id == command.bank_id, PlacementBatchRow.number == command.number, PlacementBatchRow.outcome == BatchOutcome.IMPORTED
    ))
    if is_number_used is not None:
        raise Conflict(reason="batch-number-used", number=command.number)
    return None


def _branches(session: Session, actor: Actor, branch_id: UUID) -> dict[str | None, BranchRow]:
    """Return the branches that rows may name, by code; None stands for the batch's own."""
    rows = session.scalars(select(BranchRow)).all()
    if actor.bank is None and not actor.sees_every_branch:
        rows = [row for row in rows if row.id in actor.branches]
    own = next((row for row in rows if row.id == branch_id), None)
    if own is None:
        raise NotFound
    return {None: own, **{row.code: row for row in rows}}


def _judge(
    session: Session, command: ImportPlacement, placement: Placement, branches: Mapping[str | None, BranchRow]
) -> tuple[list[Placed], list[Rejection]]:
    """Reject what only the database can tell: a reference placed before, an unknown branch, a term already over."""
    placed_before = _placed_before(session, command.bank_id, [row.bank_reference for row in placement.rows])
    good, rejections = [], list(placement.rejections)
    for row in placement.rows:
        reasons = [
            Rejection(row_number=row.row_number, column=column.value, code=code, expected=expected, got=got)
            for column, code, expected, got, holds in (
                (Column.BANK_REFERENCE, "already-placed", "a reference not placed before", row.bank_reference, row.bank_reference in placed_before),
                (Column.BRANCH_CODE, "unknown-branch", "the code of a branch", (row.branch_code or "")[:40],
                 row.branch_code is not None and row.branch_code not in branches),
                (Column.TERM_ENDS_ON, "term-over", f"{command.as_of_on} or later", row.term_ends_on.isoformat(), row.term_ends_on < command.as_of_on),
            ) if holds
        ]
        rejections.extend(reasons)
        if not reasons:
            good.append(row)
    return good, sorted(rejections, key=lambda one: one.row_number)


def _placed_before(session: Session, bank_id: UUID, references: Sequence[str]) -> Collection[str]:
    found: set[str] = set()
    for start in range(0, len(references), _CHUNK):
        chunk = references[start : start + _CHUNK]
        found.update(session.scalars(select(CaseRow.bank_reference).where(CaseRow.bank_id == bank_id, CaseRow.bank_reference.in_(chunk))))
    return found


def _batch(actor: Actor, command: ImportPlacement, placement: Placement, taken: list[Placed], *, digest: str, now: datetime) -> PlacementBatchRow:
    return PlacementBatchRow(
        id=new_id(), bank_id=command.bank_id, branch_id=command.branch_id, profile_id=command.profile_id, number=command.number, file_sha256=digest,
        encoding=placement.encoding, acceptance=command.acceptance, outcome=BatchOutcome.IMPORTED if taken else BatchOutcome.REFUSED,
        as_of_on=command.as_of_on, received_by=actor.id, received_at=now, row_count=placement.row_count, accepted_count=len(taken),
        rejected_count=placement.row_count - len(taken), amount_total_fen=placement.amount_total, accepted_fen=sum(row.amount for row in taken),
    )


def _rejection_row(batch_id: UUID, position: int, one: Rejection) -> BatchRejectionRow:
    return BatchRejectionRow(
        batch_id=batch_id, position=position, row_number=one.row_number, column_name=one.column, code=one.code, expected=one.expected, got=one.got
    )


class _Origin(msgspec.Struct, frozen=True):
    batch: PlacementBatchRow
    branch: BranchRow
    now: datetime


def _open_case(session: Session, actor: Actor, keyring: Keyring, origin: _Origin, placed: Placed) -> None:
    batch, now = origin.batch, origin.now
    case_id = new_id()
    box = create_case_key(session, keyring, case_id, now)
    session.add(_case_row(keyring, origin, placed, box, case_id))
    session.flush()  # Nothing relates the rows but their ids, so the parent goes first.
    address = placed.address
    session.add(CaseAddressRow(
        id=new_id(), case_id=case_id, kind=address.kind, street=box.seal("case_addresses.street", address.street),
        division_code=address.division_code, timezone=origin.branch.timezone or AGENCY_ZONE.key, point=address.point, datum_given=address.datum_given,
        confidence_pct=_UNLOCATED_PCT if address.point is None else _LOCATED_PCT, source=Source.BANK_FILE, is_current=True,
        safety_note=None if address.safety_note is None else box.seal("case_addresses.safety_note", address.safety_note),
        recorded_by=actor.id, recorded_at=now,
    ))
    session.add(CaseDecisionRow(
        id=new_id(), case_id=case_id, at=now, by=actor.id, event=CaseEvent.FILE.value, from_status=CaseStatus.RECEIVED,
        to_status=advance(CaseStatus.RECEIVED, CaseEvent.FILE), reason=box.seal("case_decisions.reason", f"batch {batch.number}"),
    ))
    session.add_all(CaseSearchRow(case_id=case_id, field=field, hmac=digest) for field, digest in _digests(keyring, placed))
    session.add_all(SignalTaskRow(id=new_id(), case_id=case_id, signal=signal, opened_at=now) for signal in sorted(placed.signals))


def _case_row(keyring: Keyring, origin: _Origin, placed: Placed, box: Sealer, case_id: UUID) -> CaseRow:
    batch, days = origin.batch, placed.days_past_due
    score = score_of(placed.amount, days, signals=placed.signals)
    as_of_on: date = batch.as_of_on
    return CaseRow(
        id=case_id, bank_id=batch.bank_id, branch_id=origin.branch.id, batch_id=batch.id, row_number=placed.row_number,
        bank_reference=placed.bank_reference, status=advance(CaseStatus.RECEIVED, CaseEvent.FILE), amount_fen=placed.amount, amount_as_of_on=as_of_on,
        principal_fen=placed.principal, days_past_due=days, bucket=bucket_of(days), risk=risk_of(days), score=score, priority=level_of(score),
        is_urgent=False, grade=placed.grade, debtor_type=placed.debtor_type, gender_rule=placed.gender_rule, language=placed.language,
        debtor_hmac=keyring.search_hmac("id_number", placed.id_number), id_last4_hmac=keyring.search_hmac("id_last4", placed.id_number[-4:]),
        name=box.seal("cases.name", placed.name), id_number=box.seal("cases.id_number", placed.id_number),
        birth_on=box.seal("cases.birth_on", placed.birth_on.isoformat()), card_number=box.seal("cases.card_number", placed.card_number),
        phone=None if placed.phone is None else box.seal("cases.phone", placed.phone),
        occupation=None if placed.occupation is None else box.seal("cases.occupation", placed.occupation),
        confirmed_card_source=Source.BANK_FILE, confirmed_card_on=as_of_on, confirmed_amount_source=Source.BANK_FILE, confirmed_amount_on=as_of_on,
        confirmed_age_source=Source.BANK_FILE, confirmed_age_on=as_of_on, confirmed_identity_source=Source.BANK_FILE, confirmed_identity_on=as_of_on,
        confirmed_occupation_source=None if placed.occupation is None else Source.BANK_FILE,
        confirmed_occupation_on=None if placed.occupation is None else as_of_on, term_ends_on=placed.term_ends_on,
    )


def _digests(keyring: Keyring, placed: Placed) -> Iterable[tuple[str, bytes]]:
    yield "id_number", keyring.search_hmac("id_number", placed.id_number)
    yield "card_number", keyring.search_hmac("card_number", placed.card_number)
    if placed.phone is not None:
        yield "phone", keyring.search_hmac("phone", placed.phone.removeprefix("+"))
    yield "name", keyring.search_hmac("name", placed.name)
    for pair in character_pairs(placed.name):
        yield "name_pair", keyring.search_hmac("name_pair", pair)
