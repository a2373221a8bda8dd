"""Incidents: what a supervisor must see (VIS-09, VIS-18), told by itself or raised by an outcome."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import false, select, true
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import StaffId, VisitId, new_id
from backend.core.problems import Conflict, NotFound
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.visits.model import IncidentKind
from backend.visits.queries import visible_to
from backend.visits.tables import IncidentRow, VisitRow


class IncidentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One incident as supervisors see it."""

    id: UUID
    visit_id: VisitId
    kind: IncidentKind
    at: datetime
    received_at: datetime
    reported_by: StaffId
    note: str
    settled_at: datetime | None
    settled_by: StaffId | None


def add_incident(
    session: Session, actor: Actor, keyring: Keyring, visit: VisitRow, kind: IncidentKind, note: str, *, at: datetime, now: datetime
) -> UUID:
    """Store an incident of a visit; its note is sealed under the case's key."""
    row = IncidentRow(
        id=new_id(), visit_id=visit.id, branch_id=visit.branch_id, kind=kind, at=at, received_at=now, reported_by=actor.id,
        note=sealer(session, keyring, visit.case_id).seal("incidents.note", note),
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.INCIDENT_REPORTED, f"visit:{visit.id}", now, incident=row.id, kind=kind.value)
    return row.id


def incident_page(
    session: Session, actor: Actor, keyring: Keyring, now: datetime, *, after: UUID | None, limit: int, is_open: bool
) -> tuple[IncidentView, ...]:
    """Return up to `limit` + 1 incidents of the actor's branches after an id, oldest first; the read is recorded."""
    authorise(actor, Permission.VISIT_REVIEW)
    if actor.bank is not None:
        return ()
    query = (
        select(IncidentRow, VisitRow.case_id).join(VisitRow, VisitRow.id == IncidentRow.visit_id)
        .where(visible_to(actor), IncidentRow.settled_at.is_(None) if is_open else true())
        .order_by(IncidentRow.id).limit(limit + 1)
    )
    if after is not None:
        query = query.where(IncidentRow.id > after)
    rows = session.execute(query).all()
    record_read(session, actor, [case_id for _, case_id in rows], now, "incidents")
    return tuple(_view(session, keyring, row, case_id) for row, case_id in rows)


def settle_incident(session: Session, actor: Actor, incident_id: UUID, now: datetime) -> None:
    """Note that a supervisor has dealt with an incident.

    Raises:
        NotFound: not an incident of the actor's branches.
        Conflict: it was settled before.
    """
    authorise(actor, Permission.VISIT_REVIEW)
    own = false() if actor.bank is not None else visible_to(actor)
    query = select(IncidentRow).join(VisitRow, VisitRow.id == IncidentRow.visit_id).where(IncidentRow.id == incident_id, own)
    row = session.scalar(query.with_for_update(of=IncidentRow))
    if row is None:
        raise NotFound
    if row.settled_at is not None:
        raise Conflict(reason="settled")
    row.settled_at, row.settled_by = now, actor.id
    session.flush()
    record(session, actor, EventTag.INCIDENT_SETTLED, f"visit:{row.visit_id}", now, incident=row.id)


def incidents_of(session: Session, actor: Actor, keyring: Keyring, visit_id: VisitId) -> tuple[IncidentView, ...]:
    """Return a visit's incidents to the agency's people, none to a bank's; the caller records the read."""
    if actor.bank is not None:
        return ()
    rows = session.execute(
        select(IncidentRow, VisitRow.case_id).join(VisitRow, VisitRow.id == IncidentRow.visit_id)
        .where(IncidentRow.visit_id == visit_id, visible_to(actor)).order_by(IncidentRow.at, IncidentRow.id)
    )
    return tuple(_view(session, keyring, row, case_id) for row, case_id in rows)


def _view(session: Session, keyring: Keyring, row: IncidentRow, case_id: UUID) -> IncidentView:
    return IncidentView(
        id=row.id, visit_id=VisitId(row.visit_id), kind=row.kind, at=row.at, received_at=row.received_at, reported_by=StaffId(row.reported_by),
        note=sealer(session, keyring, case_id).open("incidents.note", row.note), settled_at=row.settled_at,
        settled_by=StaffId(row.settled_by) if row.settled_by else None,
    )
