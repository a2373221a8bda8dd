"""What a bank does after it has ruled fraud: it tells each act once, under its ruling; whoever works on the case reads them (DECL-05, DECL-09)."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session, aliased

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.audit.tables import LogEntryRow
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.actions import locked_case
from backend.core.ids import BankId, CaseId, DisputeId, StaffId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.core.rulebook import demand
from backend.disputes.follow_up_model import ANSWERS, REPORTS, FollowUpAct, FollowUpFacts, FollowUpView, NewFollowUp, OpenRuling
from backend.disputes.follow_up_tables import FollowUpRow
from backend.disputes.model import RecordDeletion, Ruling
from backend.disputes.queries import deletions_of, visible_to
from backend.disputes.rules import judge_follow_up
from backend.disputes.tables import DisputeRow
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import CaseKeyDestroyed, sealer
from evidence.canonical import JsonValue, canonicalise
from evidence.manifest import Role
from evidence.pack import PackFollowUp

ENTRY_TYPE = "follow-up"
_REASON = "fraud_follow_ups.reason"


def follow(session: Session, actor: Actor, keyring: Keyring, command: NewFollowUp, now: datetime) -> FollowUpView:
    """Record an act of the bank under its own ruling; logged, so that a pack can show it. The same again changes nothing.

    Raises:
        Forbidden: not a person of a bank.
        NotFound: no such dispute of theirs.
        RulesBreached: DECL-05: not ruled to be fraud; DECL-09: out of time or order, or with another case's slip.
        Conflict: the reference stands for an act of another time.
    """
    authorise(actor, Permission.FRAUD_FOLLOW)
    if actor.bank is None:
        raise Forbidden(reason="only the bank tells what it did")
    case_id = session.scalar(select(DisputeRow.case_id).where(DisputeRow.id == command.dispute_id, visible_to(actor, DisputeRow)))
    if case_id is None:
        raise NotFound
    locked_case(session, actor, case_id)                       # One act on a case at a time.
    dispute = session.get_one(DisputeRow, command.dispute_id, populate_existing=True)
    told = _told(session, case_id, command)
    if told is not None:
        return _view(session, keyring, told)
    last = _last_step(session, case_id)
    slip = None if command.item_id is None else _slip(session, case_id, command.item_id)
    demand(judge_follow_up(FollowUpFacts(
        act=command.act, ruling=dispute.ruling, ruled_at=dispute.ruled_at, occurred_at=command.occurred_at, now=now,
        deletion=standing_of(session, case_id), last_step_at=None if last is None else last.occurred_at,
        is_slip_of_case=command.item_id is None or slip is not None)))
    attempt = 0 if last is None else last.attempt
    row = FollowUpRow(
        id=new_id(), dispute_id=dispute.id, case_id=case_id, bank_id=dispute.bank_id, branch_id=dispute.branch_id, act=command.act,
        attempt=0 if command.act in REPORTS else attempt if command.act in ANSWERS else attempt + 1, occurred_at=command.occurred_at,
        reference=command.reference, item_key=command.item_id, recorded_by=actor.id, recorded_at=now,
        reason=None if command.reason is None else sealer(session, keyring, case_id).seal(_REASON, command.reason))
    row.log_entry_id = log.append(session, ENTRY_TYPE, _statement(row, command.reason, slip), now)
    session.add(row)
    session.flush()
    tag = EventTag.FRAUD_REPORTED if command.act in REPORTS else EventTag.DELETION_FOLLOWED
    record(session, actor, tag, f"case:{case_id}", now, follow_up=row.id, act=row.act.value)
    return _view(session, keyring, row)


def page(
    session: Session, actor: Actor, keyring: Keyring, *, after: UUID | None, limit: int, case_id: UUID | None = None,
) -> tuple[FollowUpView, ...]:
    """Return at most `limit` acts after a cursor, as they were recorded: a bank's own, or those on cases of the actor's branches."""
    authorise(actor, Permission.DISPUTE_READ, Permission.FRAUD_FOLLOW)
    query = select(FollowUpRow).where(visible_to(actor, FollowUpRow))
    if case_id is not None:
        query = query.where(FollowUpRow.case_id == case_id)
    if after is not None:
        query = query.where(FollowUpRow.id > after)
    return tuple(_view(session, keyring, row) for row in session.scalars(query.order_by(FollowUpRow.id).limit(limit)).all())


def open_rulings(session: Session, actor: Actor, *, after: UUID | None, limit: int, case_id: UUID | None = None) -> tuple[OpenRuling, ...]:
    """Return at most `limit` cases ruled to be fraud whose credit record waits for the bank or the bureau, the oldest denial first.

    A case that was ruled so twice is there once, by its first denial.
    """
    authorise(actor, Permission.DISPUTE_READ, Permission.FRAUD_FOLLOW)
    query = select(DisputeRow).where(visible_to(actor, DisputeRow), _is_first_ruling(), ~_is_answered())
    if case_id is not None:
        query = query.where(DisputeRow.case_id == case_id)
    if after is not None:
        query = query.where(DisputeRow.id > after)
    rows = session.scalars(query.order_by(DisputeRow.id).limit(limit)).all()
    cases = {row.case_id for row in rows}
    standing, reports = deletions_of(session, cases), _reports_of(session, cases)
    return tuple(
        OpenRuling(
            dispute_id=DisputeId(row.id), case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), ruled_at=row.ruled_at,
            record_deletion=standing.get(row.case_id, RecordDeletion.DUE), reports=reports.get(row.case_id, 0))
        for row in rows if row.ruled_at is not None)


def ruling_of(session: Session, actor: Actor, case_id: UUID) -> DisputeId | None:
    """Return the ruling of fraud under which a case is followed up; None where there is none of the actor's."""
    query = select(DisputeRow.id).where(visible_to(actor, DisputeRow), DisputeRow.case_id == case_id, _is_first_ruling())
    found = session.scalar(query)
    return None if found is None else DisputeId(found)


def standing_of(session: Session, case_id: UUID) -> RecordDeletion:
    """Return how the credit record of a case that was ruled to be fraud stands. The caller has shown that it may see the case."""
    return deletions_of(session, {case_id}).get(case_id, RecordDeletion.DUE)


def slips_of(session: Session, actor: Actor, case_id: UUID) -> tuple[UUID, ...]:
    """Return the police slips among a case's evidence that a report may name."""
    authorise(actor, Permission.FRAUD_FOLLOW)
    query = select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ManifestRow.case_id == case_id, ManifestRow.bank_id == actor.bank, ItemRow.role == Role.POLICE_SLIP)
    return tuple(session.scalars(query.order_by(ItemRow.id).limit(50)))


def for_pack(session: Session, keyring: Keyring, case_ids: Collection[CaseId]) -> tuple[PackFollowUp, ...]:
    """Return the logged acts on these cases with their proofs. What was only carried over from before has no statement of its own."""
    query = (
        select(FollowUpRow, ItemRow.sha256).join(LogEntryRow, LogEntryRow.id == FollowUpRow.log_entry_id)
        .join(ItemRow, ItemRow.id == FollowUpRow.item_key, isouter=True)
        .where(FollowUpRow.case_id.in_(sorted(case_ids)), LogEntryRow.entry_type == ENTRY_TYPE).order_by(FollowUpRow.id))
    found = []
    for row, slip in session.execute(query).all():
        proof, reason = log.proof_of(session, row.log_entry_id), _reason(session, keyring, row)
        if proof is not None and (row.reason is None) is (reason is None):
            found.append(PackFollowUp(statement=_statement(row, reason, slip), proof=proof))
    return tuple(found)


def _told(session: Session, case_id: UUID, command: NewFollowUp) -> FollowUpRow | None:
    """Return the stored act that says the same. Raises `Conflict` when a report's reference stands for another time or slip."""
    rows = session.scalars(select(FollowUpRow).where(
        FollowUpRow.case_id == case_id, FollowUpRow.act == command.act, FollowUpRow.reference == command.reference)).all()
    for row in rows:
        if (row.dispute_id, row.occurred_at, row.item_key) == (command.dispute_id, command.occurred_at, command.item_id):
            return row
    if rows and command.act in REPORTS:
        raise Conflict(reason="reference-used", act=command.act.value)
    return None


def _last_step(session: Session, case_id: UUID) -> FollowUpRow | None:
    """Return the newest act on a case's credit record. Its attempt is the newest; within one, the answer is."""
    rows = session.scalars(select(FollowUpRow).where(FollowUpRow.case_id == case_id, FollowUpRow.act.not_in(REPORTS)))
    return max(rows, key=lambda row: (row.attempt, row.act in ANSWERS), default=None)


def _slip(session: Session, case_id: UUID, item_id: UUID) -> str | None:
    """Return the digest of a police slip of this very case."""
    return session.scalar(select(ItemRow.sha256).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.id == item_id, ItemRow.role == Role.POLICE_SLIP, ManifestRow.case_id == case_id))


def _is_first_ruling() -> ColumnElement[bool]:
    other = aliased(DisputeRow)
    earlier = select(other.id).where(other.case_id == DisputeRow.case_id, other.ruling == Ruling.FRAUD, other.id < DisputeRow.id)
    return and_(DisputeRow.ruling == Ruling.FRAUD, ~earlier.exists())


def _is_answered() -> ColumnElement[bool]:
    """Whether the newest request of a case has its answer."""
    answer, request = aliased(FollowUpRow), aliased(FollowUpRow)
    newer = select(request.id).where(
        request.case_id == answer.case_id, request.act == FollowUpAct.DELETION_REQUESTED, request.attempt > answer.attempt)
    return select(answer.id).where(answer.case_id == DisputeRow.case_id, answer.act.in_(ANSWERS), ~newer.exists()).exists()


def _reports_of(session: Session, case_ids: Collection[UUID]) -> Mapping[UUID, int]:
    query = select(FollowUpRow.case_id, func.count()).where(FollowUpRow.case_id.in_(sorted(case_ids)), FollowUpRow.act.in_(REPORTS))
    return {case_id: number for case_id, number in session.execute(query.group_by(FollowUpRow.case_id))}  # noqa: C416 - rows are not pairs to the type checker.


def _statement(row: FollowUpRow, reason: str | None, slip: str | None) -> bytes:
    """Return what is logged of an act, and packed: canonical JSON."""
    stated: dict[str, JsonValue] = {
        "follow_up": str(row.id), "bank": str(row.bank_id), "case": str(row.case_id), "dispute": str(row.dispute_id), "act": row.act.value,
        "at": log.utc_text(row.occurred_at), "reference": row.reference, "recorded_by": str(row.recorded_by),
        "recorded_at": log.utc_text(row.recorded_at)}
    if reason is not None:
        stated["reason"] = reason
    if slip is not None:
        stated["item_sha256"] = slip
    return canonicalise(dict(stated))


def _reason(session: Session, keyring: Keyring, row: FollowUpRow) -> str | None:
    if row.reason is None:
        return None
    try:
        return sealer(session, keyring, row.case_id).open(_REASON, row.reason)
    except CaseKeyDestroyed:
        return None


def _view(session: Session, keyring: Keyring, row: FollowUpRow) -> FollowUpView:
    return FollowUpView(
        id=row.id, dispute_id=DisputeId(row.dispute_id), case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), act=row.act,
        occurred_at=row.occurred_at, reference=row.reference, reason=_reason(session, keyring, row), item_id=row.item_key,
        recorded_by=StaffId(row.recorded_by), recorded_at=row.recorded_at)
