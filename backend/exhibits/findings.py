"""What was found about statements: appended, never taken back; the standing follows from what is there."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.core.ids import new_id
from backend.exhibits.model import Verdict, standing_of
from backend.exhibits.tables import FindingRow, ItemRow, ManifestRow, ReviewRow
from evidence.model import Finding, Grade


def add_findings(session: Session, row: ManifestRow, found: Iterable[Finding], now: datetime, *, item_key: UUID | None = None) -> None:
    """Append what is not there yet and let the statement's standing follow."""
    held = set(findings_of(session, row.id))
    new = [finding for finding in dict.fromkeys(found) if finding not in held]
    session.add_all(
        FindingRow(
            id=new_id(), manifest_id=row.id, item_key=item_key, grade=finding.grade, code=finding.name, at=now, policy_version=row.policy_version,
            params={"rules": list(finding.rules), "pointer": finding.pointer, "expected": finding.expected, "got": finding.got})
        for finding in new
    )
    session.flush()
    if new:
        restand(session, row)


def findings_of(session: Session, manifest_id: UUID, *, after: datetime | None = None) -> tuple[Finding, ...]:
    """Return what was found about a statement, oldest first; only what was found after an instant, if one is given."""
    query = select(FindingRow).where(FindingRow.manifest_id == manifest_id).order_by(FindingRow.id)
    if after is not None:
        query = query.where(FindingRow.at > after)
    return tuple(
        Finding(name=row.code, grade=row.grade, rules=tuple(row.params["rules"]), pointer=row.params["pointer"],
                expected=row.params["expected"], got=row.params["got"])
        for row in session.scalars(query)
    )


def restand(session: Session, row: ManifestRow) -> None:
    """Set a statement's standing by what was found since reviewers last released it."""
    row.standing = standing_of(findings_of(session, row.id, after=released_at(session, row)))
    session.flush()


def released_at(session: Session, row: ManifestRow) -> datetime | None:
    """Return when reviewers released a statement, None when they did not: two for a quarantine, one for less.

    A word given before the last sign of fraud was found does not count towards its release: who gave it had not seen the sign.
    """
    reviews = session.scalars(select(ReviewRow).where(ReviewRow.manifest_id == row.id).order_by(ReviewRow.at)).all()
    releases = [review.at for review in reviews if review.verdict is Verdict.RELEASE]
    if not releases or len(releases) < len(reviews):
        return None
    accused_at = session.scalar(select(func.max(FindingRow.at)).where(FindingRow.manifest_id == row.id, FindingRow.grade == Grade.FRAUD_SIGN))
    if accused_at is None:
        return releases[-1]
    informed = [at for at in releases if at >= accused_at]
    return informed[-1] if len(informed) >= 2 else None


def items_waiting(session: Session, manifest_id: UUID) -> int:
    """Return how many declared items have not arrived."""
    return session.scalar(select(func.count()).where(ItemRow.manifest_id == manifest_id, ItemRow.stored_at.is_(None))) or 0
