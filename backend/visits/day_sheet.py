"""The paper that a pair takes along: its order of stops, windows, doors, deposits and breaks. It may be lost, so it says less than the phone.

Neither bank nor amount stands on it (F08: nothing of either before the right party is confirmed), and of a name only its first character.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.hours import OfficeOn, office_on
from backend.cases.identity import masked_name
from backend.cases.model import GenderRule
from backend.cases.queries import load_keys
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.core.i18n import language_name
from backend.core.ids import PlanId, StaffId
from backend.core.problems import Conflict, NotFound
from backend.documents.fonts import missing_characters
from backend.documents.typeset import typeset
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.plans import queries as plans
from backend.plans.model import PlanStatus, PlanView, RouteView, StopKind, StopView
from backend.requests.tables import VisitRequestRow
from backend.staff import queries as staff
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow

TEMPLATE = "day_sheet.typ"
CODE_LENGTH = 12
_GENDERS = {GenderRule.FEMALE_PRESENT: "须有女性 A woman present", GenderRule.MIXED: "须一男一女 A woman and a man"}


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """What a pair must know at a door. `window` is when service may start, in seconds since local midnight."""

    visit_id: UUID
    debtor: str
    address: str
    safety_note: str | None
    language: str
    gender_rule: GenderRule
    window: tuple[int, int]


class SheetStop(msgspec.Struct, frozen=True, kw_only=True):
    """One stop; a visit that is withdrawn keeps its place and nothing personal."""

    stop: StopView
    door: Door | None
    office: OfficeOn | None
    withdrawn: str | None


class DaySheet(msgspec.Struct, frozen=True, kw_only=True):
    """A pair's day on paper. Only whoever has the house's key can make `code`; the console shows it beside the same route and version."""

    plan: PlanView
    route: RouteView
    names: Mapping[StaffId, str]
    branch_zh: str
    branch_en: str
    timezone: str
    stops: tuple[SheetStop, ...]
    code: str
    read_at: datetime


def day_sheet(session: Session, actor: Actor, keyring: Keyring, which: tuple[PlanId, int], now: datetime) -> DaySheet:
    """Return one pair's sheet of a published plan; the read is recorded with every case shown (SEC-01).

    Raises:
        Forbidden: the actor publishes no plans.
        NotFound: not a plan of the actor's branches, or it has no such route.
        Conflict: the plan is not the published one.
    """
    authorise(actor, Permission.PLAN_PUBLISH)
    plan_id, number = which
    plan = plans.plan(session, actor, plan_id)
    route = next((one for one in plan.routes if one.number == number), None)
    if route is None:
        raise NotFound
    if plan.summary.status is not PlanStatus.PUBLISHED:
        raise Conflict(reason="not-the-published-plan")
    branch = staff.branch(session, plan.summary.branch_id)
    doors, gone = _doors(session, actor, keyring, route, now)
    wanted = {stop.office_id for stop in route.stops if stop.office_id is not None}
    offices = {one: office_on(session, one, plan.summary.on) for one in sorted(wanted)}
    secret = keyring.salt_of(f"day-sheet {plan.summary.id} {plan.plan_digest} {route.id}")
    return DaySheet(
        plan=plan, route=route, names=staff.names_of(session, {route.collector_a, route.collector_b}), branch_zh=branch.name_zh,
        branch_en=branch.name_en, timezone=branch.timezone, code=secret[:CODE_LENGTH].upper(), read_at=now,
        stops=tuple(
            SheetStop(
                stop=stop, door=doors.get(stop.visit_id) if stop.visit_id else None, office=offices.get(stop.office_id) if stop.office_id else None,
                withdrawn=gone.get(stop.visit_id) if stop.visit_id else None,
            ) for stop in route.stops
        ),
    )


def sheet_pdf(sheet: DaySheet) -> bytes:
    """Set a sheet as PDF, in both languages on one paper. A character that the font lacks is written by its number."""
    zone = ZoneInfo(sheet.timezone)

    def at(moment: datetime) -> str:
        return moment.astimezone(zone).strftime("%H:%M")

    return typeset(TEMPLATE, {
        "on": sheet.plan.summary.on.isoformat(), "version": str(sheet.plan.summary.version), "number": str(sheet.route.number),
        "branch": _shown(f"{sheet.branch_zh} {sheet.branch_en}"), "departure": at(sheet.route.departure_at), "back": at(sheet.route.return_at),
        "pair": [_shown(sheet.names.get(one, "")) for one in (sheet.route.collector_a, sheet.route.collector_b)],
        "printed": sheet.read_at.astimezone(zone).strftime("%Y-%m-%d %H:%M"), "code": sheet.code, "stops": [_printed(one, at) for one in sheet.stops],
    }, sheet.read_at)


def clock(seconds: int) -> str:
    """Write seconds since midnight as a time of day."""
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}"


def _doors(session: Session, actor: Actor, keyring: Keyring, route: RouteView, now: datetime) -> tuple[dict[UUID, Door], dict[UUID, str]]:
    """Return the doors of the visits that still stand, and why the others do not."""
    wanted = [stop.visit_id for stop in route.stops if stop.visit_id is not None]
    visits = {row.id: row for row in session.scalars(select(VisitRow).where(VisitRow.id.in_(wanted)))}
    cancelled = {key for key, row in visits.items() if row.status is VisitStatus.CANCELLED}
    gone = {stop.visit_id: stop.withdrawn or "cancelled" for stop in route.stops if stop.visit_id and (stop.withdrawn or stop.visit_id in cancelled)}
    standing = [row for key, row in visits.items() if key not in gone]
    cases = {row.id: row for row in session.scalars(select(CaseRow).where(CaseRow.id.in_([row.case_id for row in standing])))}
    addresses = {
        row.id: row for row in session.scalars(select(CaseAddressRow).where(CaseAddressRow.id.in_([row.address_id for row in standing])))
    }
    requests = {row.id: row for row in session.scalars(select(VisitRequestRow).where(VisitRequestRow.id.in_([row.request_id for row in standing])))}
    held = load_keys(session, list(cases))
    assert len(held) == len(cases)
    record_read(session, actor, cases, now, "day-sheet")
    found: dict[UUID, Door] = {}
    for row in standing:
        case, address, request, box = cases[row.case_id], addresses[row.address_id], requests[row.request_id], sealer(session, keyring, row.case_id)
        found[row.id] = Door(
            visit_id=row.id, debtor=masked_name(box.open("cases.name", case.name)), address=box.open("case_addresses.street", address.street),
            safety_note=None if address.safety_note is None else box.open("case_addresses.safety_note", address.safety_note),
            language=case.language, gender_rule=case.gender_rule, window=(request.window_from_s, request.window_to_s),
        )
    return found, {UUID(str(key)): reason for key, reason in gone.items()}


def _printed(one: SheetStop, at: Callable[[datetime], str]) -> dict[str, str]:
    stop, door, office = one.stop, one.door, one.office
    told = {
        "position": str(stop.position), "arrives": at(stop.arrives_at), "time": f"{at(stop.starts_at)}–{at(stop.ends_at)}",
        "kind": stop.kind.value, "title": "", "detail": "", "care": "",
    }
    if stop.kind is StopKind.PAUSE:
        return told | {"title": "休息 Break"}
    if office is not None:
        hours = "—" if office.opens_s is None or office.closes_s is None else f"{clock(office.opens_s)}–{clock(office.closes_s)}"
        return told | {"title": _shown(f"存款 Deposit · {office.name}"), "detail": f"营业时间 Open {hours}"}
    if door is None:
        return told | {"kind": "withdrawn", "title": "已撤回，不得前往 Withdrawn, do not go"}
    tongue = f"{language_name(door.language, 'zh-Hans')} {language_name(door.language, 'en')}"
    detail = f"可开始时间 May start {clock(door.window[0])}–{clock(door.window[1])} · 语言 Language {tongue}"
    if door.gender_rule in _GENDERS:
        detail += f" · {_GENDERS[door.gender_rule]}"
    return told | {"title": _shown(f"{door.debtor} · {door.address}"), "detail": detail, "care": _shown(door.safety_note or "")}


def _shown(text: str) -> str:
    """Keep a rare character legible where the font has no picture of it."""
    missing = set(missing_characters(text))
    return "".join(f"U+{ord(one):04X}" if one in missing else one for one in text)
