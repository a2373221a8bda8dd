"""The end of a case's evidence: proposed by one, decided by another, then its key is shredded and its files are deleted.

Digests, signatures, receipts and log proofs stay, so whoever holds an old pack can still verify it, and a new one names what is gone.
"""


from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.archive.holds import open_holds
from backend.archive.model import DestructionGround, KeptItem
from backend.archive.rules import DestructionFacts, judge_destruction
from backend.archive.tables import DestructionRow
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import CaseStatus
from backend.cases.queries import case_of
from backend.cases.queries import visible_to as case_visible_to
from backend.cases.tables import CaseRow
from backend.core.ids import BankId, CaseId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.rulebook import demand
from backend.exhibits import exports
from backend.exhibits.model import RECORDING_ROLES, ItemState
from backend.exhibits.tables import ItemRow, RecordingRow
from backend.keys.tables import CaseKeyRow
from backend.policies.queries import policy_in_force
from evidence.canonical import canonicalise

TERM_MAX = timedelta(days=36_525)
OVER = frozenset({CaseStatus.CLOSED, CaseStatus.ARCHIVED, CaseStatus.RECALLED})


class DestructionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One destruction with its decision, and when it is done, its certificate: the digests of what is gone."""

    id: UUID
    case_id: CaseId
    ground: DestructionGround
    proposed_by: StaffId
    proposed_at: datetime
    decided_by: StaffId | None
    decided_at: datetime | None
    is_approved: bool | None
    done_at: datetime | None
    certificate: Any | None


def set_term(session: Session, actor: Actor, case_id: UUID, until: datetime, now: datetime) -> int:
    """Give the files of a case that have no end a term, and lengthen shorter ones; returns how many changed (EVD-03, EVD-09).

    Raises:
        InvalidInput: the term lies in the past, or beyond a hundred years. Nothing is ever shortened; the database refuses it too.
    """
    authorise(actor, Permission.EVIDENCE_DESTROY)
    case = case_of(session, actor, case_id)
    if not now < until <= now + TERM_MAX:
        raise InvalidInput(pointer="/until", expected="a time within the next hundred years", got=f"{until:%Y-%m-%dT%H:%M%z}")
    shorter = (ItemRow.retained_until_at.is_(None) & ItemRow.role.not_in(sorted(RECORDING_ROLES))) | (ItemRow.retained_until_at < until)
    rows = session.scalars(select(ItemRow).where(ItemRow.seal_subject == case.id, shorter).with_for_update()).all()
    for row in rows:
        row.retained_until_at = until
    session.flush()
    record(session, actor, EventTag.TERM_SET, f"case:{case.id}", now, until=until, files=len(rows))
    return len(rows)


def propose(session: Session, actor: Actor, case_id: UUID, ground: DestructionGround, now: datetime) -> UUID:
    """Propose to destroy a case's evidence.

    Raises:
        Forbidden, NotFound: not the actor's.
        RulesBreached: a term is not over, a hold is in force, the case is open (EVD-02, EVD-03, EVD-09).
        Conflict: it is proposed, approved or done already.
    """
    authorise(actor, Permission.EVIDENCE_DESTROY)
    case = _locked(session, actor, case_id)
    standing = DestructionRow.is_approved.is_(None) | DestructionRow.is_approved.is_(True)
    if session.scalars(select(DestructionRow.id).where(DestructionRow.case_id == case.id, standing)).first() is not None:
        raise Conflict(reason="already-proposed")
    demand(judge_destruction(_facts(session, case, now)))
    destruction_id = new_id()
    session.add(DestructionRow(
        id=destruction_id, case_id=case.id, ground=ground, proposed_by=actor.id, proposed_at=now, decided_by=None, decided_at=None, is_approved=None,
        done_at=None, certificate=None, log_entry_id=None))
    session.flush()
    record(session, actor, EventTag.DESTRUCTION_PROPOSED, f"case:{case.id}", now, destruction=destruction_id, ground=ground.value)
    return destruction_id


def decide(session: Session, actor: Actor, destruction_id: UUID, now: datetime, *, is_approved: bool) -> DestructionView:
    """Approve or refuse a proposed destruction; everything is judged again. A task then carries an approved one out.

    Raises:
        Forbidden, NotFound: not the actor's.
        Conflict: it is decided.
        RulesBreached: as `propose`; or the proposer would decide.
    """
    authorise(actor, Permission.EVIDENCE_DESTROY)
    row = session.scalars(select(DestructionRow).where(DestructionRow.id == destruction_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound
    case = _locked(session, actor, row.case_id)
    if row.decided_by is not None:
        raise Conflict(reason="already-decided")
    if is_approved:
        facts = msgspec.structs.replace(_facts(session, case, now), proposed_by=StaffId(row.proposed_by), decided_by=StaffId(actor.id))
        demand(judge_destruction(facts))
    elif actor.id == row.proposed_by:
        raise Conflict(reason="own-proposal")
    row.decided_by, row.decided_at, row.is_approved = actor.id, now, is_approved
    session.flush()
    record(session, actor, EventTag.DESTRUCTION_DECIDED, f"case:{case.id}", now, destruction=row.id, approved=is_approved)
    return _view(row)


def unfinished(session: Session) -> tuple[UUID, ...]:
    """Return approved destructions that are not done."""
    query = select(DestructionRow.id).where(DestructionRow.is_approved.is_(True), DestructionRow.done_at.is_(None))
    return tuple(session.scalars(query.order_by(DestructionRow.id)))


def carry_out(session: Session, destruction_id: UUID, now: datetime) -> tuple[UUID, ...]:
    """Shred the key of an approved destruction, certify and log what is gone; returns the packs that went with it.

    Once done, nothing changes. Held again since the decision: refused.

    Raises:
        RulesBreached: a hold was set, or a term lengthened, after the decision.
    """
    row = session.scalars(select(DestructionRow).where(DestructionRow.id == destruction_id).with_for_update()).one()
    if row.done_at is not None or not row.is_approved:
        return ()
    case = session.scalars(select(CaseRow).where(CaseRow.id == row.case_id).with_for_update()).one()
    demand(judge_destruction(_facts(session, case, now)))
    items = _items(session, case.id)
    digests = sorted({item.sha256 for item in items if item.wrapped_key is not None})
    session.execute(update(ItemRow).where(ItemRow.seal_subject == case.id, ItemRow.wrapped_key.is_not(None)).values(wrapped_key=None))
    session.execute(update(RecordingRow).where(RecordingRow.case_id == case.id, RecordingRow.wrapped_key.is_not(None)).values(wrapped_key=None))
    session.execute(update(CaseKeyRow).where(CaseKeyRow.subject_id == case.id, CaseKeyRow.wrapped.is_not(None)).values(
        wrapped=None, destroyed_at=now))
    packs = exports.close_packs_of(session, case.id)
    certificate: dict[str, Any] = {
        "destruction": str(row.id), "case": str(case.id), "ground": row.ground.value, "proposed_by": str(row.proposed_by),
        "decided_by": str(row.decided_by), "at": log.utc_text(now), "items": digests}
    entry_id = log.append(session, "retention", canonicalise(dict(certificate)), now)
    row.certificate, row.done_at, row.log_entry_id = certificate, now, entry_id
    session.flush()
    record(session, None, EventTag.EVIDENCE_DESTROYED, f"case:{case.id}", now, destruction=row.id, items=len(digests))
    return packs


def blobs_of(session: Session, destruction_id: UUID) -> tuple[str, ...]:
    """Return the names of the files that a done destruction leaves without a key, for deleting them from the store."""
    case_id = session.scalars(select(DestructionRow.case_id).where(DestructionRow.id == destruction_id)).one()
    keyless = select(ItemRow.blob_key).where(ItemRow.seal_subject == case_id, ItemRow.wrapped_key.is_(None), ItemRow.blob_key.is_not(None))
    brought = select(RecordingRow.blob_key).where(RecordingRow.case_id == case_id, RecordingRow.wrapped_key.is_(None))
    return tuple(sorted({blob for query in (keyless, brought) for blob in session.scalars(query) if blob is not None}))


def page(session: Session, actor: Actor, *, after: UUID | None, limit: int) -> tuple[DestructionView, ...]:
    """Return destructions of cases that the actor may see, newest first."""
    authorise(actor, Permission.EVIDENCE_READ)
    mine = select(CaseRow.id).where(CaseRow.id == DestructionRow.case_id, case_visible_to(actor)).exists()
    query = select(DestructionRow).where(mine).order_by(DestructionRow.id.desc()).limit(limit)
    return tuple(_view(row) for row in session.scalars(query if after is None else query.where(DestructionRow.id < after)))


def _locked(session: Session, actor: Actor, case_id: UUID) -> CaseRow:
    return session.scalars(select(CaseRow).where(CaseRow.id == case_of(session, actor, case_id).id).with_for_update()).one()


def _facts(session: Session, case: CaseRow, now: datetime) -> DestructionFacts:
    days = policy_in_force(session, BankId(case.bank_id), now).recording_kept_days_min
    return DestructionFacts(
        now=now, is_case_over=case.status in OVER, open_holds=open_holds(session, case.id), items=tuple(
            KeptItem(sha256=item.sha256, role=item.role, ended_at=item.ended_at, until_at=item.retained_until_at, floor_days=days)
            for item in _items(session, case.id)) + tuple(
            KeptItem(sha256=one.sha256, role=one.role, ended_at=one.imported_at, until_at=one.imported_at + timedelta(days=days), floor_days=days)
            for one in session.scalars(select(RecordingRow).where(RecordingRow.case_id == case.id, RecordingRow.wrapped_key.is_not(None)))))


def _items(session: Session, case_id: UUID) -> list[ItemRow]:
    return list(session.scalars(select(ItemRow).where(ItemRow.seal_subject == case_id, ItemRow.state == ItemState.STORED).order_by(ItemRow.id)))


def _view(row: DestructionRow) -> DestructionView:
    return DestructionView(
        id=row.id, case_id=CaseId(row.case_id), ground=row.ground, proposed_by=StaffId(row.proposed_by), proposed_at=row.proposed_at,
        decided_by=None if row.decided_by is None else StaffId(row.decided_by), decided_at=row.decided_at, is_approved=row.is_approved,
        done_at=row.done_at, certificate=row.certificate)
