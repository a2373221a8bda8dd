"""`fieldvisit import | plan | export | audit …`: daily work without a browser, by a named person's rights."""

import time
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from backend.archive.scopes import AskScope, scope_of, tokens_for
from backend.audit import rows, stamps
from backend.audit import verify as chains
from backend.banks import queries as banks
from backend.cases import batches
from backend.cases.layout import Acceptance, BatchResult, ImportPlacement
from backend.cli.app import clock_of
from backend.cli.people import actor_named, opened
from backend.core.fen import Fen
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.settings import Settings
from backend.exhibits import commands as exhibits
from backend.exhibits import exports
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import ScopeKind
from backend.exhibits.exports import PackView
from backend.exhibits.stores import open_store
from backend.plans import actions as plans
from backend.plans import queries as plan_queries
from backend.plans.model import OrderPlan, PlanStatus
from backend.plans.tasks import SOLVE, tasks
from backend.plans.travel import config_of
from backend.staff import queries as staff
from backend.web.app import log_origin
from backend.web.transaction import transaction

_Choice = TypeVar("_Choice", bound=StrEnum)


class PlacementAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the bank declared about a placement file."""

    bank: str
    number: str
    rows: int
    amount_fen: int
    as_of: str
    branch: str
    is_good_enough: bool


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How long and from which seed to search."""

    seconds: int
    seed: int


class PackAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which pack, where it goes, what for, and where its verifier's public keys go. `days` is `FROM..TO`, both included."""

    out: Path
    purpose: str
    trust: Path | None
    visit: str = ""
    case: str = ""
    batch: str = ""
    days: str = ""
    bank: str = ""
    unmask: str = ""
    since: int | None = None


def verify(settings: Settings) -> tuple[list[tuple[str, int]], list[str], list[str]]:
    """Check chains, log, checkpoints and stored evidence; returns what was counted, every fault, and what is told without being one."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, keyring), sessions() as session:
        report = chains.verify(session, keyring, log_origin(settings), with_rows=True)
        pinned, lists = stamps.read_pinned(settings.tsa_certificates_file), stamps.read_revoked(settings.tsa_crl_file, now)
        number, faults, told = stamps.verify(session, pinned, lists)
        stored = exhibits.verify_store(session, keyring, open_store(settings), settings.tenant)
    counted = [("audit entries", report.entries), ("chains", report.chains), ("log entries", report.log_size), ("checkpoints", report.checkpoints),
               ("rows", report.rows), ("time-stamps", number), ("evidence items", stored.items)]
    found = [f"{fault.subject}: {fault.code}" for fault in (*report.faults, *faults, *stored.faults)]
    return counted, found, [f"{one.subject}: {one.code}" for one in told]


def anchor(settings: Settings) -> bool:
    """Log the heads of the audit chains; False when none moved."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, _), transaction(sessions, None, now) as session:
        return chains.anchor(session, now)


def stamp(settings: Settings) -> int | None:
    """Have the log time-stamped now; returns the size, None when nothing has been added since the last stamp."""
    from backend.audit.authority import configured

    asking = configured(settings)
    with opened(settings) as (sessions, _):
        return stamps.stamp(sessions, asking, clock_of(settings)(), is_forced=True)


def adopt(settings: Settings) -> int:
    """Commit the rows from before the log spoke for rows, as they stand; returns how many."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, _), transaction(sessions, None, now) as session:
        return rows.adopt(session, now)


def import_placement(settings: Settings, file: Path, asked: PlacementAsked, acting: str) -> BatchResult:
    """Import a placement file under the bank's newest profile."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, keyring), transaction(sessions, None, now) as session:
        actor = actor_named(session, acting)
        bank = banks.bank_by_code(session, actor, asked.bank)
        command = ImportPlacement(
            bank_id=bank.id, profile_id=banks.newest_profile(session, bank.id).id, branch_id=_branch(session, actor, asked.branch),
            number=asked.number, content=file.read_bytes(), as_of_on=_day(asked.as_of), row_count=asked.rows, amount_total_fen=Fen(asked.amount_fen),
            acceptance=Acceptance.ACCEPT_GOOD if asked.is_good_enough else Acceptance.ALL_OR_NOTHING,
        )
        return batches.import_placement(session, actor, keyring, command, now)


def plan_day(settings: Settings, branch: str, on: str, search: Search, acting: str) -> str:
    """Order a plan, solve it here and describe it."""
    clock = clock_of(settings)
    with opened(settings) as (sessions, _):
        with transaction(sessions, None, clock()) as session:
            actor = actor_named(session, acting)
            command = OrderPlan(branch_id=_branch(session, actor, branch), on=_day(on), search_s=search.seconds, seed=search.seed)
            ordered = plans.order(session, actor, command, clock())
        started = time.monotonic()
        next(task for task in tasks(sessions, clock, travel=config_of(settings)) if task.name == SOLVE).run(ordered.id)
        with sessions() as session:
            made = plan_queries.plan(session, actor, ordered.id)
    if made.summary.status is not PlanStatus.READY:
        raise Conflict(reason=made.summary.status.value)
    took_s = time.monotonic() - started
    lines = [f"plan {ordered.id}, version {ordered.version}: {len(made.routes)} routes, {len(made.unserved)} unserved, {took_s:.1f} s"]
    used = made.travel or {}
    lines += [f"  travel times: {used.get('provider')}, {used.get('data_set')}" + (f" ({used['failure']})" if used.get("failure") else "")]
    lines += [f"  {route.number}. {route.collector_a} + {route.collector_b}: {len(route.stops)} stops" for route in made.routes]
    lines += [f"  unserved {left.request_id}: {left.text_en}" for left in made.unserved]
    return "\n".join(lines)


def export(settings: Settings, asked: PackAsked, acting: str) -> PackView:
    """Write a pack, and the trust file beside it when asked; returns its entry of the register."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, keyring):
        place = exports.place_of(open_store(settings), settings, log_origin(settings))
        with sessions() as session:
            actor = actor_named(session, acting)
            scope = scope_of(session, actor, _scope(session, actor, asked))
        request = exports.PackRequest(
            scope=scope, purpose=_choice(CopyPurpose, asked.purpose), known_size=asked.since, authorisations=tokens_for,
            unmask=_choice(UnmaskPurpose, asked.unmask) if asked.unmask else None)
        made = exports.export(lambda: transaction(sessions, actor, now), actor, keyring, place, (request, now))
        with transaction(sessions, actor, now) as session:
            pack = exports.open_pack(session, actor, keyring, place, made.id)
            exports.record_fetch(session, actor, made, (0, made.size), now)
            if asked.trust is not None:
                asked.trust.write_bytes(exhibits.trust(session, keyring, log_origin(settings), made.bank_id))
        with asked.out.open("wb") as out:
            out.writelines(pack.chunks(0, made.size))
    return made


def _scope(session: Any, actor: Any, asked: PackAsked) -> AskScope:
    named = [(kind, value) for kind, value in ((ScopeKind.VISIT, asked.visit), (ScopeKind.CASE, asked.case), (ScopeKind.BATCH, asked.batch)) if value]
    if len(named) + bool(asked.days) != 1:
        raise InvalidInput(expected="one of VISIT, --case, --batch, --days", got=str(len(named) + bool(asked.days)))
    if named:
        return AskScope(kind=named[0][0], id=_id(named[0][1]))
    first, _, last = asked.days.partition("..")
    bank_id = banks.bank_by_code(session, actor, asked.bank).id if asked.bank else None
    return AskScope(kind=ScopeKind.PERIOD, bank_id=bank_id, from_on=_day(first), to_on=_day(last or first))


def _choice(kind: type[_Choice], text: str) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(expected=" | ".join(sorted(kind)), got=text) from None


def _branch(session: Any, actor: Any, code: str) -> Any:
    for branch in staff.branches(session, actor):
        if branch.code == code:
            return branch.id
    raise NotFound(branch=code)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(expected="YYYY-MM-DD", got=text) from None


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(expected="an id", got=text) from None
