"""Which reported visits are looked at (F05): all that hold something to look at, and of the rest a share by lot that nobody can steer.

What is not drawn ends as `not_sampled`, never as reviewed. Every draw is stored with what decided it, and logged.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.audit.tables import BreachRow, LogCheckpointRow, LogEntryRow
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.tables import CaseRow
from backend.core.ids import BankId, VisitId
from backend.exhibits.model import Standing
from backend.exhibits.tables import ItemReviewRow, ItemRow, ManifestRow
from backend.policies.queries import policy_in_force
from backend.visits.actions import locked_visit
from backend.visits.catalogue import Outcome
from backend.visits.model import Draw, VisitEvent, VisitStatus, advance
from backend.visits.rules import DrawFacts, ticket_of
from backend.visits.tables import EntryRow, ExceptionRow, IncidentRow, ReviewRow, SamplingRow, VisitRow
from evidence.canonical import canonicalise
from evidence.facts import Kind

UNFINISHED_MAX = 500
CASH_KINDS = (Kind.CASH_RECEIPT, Kind.VOID)
THIRD_PARTIES = (
    Outcome.THIRD_PARTY_MET, Outcome.ONLY_MINOR, Outcome.ONLY_FRAIL_PERSON, Outcome.VULNERABLE_FOUND, Outcome.SELF_HARM_THREAT, Outcome.CONFLICT_LEFT,
    Outcome.POLICE_ATTENDED, Outcome.RECORDING_OBJECTED, Outcome.DENIES_APPLICATION, Outcome.DENIES_SPENDING, Outcome.DISPUTES_AMOUNT,
)


class SamplingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a visit came to be looked at or not. With `logRoot` and the visit's id anybody computes `ticket` anew."""

    visit_id: VisitId
    result: Draw
    reasons: tuple[str, ...]
    share_pct: int
    policy_version: str
    log_size: int | None
    log_root: str | None
    ticket: int | None
    at: datetime


def due(session: Session) -> tuple[UUID, ...]:
    """Return reported, closed visits for which nothing was drawn, oldest first, and those passed over that must be looked at after all."""
    undrawn = select(VisitRow.id).where(
        VisitRow.status == VisitStatus.REPORTED, VisitRow.closing_manifest_id.is_not(None), ~exists().where(SamplingRow.visit_id == VisitRow.id))
    called = select(VisitRow.id).join(CaseRow, CaseRow.id == VisitRow.case_id).where(
        VisitRow.status == VisitStatus.NOT_SAMPLED,
        or_(CaseRow.complaint_at.is_not(None), exists().where(IncidentRow.visit_id == VisitRow.id),
            exists().where(ManifestRow.visit_id == VisitRow.id, ManifestRow.standing != Standing.ACCEPTED)))
    return tuple(one for query in (undrawn, called) for one in session.scalars(query.order_by(VisitRow.id).limit(UNFINISHED_MAX)))


def draw(session: Session, visit_id: UUID, now: datetime) -> Draw | None:
    """Decide whether a reported visit is looked at, and pass it over if not; None while its closing is not in the log yet.

    Idempotent: a visit is drawn once. One that was passed over and holds a reason since is called up again.
    """
    visit = session.scalars(select(VisitRow).where(VisitRow.id == visit_id).with_for_update().execution_options(populate_existing=True)).one()
    reasons = _reasons(session, visit)
    drawn = session.get(SamplingRow, visit.id)
    if drawn is not None:
        if visit.status is VisitStatus.NOT_SAMPLED and reasons:
            visit.status = advance(visit.status, VisitEvent.CALL_UP)
            record(session, None, EventTag.VISIT_DRAWN, f"visit:{visit.id}", now, called_up=sorted(reasons))
        return drawn.result
    seed = _seed(session, visit)
    if visit.status is not VisitStatus.REPORTED or visit.closing_manifest_id is None or seed is None:
        return None
    policy = policy_in_force(session, BankId(visit.bank_id), now)
    facts = DrawFacts(visit_id=visit.id, reasons=tuple(reasons), log_root=seed[1], share_pct=policy.review_share_pct)
    result = facts.judged()
    by_lot = result is not Draw.REQUIRED
    stated: dict[str, Any] = {
        "visit": str(visit.id), "result": result.value, "reasons": sorted(reasons), "share_pct": policy.review_share_pct,
        "log_size": seed[0] if by_lot else None, "log_root": seed[1] if by_lot else None}
    session.add(SamplingRow(
        visit_id=visit.id, result=result, reasons=sorted(reasons), share_pct=policy.review_share_pct, policy_version=policy.version,
        log_size=seed[0] if by_lot else None, log_root=seed[1] if by_lot else None, ticket=ticket_of(seed[1], visit.id) if by_lot else None, at=now,
        log_entry_id=log.append(session, "review", canonicalise(stated), now)))
    if result is Draw.NOT_DRAWN:
        visit.status = advance(visit.status, VisitEvent.PASS_OVER)
    session.flush()
    record(session, None, EventTag.VISIT_DRAWN, f"visit:{visit.id}", now, policy_version=policy.version, result=result.value, reasons=sorted(reasons))
    return result


def call_up(session: Session, actor: Actor, visit_id: VisitId, now: datetime) -> VisitStatus:
    """Have a visit looked at that was passed over: by a supervisor, or by the bank's liaison for the bank's own sample (F20).

    Raises:
        Forbidden, NotFound: not the actor's.
        IllegalTransition: it was not passed over.
    """
    authorise(actor, Permission.VISIT_REVIEW)
    visit = locked_visit(session, actor, visit_id)
    visit.status = advance(visit.status, VisitEvent.CALL_UP)
    session.flush()
    record(session, actor, EventTag.VISIT_DRAWN, f"visit:{visit.id}", now, called_up=["by-hand"])
    return visit.status


def samplings_of(session: Session, visit_ids: list[UUID]) -> dict[UUID, SamplingView]:
    """Return how these visits were drawn. The caller has shown that it may see them."""
    return {
        row.visit_id: SamplingView(
            visit_id=VisitId(row.visit_id), result=row.result, reasons=tuple(row.reasons), share_pct=row.share_pct, policy_version=row.policy_version,
            log_size=row.log_size, log_root=row.log_root, ticket=row.ticket, at=row.at)
        for row in session.scalars(select(SamplingRow).where(SamplingRow.visit_id.in_(visit_ids)))}


def _reasons(session: Session, visit: VisitRow) -> set[str]:
    """Return why a visit must be looked at whatever the lot says."""
    def any_of(query: Any) -> bool:
        return session.scalars(query.limit(1)).first() is not None

    of_visit = ManifestRow.visit_id == visit.id
    of_kinds = select(ManifestRow.id).where(of_visit)
    found = {
        "cash": visit.outcome is Outcome.CASH_TAKEN or any_of(of_kinds.where(ManifestRow.kind.in_(CASH_KINDS))),
        "declaration": visit.outcome is Outcome.DECLARATION_TAKEN or any_of(of_kinds.where(ManifestRow.kind == Kind.DECLARATION)),
        "entry": bool(visit.is_entered) or any_of(select(EntryRow.id).where(EntryRow.visit_id == visit.id)),
        "incident": any_of(select(IncidentRow.id).where(IncidentRow.visit_id == visit.id)),
        "complaint": any_of(select(CaseRow.id).where(CaseRow.id == visit.case_id, CaseRow.complaint_at.is_not(None))),
        "delicate-outcome": visit.outcome in THIRD_PARTIES,
        "evidence-in-doubt": any_of(select(ManifestRow.id).where(of_visit, ManifestRow.standing != Standing.ACCEPTED)),
        "exception": any_of(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id)),
        "breach": any_of(select(BreachRow.id).where(BreachRow.subject == f"visit:{visit.id}")),
        "returned-before": any_of(select(ReviewRow.id).where(ReviewRow.visit_id == visit.id)) or any_of(
            select(ItemReviewRow.id).where(ItemReviewRow.item_key.in_(_item_keys(visit.id)))),
    }
    return {reason for reason, holds in found.items() if holds}


def _item_keys(visit_id: UUID) -> Any:
    return select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ManifestRow.visit_id == visit_id)


def _seed(session: Session, visit: VisitRow) -> tuple[int, str] | None:
    """Return size and root of the log's first checkpoint that covers the closing; nobody can choose it, everybody can look it up."""
    of_close = select(LogEntryRow.tree_index).join(ManifestRow, ManifestRow.log_entry_id == LogEntryRow.id)
    index = session.scalar(of_close.where(ManifestRow.id == visit.closing_manifest_id))
    if index is None:
        return None
    covering = select(LogCheckpointRow.size, LogCheckpointRow.root).where(LogCheckpointRow.size > index)
    first = session.execute(covering.order_by(LogCheckpointRow.size).limit(1)).one_or_none()
    return None if first is None else (first.size, first.root.hex())


