"""Breaches stored beside facts that already happened: judged, shown, never in the way (F23)."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.tables import BreachRow
from backend.core.ids import new_id
from backend.core.rulebook import Breach, Rule


def store(session: Session, subject: str, breaches: tuple[Breach, ...], now: datetime, policy_version: str | None = None) -> None:
    """Store `breaches` of the fact `subject` (`visit:<uuid>`, `collection:<uuid>` …)."""
    session.add_all(
        BreachRow(id=new_id(), subject=subject, rule=breach.rule.value, code=breach.code, expected=breach.expected[:400], got=breach.got[:400],
                  judged_at=now, policy_version=policy_version)
        for breach in breaches
    )
    session.flush()


def breaches_of(session: Session, subject: str) -> tuple[Breach, ...]:
    """Return the stored breaches of `subject`, in rulebook order."""
    rows = session.scalars(select(BreachRow).where(BreachRow.subject == subject).order_by(BreachRow.rule, BreachRow.code, BreachRow.id))
    return tuple(Breach(rule=Rule(row.rule), code=row.code, expected=row.expected, got=row.got) for row in rows)
