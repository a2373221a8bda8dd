"""What a signed statement of a kind sets in motion, in the transaction that took it in. Captures and departures are evidence alone."""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from backend.auth.actors import Actor, Role
from backend.cash import actions as cash
from backend.disputes import actions as disputes
from backend.exhibits import actions as exhibits
from backend.exhibits import cosignatures
from backend.exhibits.model import Accepted
from backend.jobs.queue import Task
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.visits import reports as visits
from backend.web.app import Resources
from evidence.facts import Kind

Act = Callable[[Session, Actor, Accepted, Policy, datetime], object]

ACTS: Mapping[Kind, Act] = {
    Kind.CASH_RECEIPT: cash.collect,
    Kind.VOID: cash.void_receipt,
    Kind.DECLARATION: disputes.take_declaration,
    Kind.VISIT_CLOSE: visits.close,
}
"""Called once, when the last signature due has come."""

WAITING_ACTS: Mapping[Kind, Act] = {
    Kind.DECLARATION: disputes.hear_declaration,
}
"""Called once, when a statement has come whose second signature is still due: a denial in writing suspends at once (DECL-01)."""
LAPSED_ACTS: Mapping[Kind, Act] = {
    Kind.CASH_RECEIPT: cash.collect,
    Kind.DECLARATION: disputes.take_declaration,
}
"""Called once, when it is certain that a signature due will not come: money taken is booked under an exception number (design decision 7), and
what a cardholder declared is kept."""

LAPSE = "evidence.lapse-cosignature"
LAPSES_PER_CALL_MAX = 20


def act_on(session: Session, actor: Actor, keyring: Keyring, accepted: Accepted, policy: Policy, now: datetime) -> object:
    """Do what a statement that was just taken in sets in motion; None for evidence alone and for a re-send."""
    if accepted.is_lapsed_now:
        return _on_lapse(session, actor, accepted, policy, now)
    if not accepted.is_completed_now:
        act = WAITING_ACTS.get(accepted.manifest.kind) if accepted.is_new else None
        return act(session, actor, accepted, policy, now) if act is not None else None
    if accepted.manifest.kind is Kind.COSIGN_REFUSAL:
        visits.note_refusal(session, actor, keyring, accepted, now)
        ended = exhibits.refuse_cosignature(session, actor, accepted, now)
        return _on_lapse(session, actor, ended, policy, now) if ended is not None else None
    act = ACTS.get(accepted.manifest.kind)
    return act(session, actor, accepted, policy, now) if act is not None else None


def overdue_task(resources: Resources) -> Task:
    """Return the task that ends waits for signatures past their term; its `unfinished` finds them from domain state."""
    def run(manifest_id: UUID) -> None:
        lapse(resources, manifest_id, resources.clock())

    def unfinished() -> tuple[UUID, ...]:
        with resources.reads() as session:
            return cosignatures.overdue(session, resources.clock())

    return Task(name=LAPSE, run=run, unfinished=unfinished, abandon=lambda _manifest_id: None)


def lapse(resources: Resources, manifest_id: UUID, now: datetime) -> bool:
    """End one statement's wait if its term is over, and do what that sets in motion; False when there was nothing to end."""
    with resources.sessions.begin() as session:
        ended = exhibits.lapse(session, manifest_id, now)
        if ended is None:
            return False
        branches = frozenset({ended.branch_id} if ended.branch_id is not None else ())
        # Nobody acts but the clock; what follows is entered to the collector whose statement it is.
        actor = Actor(id=ended.staff_id, roles=frozenset({Role.FIELD_COLLECTOR}), branches=branches, bank=None, device=ended.device)
        _on_lapse(session, actor, ended, policy_in_force(session, ended.bank_id, ended.captured_at), now)
    return True


def hand_over_overdue(resources: Resources, now: datetime) -> None:
    """Queue what is overdue; called when phones sync, so that no wait depends on a sweep alone."""
    if resources.queue is None:
        return
    with resources.reads() as session:
        found = cosignatures.overdue(session, now, LAPSES_PER_CALL_MAX)
    for manifest_id in found:
        resources.queue.put(LAPSE, manifest_id)


def _on_lapse(session: Session, actor: Actor, accepted: Accepted, policy: Policy, now: datetime) -> object:
    visits.list_lapse(session, actor, accepted, now)
    act = LAPSED_ACTS.get(accepted.manifest.kind)
    return act(session, actor, accepted, policy, now) if act is not None else None
