"""Deciding about statements in doubt or quarantine: one supervisor for a doubt, two people for a quarantine, never the signers."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import ManifestId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.exhibits.findings import restand
from backend.exhibits.model import Standing, Verdict
from backend.exhibits.queries import visible_to
from backend.exhibits.refusals import NotReviewable
from backend.exhibits.tables import ManifestRow, ReviewRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from evidence.canonical import canonicalise


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """One person's verdict on one statement, with the reason."""

    manifest_id: ManifestId
    verdict: Verdict
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


def decide(session: Session, actor: Actor, keyring: Keyring, command: Decide, now: datetime) -> Standing:
    """Record a verdict and return how the statement stands then. A release counts only while nobody upholds.

    Raises:
        Forbidden: not a reviewer of the agency.
        NotFound: not the actor's.
        NotReviewable: nothing is in doubt, the actor signed it, or has decided already.
    """
    authorise(actor, Permission.VISIT_REVIEW)
    if actor.bank is not None:
        raise Forbidden(reason="a bank's person comments in the visit's review")
    query = select(ManifestRow).where(ManifestRow.id == command.manifest_id, visible_to(actor)).with_for_update()
    row = session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()
    if row is None:
        raise NotFound
    reviewers = set(session.scalars(select(ReviewRow.reviewer_id).where(ReviewRow.manifest_id == row.id)))
    if row.standing is Standing.ACCEPTED or actor.id in reviewers or actor.id in (row.staff_id, row.cosigner_id):
        raise NotReviewable(standing=row.standing.value)
    stated = {"manifest_sha256": row.digest, "reviewer": str(actor.id), "verdict": command.verdict.value}
    entry_id = log.append(session, "review", canonicalise(dict(stated)), now)
    session.add(ReviewRow(
        id=new_id(), manifest_id=row.id, reviewer_id=actor.id, verdict=command.verdict, at=now, log_entry_id=entry_id,
        reason=sealer(session, keyring, row.seal_subject).seal("evidence_reviews.reason", command.reason)))
    session.flush()
    restand(session, row)
    record(session, actor, EventTag.VISIT_REVIEWED, f"manifest:{row.id}", now, verdict=command.verdict.value, standing=row.standing.value)
    return row.standing
