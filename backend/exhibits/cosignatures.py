"""The wait for a partner's signature and its ends: signed, refused, due to nobody, past its term. None of them loses the statement.

A statement of a kind that two must sign waits until its term (`cosign_due_at`, from receipt). What ends the wait without a
signature is a breach that the supervisor sees; a signature that comes after all still completes the statement.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.exhibits.findings import add_findings, restand
from backend.exhibits.model import Accepted, ManifestState
from backend.exhibits.tables import CosignRefusalRow, ManifestRow, SignatureRow
from evidence.envelope import COSIGNED_KINDS
from evidence.facts import CosignRefusalFacts
from evidence.model import Finding, Grade

OVERDUE_MAX = 1_000


def settle(session: Session, row: ManifestRow, now: datetime) -> None:
    """Set a statement's state by the signatures held: complete, still waiting, or waiting for what can never come."""
    kids = set(session.scalars(select(SignatureRow.kid).where(SignatureRow.manifest_id == row.id)))
    is_due_twice = row.cosigner_device is not None or row.kind in COSIGNED_KINDS
    if row.device in kids and len(kids) >= (2 if is_due_twice else 1):
        if row.state is not ManifestState.COMPLETE:
            row.state, row.completed_at, row.cosign_due_at = ManifestState.COMPLETE, now, None
        return
    if row.state is not ManifestState.AWAITING_COSIGNATURE:
        return
    if row.cosigner_device is None:
        # Nobody is named who could sign: `cosignature-missing` is found already, and there is nothing to wait for (VIS-01).
        row.state, row.cosign_due_at = ManifestState.LAPSED, None
        return
    refusal = session.scalars(select(CosignRefusalRow).where(
        CosignRefusalRow.refused_sha256 == row.digest, CosignRefusalRow.refused_by == row.cosigner_id)).first()
    if refusal is not None:
        end_wait(session, row, "cosignature-refused", "the partner's signature", now, got=refusal.reason.value)


def end_wait(session: Session, row: ManifestRow, name: str, expected: str, now: datetime, *, got: str = "none") -> None:
    """End the wait with a breach of VIS-01 that says why."""
    row.state, row.cosign_due_at = ManifestState.LAPSED, None
    add_findings(session, row, (_found(name, Grade.DOUBT, expected, got, "/cosigner"),), now)
    restand(session, row)


def link(session: Session, accepted: Accepted, now: datetime) -> ManifestRow | None:
    """Store a refusal beside the statement it refuses; returns that statement if the refusal ended its wait."""
    facts = accepted.manifest.facts
    assert isinstance(facts, CosignRefusalFacts), accepted.manifest.kind
    session.add(CosignRefusalRow(
        manifest_id=accepted.manifest_id, refused_sha256=facts.manifest, refused_by=accepted.staff_id, reason=facts.reason, at=now))
    session.flush()
    own = session.get_one(ManifestRow, accepted.manifest_id)
    query = select(ManifestRow).where(ManifestRow.digest == facts.manifest)
    row = session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()
    if row is None:
        found = _found("refused-statement-not-here", Grade.INFO, "the statement refused", "not yet here", "/facts/manifest")
        add_findings(session, own, (found,), now)
        return None
    if row.cosigner_id != accepted.staff_id:
        found = _found("refusal-not-cosigners", Grade.DOUBT, "a refusal by the partner named", "somebody else", "/facts/manifest")
        add_findings(session, own, (found,), now)
        restand(session, own)
        return None
    if row.state is ManifestState.COMPLETE:
        # Signed and refused by one person: both statements stand, and somebody asks them.
        add_findings(session, row, (_found("cosignature-withdrawn", Grade.DOUBT, "a signature", facts.reason.value, "/cosigner"),), now)
        restand(session, row)
        return None
    if row.state is ManifestState.LAPSED:
        return None
    end_wait(session, row, "cosignature-refused", "the partner's signature", now, got=facts.reason.value)
    return row


def overdue(session: Session, now: datetime, limit: int = OVERDUE_MAX) -> tuple[UUID, ...]:
    """Return the statements whose wait for a signature is past its term, longest first."""
    query = select(ManifestRow.id).where(ManifestRow.state == ManifestState.AWAITING_COSIGNATURE, ManifestRow.cosign_due_at <= now)
    return tuple(session.scalars(query.order_by(ManifestRow.cosign_due_at).limit(limit)))


def _found(name: str, grade: Grade, expected: str, got: str, pointer: str) -> Finding:
    return Finding(name=name, grade=grade, rules=("VIS-01",), pointer=pointer, expected=expected, got=got)
