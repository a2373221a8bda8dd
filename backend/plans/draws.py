"""An unannounced exchange of partners that nobody chooses: committed when a plan is ordered, drawn when it is solved, revealed when published.

The commitment stands in the audit entry of the order, before anybody knows the plan; the seed in that of the publication. Whoever has both, the
day and the plan as it was solved makes the draw again (`routing.swap`). Exclusions, credentials and rotation bar an exchange as they bar a pair.
"""

import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import PlanId
from backend.core.problems import NotFound
from backend.plans.queries import visible_to
from backend.plans.tables import PlanDrawRow, PlanRow
from backend.policies.model import Policy
from routing import Instance, Plan, TravelMatrix, encode_plan, load_instance
from routing.swap import SEED_BYTES, commit, draw, load_document, verify_swap


class DrawView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan's draw (chance 0: there is none): chance and commitment from the order on.

    Seed and outcome (`document`, a `pair-swap/1`) and the plan before it (`base`) once published.
    """

    chance_pct: int
    commitment: str | None
    revealed_at: datetime | None
    document: dict[str, Any] | None
    base: dict[str, Any] | None


def commit_draw(session: Session, plan: PlanRow, policy: Policy) -> str | None:
    """Draw the bytes for a plan just ordered and return their commitment; None where the policy wants no draws."""
    if not policy.pair_swap_pct:
        return None
    seed = secrets.token_bytes(SEED_BYTES)
    commitment = commit(seed, str(plan.id), load_instance(plan.instance), policy.pair_swap_pct)
    session.add(PlanDrawRow(plan_id=plan.id, chance_pct=policy.pair_swap_pct, commitment=commitment, seed=seed.hex()))
    session.flush()
    return commitment


def make_draw(session: Session, plan_id: UUID, instance: Instance, plan: Plan, matrix: TravelMatrix | None) -> Plan:
    """Return the plan after its draw, which is the given one unless partners change. It follows from the committed bytes and the plan alone."""
    row = session.get(PlanDrawRow, plan_id, with_for_update=True)
    if row is None:
        return plan
    drawn = draw(bytes.fromhex(row.seed), str(plan_id), instance, plan, chance_pct=row.chance_pct, matrix=matrix, is_asked=not instance.progress)
    row.document, row.base = msgspec.to_builtins(drawn.document), msgspec.json.decode(encode_plan(plan))
    session.flush()
    return drawn.plan


def reveal(session: Session, plan_id: UUID, now: datetime) -> tuple[str | None, str | None]:
    """Open the draw of a plan that is being published; returns seed and outcome for the audit, both None where there was no draw."""
    row = session.get(PlanDrawRow, plan_id, with_for_update=True)
    if row is None or row.document is None:
        return None, None
    document = load_document(row.document)
    assert verify_swap(document, row.commitment) == ()
    row.revealed_at = now
    session.flush()
    return row.seed, document.outcome


def solved_before(session: Session, plan_id: UUID) -> dict[str, Any] | None:
    """Return the plan as it was solved, before its draw; None where there was none."""
    return session.scalar(select(PlanDrawRow.base).where(PlanDrawRow.plan_id == plan_id))


def read_draw(session: Session, actor: Actor, plan_id: PlanId) -> DrawView:
    """Return a plan's draw; what it decided only once the plan is published.

    Raises:
        Forbidden: the actor reads no plans.
        NotFound: not a plan of the actor's branches.
    """
    authorise(actor, Permission.PLAN_READ)
    if session.scalar(select(PlanRow.id).where(PlanRow.id == plan_id, visible_to(actor))) is None:
        raise NotFound
    row = session.get(PlanDrawRow, plan_id)
    if row is None:
        return DrawView(chance_pct=0, commitment=None, revealed_at=None, document=None, base=None)
    is_open = row.revealed_at is not None
    return DrawView(
        chance_pct=row.chance_pct, commitment=row.commitment, revealed_at=row.revealed_at, document=row.document if is_open else None,
        base=row.base if is_open else None,
    )
