"""Append to the audit chain, in the transaction of the act."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow, AuditHeadRow, AuditReadRow
from backend.auth.actors import Actor
from backend.core.ids import new_id
from evidence.canonical import canonicalise

CHAIN_START = bytes(32)
ACTED_AT = "acted-at"       # Key of `Session.info`: when the act of this transaction happened.


def record(
    session: Session, actor: Actor | None, tag: EventTag, subject: str, now: datetime, *, policy_version: str | None = None, **details: Any
) -> UUID:
    """Append one entry to the chain of `subject` (`case:<uuid>`, `visit:<uuid>` …) and return its id.

    `details` hold ids, codes and numbers only: never names, document numbers, texts or coordinates. UUIDs are written as text.
    """
    session.info[ACTED_AT] = now
    head = _locked_head(session, subject)
    entry_id = new_id()
    plain = {name: _plain(value) for name, value in details.items()}
    actor_id = actor.id if actor else None
    seq = head.seq + 1
    digest = entry_digest(
        {"id": str(entry_id), "subject": subject, "seq": seq, "tag": tag.value, "actor": str(actor_id) if actor_id else None,
         "at_us": _microseconds(now), "policy": policy_version, "details": plain}, head.digest,
    )
    session.add(AuditEntryRow(
        id=entry_id, subject=subject, seq=seq, tag=tag.value, actor_id=actor_id, at=now, policy_version=policy_version, details=plain,
        previous=head.digest, digest=digest,
    ))
    head.seq, head.digest = seq, digest
    session.flush()
    return entry_id


def record_read(session: Session, actor: Actor, subject_ids: Iterable[UUID], now: datetime, purpose: str) -> UUID | None:
    """Record that `actor` was shown these subjects' personal data: one entry per page (SEC-01). Nothing shown, nothing recorded."""
    shown = sorted(set(subject_ids))
    if not shown:
        return None
    entry_id = record(session, actor, EventTag.READ, f"staff:{actor.id}", now, purpose=purpose, shown=[str(one) for one in shown])
    session.add_all(AuditReadRow(entry_id=entry_id, subject_id=one) for one in shown)
    session.flush()
    return entry_id


def entry_digest(entry: dict[str, Any], previous: bytes) -> bytes:
    """Return SHA-256 over the previous digest and the canonical JSON of an entry."""
    return hashlib.sha256(previous + canonicalise(entry)).digest()


def chained(row: AuditEntryRow) -> dict[str, Any]:
    """Return what an entry's digest covers, as it was hashed."""
    return {"id": str(row.id), "subject": row.subject, "seq": row.seq, "tag": row.tag, "actor": str(row.actor_id) if row.actor_id else None,
            "at_us": _microseconds(row.at), "policy": row.policy_version, "details": row.details}


def _locked_head(session: Session, subject: str) -> AuditHeadRow:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(AuditHeadRow).values(subject=subject, seq=0, digest=CHAIN_START).on_conflict_do_nothing(index_elements=["subject"]))
    query = select(AuditHeadRow).where(AuditHeadRow.subject == subject).with_for_update().execution_options(populate_existing=True)
    return session.execute(query).scalar_one()


def _microseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return _microseconds(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value
