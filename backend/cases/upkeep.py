"""What is learnt about a case after it was placed: who works on it, warning signs, confirmations, addresses."""

from datetime import datetime
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.actions import locked_case, step, step_if_allowed
from backend.cases.model import AddressKind, CaseEvent, CaseStatus, Field, Signal, Source, level_of, score_of, today_of
from backend.cases.queries import visible_to
from backend.cases.tables import AllocationRow, CaseAddressRow, CaseRow, SignalTaskRow
from backend.core.fen import Fen
from backend.core.geo import Datum, LonLat, to_wgs84
from backend.core.ids import AddressId, CaseId, StaffId, new_id
from backend.core.problems import InvalidInput, NotFound
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.staff.tables import StaffRoleRow, StaffRow

_COLUMN_OF = {Field.CARD_NUMBER: "card", Field.AMOUNT: "amount", Field.AGE: "age", Field.IDENTITY: "identity", Field.OCCUPATION: "occupation"}
_PINNED_PCT = 90


class NewAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A newly learnt address; with `replaces` the former one is no longer routed (CASE-34)."""

    kind: AddressKind
    street: str
    source: Source
    timezone: str
    division_code: str | None = None
    point: LonLat | None = None
    datum: Datum | None = None
    replaces: AddressId | None = None
    safety_note: str | None = None

    def __post_init__(self) -> None:
        if (self.point is None) != (self.datum is None):
            raise ValueError("a position names its datum")
        if self.timezone not in available_timezones():
            raise ValueError("a time zone is an IANA name such as Asia/Shanghai")


def allocate(session: Session, actor: Actor, case_ids: tuple[CaseId, ...], assignee_id: StaffId, now: datetime) -> int:
    """Give cases to a phone collector of the same branch (CASE-03, SEC-02). Returns how many were newly allocated.

    Raises:
        NotFound: A case or the assignee is not the actor's to see, or not an active phone collector of the case's branch.
    """
    authorise(actor, Permission.CASE_DECIDE)
    branch_id = session.scalar(
        select(StaffRow.branch_id).join(StaffRoleRow, StaffRoleRow.staff_id == StaffRow.id)
        .where(StaffRow.id == assignee_id, StaffRow.is_active, StaffRoleRow.role == Role.PHONE_COLLECTOR)
    )
    rows = session.scalars(
        select(CaseRow).where(CaseRow.id.in_(case_ids), visible_to(actor), CaseRow.branch_id == branch_id).order_by(CaseRow.id).with_for_update()
    ).all()
    if branch_id is None or {row.id for row in rows} != set(case_ids):
        raise NotFound
    changed = [row for row in rows if row.assignee_id != assignee_id]
    for row in changed:
        row.assignee_id = assignee_id
        session.add(AllocationRow(id=new_id(), case_id=row.id, assignee_id=assignee_id, allocated_by=actor.id, allocated_at=now))
        if row.status is CaseStatus.FILED:
            step(session, actor, row, CaseEvent.ALLOCATE, now)
        else:
            record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, assignee=assignee_id)
    return len(changed)


def set_signal(session: Session, actor: Actor, case_id: CaseId | UUID, signal: Signal, now: datetime) -> int:
    """Note a warning sign: the priority rises and a task opens by itself (CASE-28). Returns the priority after it."""
    authorise(actor, Permission.CONTACT_RECORD)
    return apply_signal(session, actor, locked_case(session, actor, case_id), signal, now)


def apply_signal(session: Session, actor: Actor, row: CaseRow, signal: Signal, now: datetime) -> int:
    """Do what `set_signal` does to a locked case, on the strength of what happened."""
    known = set(session.scalars(select(SignalTaskRow.signal).where(SignalTaskRow.case_id == row.id)))
    if signal not in known:
        session.add(SignalTaskRow(id=new_id(), case_id=row.id, signal=signal, opened_at=now))
        row.score = score_of(Fen(row.amount_fen), row.days_past_due, signals=frozenset(known | {signal}))
        row.priority = level_of(row.score)
        record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, signal=signal.value, priority=row.priority)
    return row.priority


def mark_urgent(session: Session, actor: Actor, keyring: Keyring, case_id: CaseId | UUID, reason: str, now: datetime) -> None:
    """Put a case ahead in dispatch (CASE-39); never past approval, hours or pair rules, which do not read this."""
    authorise(actor, Permission.CASE_DECIDE)
    row = locked_case(session, actor, case_id)
    sealed = sealer(session, keyring, row.id).seal("audit.reason", reason)
    row.is_urgent = True
    record(session, actor, EventTag.CASE_DECIDED, f"case:{row.id}", now, is_urgent=True, reason_sealed=sealed.hex())


def confirm(
    session: Session, actor: Actor, keyring: Keyring, case_id: CaseId | UUID, field: Field, source: Source, *, now: datetime,
    occupation: str | None = None,
) -> None:
    """Note that one of the five was confirmed today, with its source; an occupation may be learnt with it (CONT-02).

    Raises:
        InvalidInput: The occupation is neither known nor given, or something else is given.
    """
    authorise(actor, Permission.CONTACT_RECORD)
    row = locked_case(session, actor, case_id)
    if occupation is not None and field is not Field.OCCUPATION:
        raise InvalidInput(pointer="/occupation", expected="only with the field occupation", got=field.value)
    if occupation is not None:
        row.occupation = sealer(session, keyring, row.id).seal("cases.occupation", occupation)
    elif field is Field.OCCUPATION and row.occupation is None:
        raise InvalidInput(pointer="/occupation", expected="the occupation", got="nothing")
    setattr(row, f"confirmed_{_COLUMN_OF[field]}_source", source)
    setattr(row, f"confirmed_{_COLUMN_OF[field]}_on", today_of(now))
    record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, confirmed=field.value, source=source.value)


def add_address(session: Session, actor: Actor, keyring: Keyring, case_id: CaseId | UUID, new: NewAddress, now: datetime) -> AddressId:
    """Store a newly learnt address with its source; the one it replaces is no longer routed (CASE-34)."""
    authorise(actor, Permission.CONTACT_RECORD)
    row = locked_case(session, actor, case_id)
    if new.replaces is not None:
        replaced = session.execute(
            update(CaseAddressRow).where(CaseAddressRow.id == new.replaces, CaseAddressRow.case_id == row.id).values(is_current=False)
        )
        if replaced.rowcount != 1:  # type: ignore[attr-defined]
            raise NotFound
    box = sealer(session, keyring, row.id)
    address = CaseAddressRow(
        id=new_id(), case_id=row.id, kind=new.kind, street=box.seal("case_addresses.street", new.street), division_code=new.division_code,
        timezone=new.timezone, point=None if new.point is None or new.datum is None else to_wgs84(new.point, new.datum), datum_given=new.datum,
        confidence_pct=0 if new.point is None else _PINNED_PCT, source=new.source, is_current=True,
        safety_note=None if new.safety_note is None else box.seal("case_addresses.safety_note", new.safety_note),
        recorded_by=actor.id, recorded_at=now,
    )
    session.add(address)
    session.flush()
    record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, address=address.id, replaces=new.replaces)
    return AddressId(address.id)


def pin_address(session: Session, actor: Actor, address_id: UUID, point: LonLat, datum: Datum, now: datetime) -> None:
    """Put an address on the map by hand (F01); the datum of the map is named."""
    authorise(actor, Permission.ADDRESS_PIN)
    address = session.scalar(
        select(CaseAddressRow).join(CaseRow, CaseRow.id == CaseAddressRow.case_id).where(CaseAddressRow.id == address_id, visible_to(actor))
    )
    if address is None:
        raise NotFound
    row = locked_case(session, actor, address.case_id)
    address.point, address.datum_given, address.confidence_pct = to_wgs84(point, datum), datum, _PINNED_PCT
    record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, pinned=address.id)


def begin_phone_collection(session: Session, actor: Actor, row: CaseRow, now: datetime) -> None:
    """Note on a locked case that somebody called: an allocated one is now worked on by phone, a visited or broken one again."""
    if row.status in (CaseStatus.FILED, CaseStatus.ALLOCATED):
        step_if_allowed(session, actor, row, (CaseEvent.ALLOCATE, CaseEvent.CALL), now)
    else:
        step_if_allowed(session, actor, row, (CaseEvent.FIND, CaseEvent.RETURN_TO_PHONE), now)
