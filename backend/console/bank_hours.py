"""When a bank's offices take cash by date, which dates are workdays, and who of a bank answers requests."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import duties, hours, queries
from backend.console.people import Made
from backend.console.values import Moment, day_within_reach, within_reach
from backend.core.ids import BankId, StaffId
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.transaction import transaction

DaySeconds = Annotated[int, Meta(ge=0, le=86_400)]


class CalendarDayBody(Body):
    """One date: a workday, make-up workdays included, or not."""

    on: date
    is_workday: bool


class CalendarBody(Body):
    """Dates of a bank's own calendar."""

    days: Annotated[list[CalendarDayBody], Meta(min_length=1, max_length=800)]


class OfficeDayBody(Body):
    """One date that is not as usual; without hours the office takes no cash."""

    on: date
    opens_s: DaySeconds | None = None
    closes_s: DaySeconds | None = None

    def __post_init__(self) -> None:
        self.to_day()

    def to_day(self) -> hours.OfficeDay:
        """Say it in the slice's words."""
        return hours.OfficeDay(on=self.on, opens_s=self.opens_s, closes_s=self.closes_s)


class OfficeDaysBody(Body):
    """Dates of one office."""

    days: Annotated[list[OfficeDayBody], Meta(min_length=1, max_length=400)]


class DutyBody(Body):
    """One turn of duty of an authoriser."""

    staff_id: UUID
    from_at: Moment
    to_at: Moment


@put("/api/v1/banks/{bank_id:uuid}/calendar", operation_id="setBankCalendar", status_code=204, sync_to_thread=True, tags=["banks"])
def set_calendar(
    bank_id: FromPath[UUID], data: JSONBody[CalendarBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Write dates of a bank's calendar; where it says nothing, the public one with its make-up workdays counts."""
    days = {day_within_reach(day.on, now, "/days"): day.is_workday for day in data.days}
    with transaction(resources.sessions, actor, now) as session:
        hours.set_calendar(session, actor, BankId(bank_id), days, now)


@put("/api/v1/offices/{office_id:uuid}/days", operation_id="setOfficeDays", status_code=204, sync_to_thread=True, tags=["banks"])
def set_office_days(
    office_id: FromPath[UUID], data: JSONBody[OfficeDaysBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Write the hours of an office on single dates."""
    days = [day.to_day() for day in data.days if day_within_reach(day.on, now, "/days")]
    with transaction(resources.sessions, actor, now) as session:
        hours.set_office_days(session, actor, office_id, days, now)


@get("/api/v1/banks/{bank_id:uuid}/offices-on", operation_id="listOfficesOn", sync_to_thread=True, tags=["banks"])
def list_offices_on(
    bank_id: FromPath[UUID], on: FromQuery[date], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> tuple[hours.OfficeOn, ...]:
    """List a bank's counters and machines as they are on a date; without hours they take no cash that day."""
    authorise(actor, Permission.BANK_READ)
    day_within_reach(on, now, "/on")
    with resources.reads() as session:
        return hours.offices_on(session, [queries.bank(session, actor, BankId(bank_id)).id], on)


@get("/api/v1/banks/{bank_id:uuid}/duties", operation_id="listDuties", sync_to_thread=True, tags=["banks"])
def list_duties(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> tuple[duties.DutyView, ...]:
    """List who of a bank answers cash requests, from now on (F19)."""
    with resources.reads() as session:
        return duties.list_duties(session, actor, BankId(bank_id), now)


@post("/api/v1/duties", operation_id="setDuty", sync_to_thread=True, tags=["banks"])
def set_duty(
    data: JSONBody[DutyBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Put an authoriser of one's own bank on duty."""
    span = within_reach(data.from_at, now, "/fromAt"), within_reach(data.to_at, now, "/toAt")
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=duties.set_duty(session, actor, StaffId(data.staff_id), span, now))


ROUTES: list[Any] = [set_calendar, set_office_days, list_offices_on, list_duties, set_duty]
