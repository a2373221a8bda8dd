"""Legal holds: set and lifted with a reason, their history kept. A hold beats every term; the database says so too."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.archive.model import HoldGround, SetHold
from backend.archive.tables import LegalHoldRow
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.queries import case_of
from backend.core.ids import CaseId, StaffId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.staff.tables import StaffRow
from evidence.canonical import canonicalise


class HoldView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One hold with its whole history."""

    id: UUID
    case_id: CaseId
    ground: HoldGround
    reason: str
    set_by: StaffId
    set_at: datetime
    lift_reason: str | None
    lifted_by: StaffId | None
    lifted_at: datetime | None


def set_hold(session: Session, actor: Actor, keyring: Keyring, command: SetHold, now: datetime) -> UUID:
    """Hold everything of a case. Several holds may stand side by side; each is lifted by itself.

    Raises:
        Forbidden, NotFound: not the actor's.
        CaseKeyDestroyed: nothing is left to hold.
    """
    authorise(actor, Permission.HOLD_MANAGE)
    case = case_of(session, actor, command.case_id)
    hold_id = new_id()
    reason = sealer(session, keyring, case.id).seal("legal_holds.reason", command.reason)
    entry_id = _log(session, {"hold": str(hold_id), "case": str(case.id), "ground": command.ground.value, "by": str(actor.id)}, now)
    session.add(LegalHoldRow(
        id=hold_id, case_id=case.id, ground=command.ground, reason=reason, set_by=actor.id, set_at=now, log_entry_id=entry_id, lift_reason=None,
        lifted_by=None, lifted_at=None, lift_entry_id=None))
    session.flush()
    record(session, actor, EventTag.HOLD_SET, f"case:{case.id}", now, hold=hold_id, ground=command.ground.value)
    return hold_id


def lift_hold(session: Session, actor: Actor, keyring: Keyring, hold: tuple[UUID, str], now: datetime) -> None:
    """Lift one hold, with the reason. A bank's hold is lifted by that bank, the agency's by the agency.

    Raises:
        Forbidden: not the actor's to lift.
        NotFound: not a hold on a case of the actor's.
        Conflict: it was lifted before.
    """
    authorise(actor, Permission.HOLD_MANAGE)
    hold_id, reason = hold
    row = session.scalars(select(LegalHoldRow).where(LegalHoldRow.id == hold_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound
    case = case_of(session, actor, row.case_id)
    if row.lifted_at is not None:
        raise Conflict(reason="already-lifted")
    setter_bank = session.scalar(select(StaffRow.bank_id).where(StaffRow.id == row.set_by))
    if setter_bank != actor.bank:
        raise Forbidden(reason="a hold is lifted by the side that set it")
    sealed = sealer(session, keyring, case.id).seal("legal_holds.lift_reason", reason)
    entry_id = _log(session, {"hold": str(row.id), "case": str(case.id), "lifted_by": str(actor.id)}, now)
    row.lift_reason, row.lifted_by, row.lifted_at, row.lift_entry_id = sealed, actor.id, now, entry_id
    session.flush()
    record(session, actor, EventTag.HOLD_LIFTED, f"case:{case.id}", now, hold=row.id)


def holds_of(session: Session, actor: Actor, keyring: Keyring, case_id: UUID, now: datetime) -> tuple[HoldView, ...]:
    """Return every hold that a case has or had, oldest first; the read is recorded."""
    authorise(actor, Permission.CASE_READ)
    case = case_of(session, actor, case_id)
    record_read(session, actor, [case.id], now, "legal-holds")
    rows = session.scalars(select(LegalHoldRow).where(LegalHoldRow.case_id == case.id).order_by(LegalHoldRow.set_at, LegalHoldRow.id)).all()
    if not rows:
        return ()
    box = sealer(session, keyring, case.id)
    return tuple(
        HoldView(
            id=row.id, case_id=CaseId(row.case_id), ground=row.ground, reason=box.open("legal_holds.reason", row.reason),
            set_by=StaffId(row.set_by), set_at=row.set_at,
            lift_reason=None if row.lift_reason is None else box.open("legal_holds.lift_reason", row.lift_reason),
            lifted_by=None if row.lifted_by is None else StaffId(row.lifted_by), lifted_at=row.lifted_at)
        for row in rows)


def open_holds(session: Session, case_id: UUID) -> int:
    """Return how many holds on a case are in force."""
    return session.scalar(select(func.count()).where(LegalHoldRow.case_id == case_id, LegalHoldRow.lifted_at.is_(None))) or 0


def _log(session: Session, stated: dict[str, str], now: datetime) -> UUID:
    return log.append(session, "retention", canonicalise(dict(stated)), now)
