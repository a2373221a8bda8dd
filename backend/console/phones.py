"""Phones and recording equipment over JSON."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cash.books import suspend_numbers
from backend.console.people import Made, Number
from backend.console.values import within_reach
from backend.core.ids import BranchId, StaffId
from backend.core.problems import InvalidInput, NotFound
from backend.exhibits import actions as exhibits
from backend.staff import actions, devices, queries, renewals
from backend.staff.model import DeviceEvent, DeviceState, EquipmentEvent, EquipmentKind, EquipmentState, Inspection
from backend.staff.queries import EquipmentView
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

KID_CHARS = 43
Reason = Annotated[str, Meta(min_length=3, max_length=200)]


class EnrolmentAskedBody(Body):
    """Whose phone it will be."""

    staff_id: UUID


class EnrolmentCodeView(View, frozen=True):
    """The one-time code, shown once, and its id for the second person."""

    id: UUID
    code: str
    staff_id: StaffId
    expires_at: datetime


class DeviceEventBody(Body):
    """Suspend, resume or revoke a phone; on revoking, since when its key may have been in other hands."""

    event: DeviceEvent
    reason: Reason
    compromised_since: datetime | None = None


class DeviceStateView(View, frozen=True):
    """A phone and its state."""

    kid: str
    state: DeviceState


class EquipmentBody(Body):
    """A recorder or camera of a branch."""

    branch_id: UUID
    kind: EquipmentKind
    serial: Number
    owner_id: UUID | None = None


class EquipmentEventBody(Body):
    """Withdraw it, or give it back into use."""

    event: EquipmentEvent


class EquipmentStateView(View, frozen=True):
    """A recorder or camera and its state."""

    id: UUID
    state: EquipmentState


class InspectionBody(Body):
    """An entry of the inspection register (EVD-04)."""

    is_passed: bool
    next_due_on: date
    remark: Annotated[str, Meta(max_length=500)] = ""


class AssignmentBody(Body):
    """Who carries it on which day."""

    staff_id: UUID
    on: date


@post("/api/v1/device-enrolments", operation_id="askDeviceEnrolment", sync_to_thread=True, tags=["phones"])
def ask_enrolment(
    data: JSONBody[EnrolmentAskedBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> EnrolmentCodeView:
    """Make a one-time code for a new phone; another person grants it."""
    with transaction(resources.sessions, actor, now) as session:
        asked = devices.ask_enrolment(session, actor, StaffId(data.staff_id), now)
    return EnrolmentCodeView(id=asked.id, code=asked.code, staff_id=asked.staff_id, expires_at=asked.expires_at)


@get("/api/v1/device-enrolments", operation_id="listDeviceEnrolments", sync_to_thread=True, tags=["phones"])
def list_enrolments(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> tuple[devices.EnrolmentView, ...]:
    """List the enrolments that wait for a grant."""
    authorise(actor, Permission.DEVICE_APPROVE)
    with resources.reads() as session:
        return devices.open_enrolments(session, actor, now)


@post("/api/v1/device-enrolments/{enrolment_id:uuid}/approve", operation_id="grantDeviceEnrolment", status_code=200, sync_to_thread=True,
      tags=["phones"])
def grant_enrolment(
    enrolment_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> devices.EnrolmentView:
    """Grant an enrolment that somebody else asked for."""
    with transaction(resources.sessions, actor, now) as session:
        return devices.grant_enrolment(session, actor, enrolment_id, now)


@get("/api/v1/device-renewals", operation_id="listDeviceRenewals", sync_to_thread=True, tags=["phones"])
def list_renewals(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> tuple[renewals.RenewalView, ...]:
    """List the phones that ask to renew their key."""
    authorise(actor, Permission.DEVICE_APPROVE)
    with resources.reads() as session:
        return renewals.waiting(session, actor, now)


@post("/api/v1/device-renewals/{renewal_id:uuid}/approve", operation_id="grantDeviceRenewal", status_code=200, sync_to_thread=True, tags=["phones"])
def grant_renewal(
    renewal_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> renewals.RenewalView:
    """Grant a renewal to somebody else, whose phone it is."""
    with transaction(resources.sessions, actor, now) as session:
        return renewals.grant(session, actor, renewal_id, now)


@post("/api/v1/devices/{kid:str}/state", operation_id="changeDevice", status_code=200, sync_to_thread=True, tags=["phones"])
def change_device(
    kid: FromPath[str], data: JSONBody[DeviceEventBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> DeviceStateView:
    """Suspend, resume or revoke a phone; the receipt numbers lent to it are suspended with it, unless it is resumed.

    With `compromisedSince`, what arrived from it at or after that instant goes to quarantine.
    """
    if data.compromised_since is not None and (data.event is not DeviceEvent.REVOKE or data.compromised_since.utcoffset() is None):
        raise InvalidInput(pointer="/compromisedSince", expected="an instant with its time zone, on revoking only", got=data.event.value)
    if data.compromised_since is not None:
        within_reach(data.compromised_since, now, "/compromisedSince")
    change = devices.DeviceChange(kid=read_kid(kid), event=data.event, reason=data.reason, compromised_since=data.compromised_since)
    with transaction(resources.sessions, actor, now) as session:
        state = devices.change_device(session, actor, change, now)
        if change.compromised_since is not None:
            exhibits.quarantine_since(session, actor, change.kid, change.compromised_since, now)
        if data.event in (DeviceEvent.SUSPEND, DeviceEvent.REVOKE):
            suspend_numbers(session, actor, change.kid, now)         # A lost phone takes no money on the numbers it was lent.
        return DeviceStateView(kid=kid, state=state)


@post("/api/v1/equipment", operation_id="registerEquipment", sync_to_thread=True, tags=["equipment"])
def register_equipment(
    data: JSONBody[EquipmentBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Register a recorder or camera."""
    with transaction(resources.sessions, actor, now) as session:
        owner = None if data.owner_id is None else StaffId(data.owner_id)
        return Made(id=actions.register_equipment(session, actor, BranchId(data.branch_id), data.kind, data.serial, now, owner_id=owner))


@get("/api/v1/equipment", operation_id="listEquipment", sync_to_thread=True, tags=["equipment"])
def list_equipment(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[EquipmentView]:
    """List the recorders and cameras of the actor's branches."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.equipment_page(session, actor, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/equipment/{equipment_id:uuid}/state", operation_id="changeEquipment", status_code=200, sync_to_thread=True, tags=["equipment"])
def change_equipment(
    equipment_id: FromPath[UUID], data: JSONBody[EquipmentEventBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> EquipmentStateView:
    """Withdraw a recorder or camera, or give it back into use."""
    with transaction(resources.sessions, actor, now) as session:
        return EquipmentStateView(id=equipment_id, state=actions.change_equipment(session, actor, equipment_id, data.event, now))


@post("/api/v1/equipment/{equipment_id:uuid}/inspections", operation_id="inspectEquipment", sync_to_thread=True, tags=["equipment"])
def inspect_equipment(
    equipment_id: FromPath[UUID], data: JSONBody[InspectionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Enter an inspection in the register."""
    inspection = Inspection(equipment_id=equipment_id, is_passed=data.is_passed, next_due_on=data.next_due_on, remark=data.remark)
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.inspect_equipment(session, actor, inspection, now))


@put("/api/v1/equipment/{equipment_id:uuid}/assignment", operation_id="assignEquipment", status_code=204, sync_to_thread=True, tags=["equipment"])
def assign_equipment(
    equipment_id: FromPath[UUID], data: JSONBody[AssignmentBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Hand a piece of equipment to an employee for a day."""
    with transaction(resources.sessions, actor, now) as session:
        actions.assign_equipment(session, actor, equipment_id, StaffId(data.staff_id), data.on, now)


ROUTES = [
    ask_enrolment, list_enrolments, grant_enrolment, list_renewals, grant_renewal, change_device, list_equipment,
    register_equipment, change_equipment, inspect_equipment, assign_equipment,
]


def read_kid(text: str) -> str:
    """Read a key id from a path. Raises `NotFound` for what can be none."""
    if len(text) != KID_CHARS or not text.isascii() or not text.isprintable():
        raise NotFound
    return text
