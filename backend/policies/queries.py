"""Which policy is in force."""

from datetime import datetime

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.core.ids import BankId
from backend.policies.model import DEFAULT_POLICY, Policy
from backend.policies.tables import PolicyRow


def policy_in_force(session: Session, bank_id: BankId | None, at: datetime) -> Policy:
    """Return the policy in force at `at`: the bank's own latest, else the agency's latest, else the documented defaults."""
    applies = PolicyRow.bank_id.is_(None) if bank_id is None else or_(PolicyRow.bank_id == bank_id, PolicyRow.bank_id.is_(None))
    rows = session.execute(
        select(PolicyRow.bank_id, PolicyRow.version, PolicyRow.thresholds)
        .where(applies, PolicyRow.valid_from <= at)
        .order_by(PolicyRow.bank_id.is_(None), PolicyRow.valid_from.desc(), PolicyRow.id.desc())
        .limit(1)
    ).first()
    if rows is None:
        return DEFAULT_POLICY
    return msgspec.convert({**rows.thresholds, "version": rows.version}, Policy)


def policy_by_version(session: Session, version: str) -> Policy | None:
    """Return the policy that a stored judgement names, None when there was never such a version."""
    if version == DEFAULT_POLICY.version:
        return DEFAULT_POLICY
    thresholds = session.scalar(select(PolicyRow.thresholds).where(PolicyRow.version == version))
    return None if thresholds is None else msgspec.convert({**thresholds, "version": version}, Policy)
