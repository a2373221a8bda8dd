"""Cases: lists, searches, reading with a purpose, and the decisions on them."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.banks import queries as banks
from backend.banks.queries import ChannelView
from backend.cases import actions, queries, upkeep
from backend.cases.model import AddressKind, CaseStatus, Field, ReadPurpose, Release, Signal, Source, Stop, today_of
from backend.cases.queries import CaseDetail, CaseSummary, Sought, Unmaskable
from backend.cash import repayments
from backend.cash.claims import Repayment
from backend.console import batches
from backend.console.values import Moment, Note, sound_values, within_reach
from backend.core.fen import FEN_MAX, Fen
from backend.core.geo import Datum, LonLat
from backend.core.ids import AddressId, CaseId, StaffId
from backend.offers.queries import ProposalView, offers_of
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction


class SearchBody(Body):
    """Exactly one thing to look for. It travels in the body, never in an address that a log would keep."""

    id_number: Annotated[str, Meta(max_length=32)] | None = None
    card_number: Annotated[str, Meta(max_length=32)] | None = None
    phone: Annotated[str, Meta(max_length=32)] | None = None
    name: Annotated[str, Meta(max_length=60)] | None = None
    bank_reference: Annotated[str, Meta(max_length=64)] | None = None
    limit: int | None = None
    cursor: Annotated[str, Meta(max_length=300)] | None = None


class UnmaskBody(Body):
    """Which values are needed in the clear, and what for (SEC-03, SEC-05)."""

    fields: Annotated[frozenset[Annotated[str, Meta(max_length=32)]], Meta(max_length=10)]
    purpose: ReadPurpose


class AllocationBody(Body):
    """Cases for one phone collector."""

    case_ids: Annotated[list[UUID], Meta(min_length=1, max_length=200)]
    assignee_id: UUID


class ReleaseBody(Body):
    """Time, manner and precautions of a release from a vulnerability hold (VIS-11)."""

    from_at: Moment
    to_at: Moment
    manner: Note
    precautions: Note


class RepaymentBody(Body):
    """Money that reached the bank, as its file says."""

    reference: Annotated[str, Meta(min_length=1, max_length=64)]
    amount_fen: Annotated[int, Meta(ge=1, le=FEN_MAX)]
    paid_on: date


class SignalBody(Body):
    """A warning sign (CASE-28)."""

    signal: Signal


class UrgencyBody(Body):
    """Why a case is urgent (CASE-39)."""

    reason: Note


class ConfirmationBody(Body):
    """One of the five was confirmed; an occupation may be learnt with it (CONT-02)."""

    field: Field
    source: Source
    occupation: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class PositionBody(Body):
    """A position with the datum of the map that it was read from."""

    lon: Annotated[float, Meta(ge=-180, le=180)]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    datum: Datum


class AddressBody(Body):
    """A newly learnt address."""

    kind: AddressKind
    street: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Source
    timezone: Annotated[str, Meta(max_length=64)] = "Asia/Shanghai"
    division_code: Annotated[str, Meta(pattern=r"^[0-9]{6}([0-9]{3}){0,2}$")] | None = None
    position: PositionBody | None = None
    replaces: UUID | None = None
    safety_note: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    def to_command(self) -> upkeep.NewAddress:
        """Return the same in the domain's words. Raises `InvalidInput`."""
        place = self.position
        with sound_values():
            return upkeep.NewAddress(
                kind=self.kind, street=self.street, source=self.source, timezone=self.timezone, division_code=self.division_code,
                point=None if place is None else LonLat(place.lon, place.lat), datum=None if place is None else place.datum,
                replaces=None if self.replaces is None else AddressId(self.replaces), safety_note=self.safety_note,
            )


class CaseSheet(CaseDetail, frozen=True, kw_only=True, rename="camel"):
    """One case as it is worked on: `payment_channels` are offered before anything else (CASH-10), only `offers` may be promised (CONT-18)."""

    payment_channels: tuple[ChannelView, ...]
    offers: tuple[ProposalView, ...]


class CountView(View, frozen=True):
    """How many were changed."""

    changed: int


class IdView(View, frozen=True):
    """What was made."""

    id: UUID


class PaidView(View, frozen=True):
    """Whether nothing is left to pay."""

    is_paid: bool


class PriorityView(View, frozen=True):
    """The priority after it, 1 to 5."""

    priority: int


@get("/api/v1/cases", operation_id="listCases", sync_to_thread=True, tags=["cases"])
def read_cases(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None, status: FromQuery[CaseStatus | None] = None,
) -> Page[CaseSummary]:
    """List cases, masked, oldest first. The read is recorded (SEC-01)."""
    asked = read_page(limit, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = queries.list_cases(session, actor, resources.keyring, now, limit=asked.limit, after=asked.after_id, status=status)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/cases/search", operation_id="searchCases", status_code=200, sync_to_thread=True, tags=["cases"])
def search_cases(
    data: JSONBody[SearchBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Page[CaseSummary]:
    """Find cases by number, name or part of a name. The read is recorded."""
    asked = read_page(data.limit, data.cursor)
    sought = Sought(
        id_number=data.id_number, card_number=data.card_number, phone=data.phone, name=data.name, bank_reference=data.bank_reference
    )
    with transaction(resources.sessions, actor, now) as session:
        rows = queries.search_cases(session, actor, resources.keyring, sought, now, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/cases/{case_id:uuid}", operation_id="readCase", sync_to_thread=True, tags=["cases"])
def read_case(
    case_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> CaseSheet:
    """Return one case, masked, with the bank's own ways to pay and its standing offers: nothing else may be promised. The read is recorded."""
    with transaction(resources.sessions, actor, now) as session:
        shown = queries.show_case(session, actor, resources.keyring, case_id, now)
        return CaseSheet(
            payment_channels=banks.channels(session, shown.bank_id), offers=tuple(offers_of(session, (case_id,), today_of(now))),
            **msgspec.structs.asdict(shown))


@post("/api/v1/cases/{case_id:uuid}/unmask", operation_id="unmaskCase", status_code=200, sync_to_thread=True, tags=["cases"])
def unmask_case(
    case_id: FromPath[UUID], data: JSONBody[UnmaskBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Unmaskable:
    """Return clear values for a stated purpose; recorded field by field (SEC-03)."""
    wanted = frozenset(_FIELD_NAMES.get(name, name) for name in data.fields)
    with transaction(resources.sessions, actor, now) as session:
        return queries.unmask(session, actor, resources.keyring, case_id, fields=wanted, purpose=data.purpose, now=now)


@post("/api/v1/allocations", operation_id="allocateCases", status_code=200, sync_to_thread=True, tags=["cases"])
def allocate_cases(
    data: JSONBody[AllocationBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> CountView:
    """Give cases to a phone collector (CASE-03)."""
    with transaction(resources.sessions, actor, now) as session:
        chosen = tuple(CaseId(one) for one in data.case_ids)
        return CountView(changed=upkeep.allocate(session, actor, chosen, StaffId(data.assignee_id), now))


@post("/api/v1/cases/{case_id:uuid}/holds", operation_id="holdCase", status_code=204, sync_to_thread=True, tags=["cases"])
def hold_case(
    case_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Hold a case by decision."""
    with transaction(resources.sessions, actor, now) as session:
        actions.hold(session, actor, case_id, now)


@delete("/api/v1/cases/{case_id:uuid}/holds/{stop:str}", operation_id="liftHold", sync_to_thread=True, tags=["cases"])
def lift_hold(
    case_id: FromPath[UUID], stop: FromPath[Stop], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Lift a hold or a complaint's pause by decision."""
    with transaction(resources.sessions, actor, now) as session:
        actions.lift(session, actor, case_id, stop, now)


@post("/api/v1/cases/{case_id:uuid}/releases", operation_id="releaseCase", sync_to_thread=True, tags=["cases"])
def release_case(
    case_id: FromPath[UUID], data: JSONBody[ReleaseBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> IdView:
    """Release a vulnerable debtor's case with time, manner and precautions (VIS-11)."""
    with sound_values():
        command = Release(
            case_id=CaseId(case_id), from_at=within_reach(data.from_at, now, "/fromAt"), to_at=within_reach(data.to_at, now, "/toAt"),
            manner=data.manner, precautions=data.precautions,
        )
    with transaction(resources.sessions, actor, now) as session:
        return IdView(id=actions.release_vulnerable(session, actor, resources.keyring, command, now))


@post("/api/v1/cases/{case_id:uuid}/recall", operation_id="recallCase", status_code=204, sync_to_thread=True, tags=["cases"])
def recall_case(
    case_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Give a case back to its bank (BANK-03)."""
    with transaction(resources.sessions, actor, now) as session:
        actions.recall(session, actor, case_id, now)


@post("/api/v1/cases/{case_id:uuid}/repayments", operation_id="recordRepayment", sync_to_thread=True, tags=["cases"])
def record_repayment(
    case_id: FromPath[UUID], data: JSONBody[RepaymentBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> PaidView:
    """Record money that reached the bank; once per reference."""
    with transaction(resources.sessions, actor, now) as session:
        seen = Repayment(case_id=CaseId(case_id), amount_fen=Fen(data.amount_fen), paid_on=data.paid_on, reference=data.reference)
        return PaidView(is_paid=repayments.record_one(session, actor, seen, now))


@post("/api/v1/cases/{case_id:uuid}/signals", operation_id="setSignal", sync_to_thread=True, tags=["cases"])
def set_signal(
    case_id: FromPath[UUID], data: JSONBody[SignalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> PriorityView:
    """Note a warning sign: the priority rises and a task opens by itself (CASE-28)."""
    with transaction(resources.sessions, actor, now) as session:
        return PriorityView(priority=upkeep.set_signal(session, actor, case_id, data.signal, now))


@post("/api/v1/cases/{case_id:uuid}/urgency", operation_id="markUrgent", status_code=204, sync_to_thread=True, tags=["cases"])
def mark_urgent(
    case_id: FromPath[UUID], data: JSONBody[UrgencyBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Put a case ahead in dispatch (CASE-39)."""
    with transaction(resources.sessions, actor, now) as session:
        upkeep.mark_urgent(session, actor, resources.keyring, case_id, data.reason, now)


@post("/api/v1/cases/{case_id:uuid}/confirmations", operation_id="confirmField", status_code=204, sync_to_thread=True, tags=["cases"])
def confirm_field(
    case_id: FromPath[UUID], data: JSONBody[ConfirmationBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Note that one of the five was confirmed today (CONT-02)."""
    with transaction(resources.sessions, actor, now) as session:
        upkeep.confirm(session, actor, resources.keyring, case_id, data.field, data.source, now=now, occupation=data.occupation)


@post("/api/v1/cases/{case_id:uuid}/addresses", operation_id="addAddress", sync_to_thread=True, tags=["cases"])
def add_address(
    case_id: FromPath[UUID], data: JSONBody[AddressBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> IdView:
    """Store a newly learnt address (CASE-34)."""
    command = data.to_command()
    with transaction(resources.sessions, actor, now) as session:
        return IdView(id=upkeep.add_address(session, actor, resources.keyring, case_id, command, now))


@post("/api/v1/addresses/{address_id:uuid}/pin", operation_id="pinAddress", status_code=204, sync_to_thread=True, tags=["cases"])
def pin_address(
    address_id: FromPath[UUID], data: JSONBody[PositionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Put an address on the map by hand."""
    with transaction(resources.sessions, actor, now) as session:
        upkeep.pin_address(session, actor, address_id, LonLat(data.lon, data.lat), data.datum, now)


_FIELD_NAMES = {field.encode_name: field.name for field in msgspec.structs.fields(Unmaskable)}

ROUTES: list[ControllerRouterHandler] = [
    *batches.ROUTES, read_cases, search_cases, read_case, unmask_case, allocate_cases, hold_case, lift_hold, release_case, recall_case,
    record_repayment, set_signal, mark_urgent, confirm_field, add_address, pin_address,
]
