"""When a bank's counters and machines take cash on a date: their own hours, days off, make-up workdays, and the date's exceptions.

The bank's uploaded calendar decides what a workday is; without it the public one does (make-up workdays included), and beyond
its last year Monday to Friday, which `fieldvisit doctor` warns of.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import chinese_calendar
import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import OfficeKind
from backend.banks.queries import bank
from backend.banks.tables import BankCalendarDayRow, BankOfficeRow, OfficeDayRow, OfficeTermsRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId
from backend.core.problems import NotFound

SATURDAY = 5


class CalendarSource(StrEnum):
    """Who says whether a date is a workday, the surest first."""

    BANK = "bank"
    PUBLIC = "public"
    WEEKDAY = "weekday"          # A guess.


class OfficeOn(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An office on one date: seconds since local midnight, None both when it takes no cash that day."""

    id: UUID
    bank_id: BankId
    name: str
    kind: OfficeKind
    location: LonLat
    opens_s: int | None
    closes_s: int | None
    service_s: int
    deposit_fen_max: Fen | None


class OfficeDay(msgspec.Struct, frozen=True, kw_only=True):
    """One date of one office that is not as usual; without hours it takes no cash."""

    on: date
    opens_s: int | None
    closes_s: int | None

    def __post_init__(self) -> None:
        if (self.opens_s is None) != (self.closes_s is None):
            raise ValueError("a day has both hours or none")
        if self.opens_s is not None and self.closes_s is not None and not 0 <= self.opens_s < self.closes_s <= 86_400:
            raise ValueError("opening hours lie within one day and are not empty")


def is_workday(on: date, uploaded: Mapping[date, bool]) -> tuple[bool, CalendarSource]:
    """Tell whether `on` is a workday, and who says so. `uploaded` is the bank's own calendar."""
    if on in uploaded:
        return uploaded[on], CalendarSource.BANK
    try:
        return bool(chinese_calendar.is_workday(on)), CalendarSource.PUBLIC
    except NotImplementedError:
        return on.weekday() < SATURDAY, CalendarSource.WEEKDAY


def offices_on(session: Session, bank_ids: Iterable[UUID], on: date) -> tuple[OfficeOn, ...]:
    """Return the offices of these banks as they are on a date, closed ones included, in the order of their ids."""
    wanted = sorted(set(bank_ids))
    found = session.execute(
        select(BankOfficeRow, OfficeTermsRow, OfficeDayRow)
        .outerjoin(OfficeTermsRow, OfficeTermsRow.office_id == BankOfficeRow.id)
        .outerjoin(OfficeDayRow, (OfficeDayRow.office_id == BankOfficeRow.id) & (OfficeDayRow.on == on))
        .where(BankOfficeRow.bank_id.in_(wanted)).order_by(BankOfficeRow.id)
    ).all()
    uploaded = {
        row.bank_id: row.is_workday
        for row in session.scalars(select(BankCalendarDayRow).where(BankCalendarDayRow.bank_id.in_(wanted), BankCalendarDayRow.on == on))
    }
    return tuple(_on(office, terms, day, on, uploaded) for office, terms, day in found)


def office_on(session: Session, office_id: UUID, on: date) -> OfficeOn | None:
    """Return one office as it is on a date."""
    bank_id = session.scalar(select(BankOfficeRow.bank_id).where(BankOfficeRow.id == office_id))
    return next((one for one in offices_on(session, [bank_id], on) if one.id == office_id), None) if bank_id else None


def office_names(session: Session, office_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return what offices are called."""
    found = session.execute(select(BankOfficeRow.id, BankOfficeRow.name).where(BankOfficeRow.id.in_(sorted(set(office_ids)))))
    return {row.id: row.name for row in found}


def calendar_source(session: Session, bank_id: UUID, on: date) -> CalendarSource:
    """Tell who says whether a date is a workday of a bank."""
    row = session.get(BankCalendarDayRow, (bank_id, on))
    return is_workday(on, {} if row is None else {on: row.is_workday})[1]


def set_calendar(session: Session, actor: Actor, bank_id: BankId, days: Mapping[date, bool], now: datetime) -> None:
    """Write dates of a bank's calendar: true for a workday, make-up workdays included. A date written before is replaced."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, bank_id)
    for on, worked in sorted(days.items()):
        session.merge(BankCalendarDayRow(bank_id=bank_id, on=on, is_workday=worked))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, what="calendar", days=len(days))


def set_office_days(session: Session, actor: Actor, office_id: UUID, days: Sequence[OfficeDay], now: datetime) -> None:
    """Write the hours of an office on single dates. Raises `NotFound` for no office."""
    authorise(actor, Permission.BANK_MANAGE)
    office = session.get(BankOfficeRow, office_id)
    if office is None:
        raise NotFound
    bank(session, actor, BankId(office.bank_id))
    for day in days:
        session.merge(OfficeDayRow(office_id=office_id, on=day.on, opens_s=day.opens_s, closes_s=day.closes_s))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{office.bank_id}", now, what="office-days", office=office_id, days=len(days))


def _on(office: BankOfficeRow, terms: OfficeTermsRow | None, day: OfficeDayRow | None, on: date, uploaded: Mapping[UUID, bool]) -> OfficeOn:
    opens_s: int | None = office.opens_s
    closes_s: int | None = office.closes_s
    if day is not None:
        opens_s, closes_s = day.opens_s, day.closes_s
    elif not (terms is not None and terms.is_open_on_off_days):
        known = {on: uploaded[office.bank_id]} if office.bank_id in uploaded else {}
        if not is_workday(on, known)[0]:
            opens_s = closes_s = None
    return OfficeOn(
        id=office.id, bank_id=BankId(office.bank_id), name=office.name, kind=terms.kind if terms else OfficeKind.COUNTER, location=office.location,
        opens_s=opens_s, closes_s=closes_s, service_s=office.service_s,
        deposit_fen_max=Fen(terms.deposit_fen_max) if terms is not None and terms.deposit_fen_max is not None else None,
    )
