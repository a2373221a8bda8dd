"""Check the audit chains and the transparency log against themselves and each other. Names every fault, mends none."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit import log, rows, witnesses
from backend.audit.fault import Fault
from backend.audit.record import CHAIN_START, chained, entry_digest
from backend.audit.tables import AuditAnchorRow, AuditEntryRow, AuditHeadRow, LogCheckpointRow, LogEntryRow, LogNodeRow
from backend.keys.keyring import Keyring
from evidence import merkle, translog
from evidence.canonical import JsonValue, canonicalise, sha256_hex
from evidence.errors import LogProofInvalid

OVERLAP = timedelta(days=1)


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and what was found."""

    entries: int
    chains: int
    log_size: int
    checkpoints: int
    rows: int = 0
    faults: tuple[Fault, ...]


def anchor(session: Session, now: datetime) -> bool:
    """Log the heads of all chains that moved since the last anchor; False when none did.

    Only anchors and entries since a day before the last anchor are read: a transaction that takes longer than that does not exist, and
    what a year has anchored is not read again each hour.
    """
    last = session.scalar(select(func.max(AuditAnchorRow.at)))
    query = select(AuditHeadRow).order_by(AuditHeadRow.subject)
    latest: dict[str, int] = {}
    if last is not None:
        since = last - OVERLAP
        for heads in session.scalars(select(AuditAnchorRow.heads).where(AuditAnchorRow.at >= since).order_by(AuditAnchorRow.at)):
            latest.update({subject: seq for subject, seq, _ in heads})
        is_newest = (AuditEntryRow.subject == AuditHeadRow.subject) & (AuditEntryRow.seq == AuditHeadRow.seq)
        query = query.join(AuditEntryRow, is_newest).where(AuditEntryRow.at >= since)
    moved: list[JsonValue] = [
        [row.subject, row.seq, row.digest.hex()] for row in session.scalars(query) if row.seq > latest.get(row.subject, 0)]
    if not moved:
        return False
    entry_id = log.append(session, "audit-anchor", canonicalise({"heads": moved}), now)
    session.add(AuditAnchorRow(log_entry_id=entry_id, heads=moved, at=now))
    session.flush()
    return True


def verify(session: Session, keyring: Keyring, origin: str, *, with_rows: bool = False) -> AuditReport:
    """Check every chain entry, head, anchor, log leaf, tree node and checkpoint, and every row that the log speaks for."""
    faults: list[Fault] = []
    entries, digests = _verify_chains(session, faults)
    _verify_anchors(session, digests, faults)
    size = _verify_leaves(session, faults)
    checkpoints = _verify_checkpoints(session, keyring, origin, faults)
    faults.extend(witnesses.verify(session, origin))
    number, found = rows.verify(session) if with_rows else (0, ())
    faults.extend(found)
    return AuditReport(
        entries=entries, chains=len({subject for subject, _ in digests}), log_size=size, checkpoints=checkpoints, rows=number,
        faults=tuple(sorted(faults, key=lambda fault: (fault.subject, fault.code))),
    )


def _verify_chains(session: Session, faults: list[Fault]) -> tuple[int, dict[tuple[str, int], bytes]]:
    digests: dict[tuple[str, int], bytes] = {}
    tips: dict[str, tuple[int, bytes]] = {}
    rows = session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.subject, AuditEntryRow.seq).execution_options(yield_per=1000))
    for row in rows:
        seq, previous = tips.get(row.subject, (0, CHAIN_START))
        if row.seq != seq + 1:
            faults.append(Fault(f"{row.subject}#{row.seq}", "entry-missing-before"))
        elif row.previous != previous:
            faults.append(Fault(f"{row.subject}#{row.seq}", "chain-broken"))
        if entry_digest(chained(row), row.previous) != row.digest:
            faults.append(Fault(f"{row.subject}#{row.seq}", "entry-altered"))
        tips[row.subject] = (row.seq, row.digest)
        digests[row.subject, row.seq] = row.digest
    heads = session.scalars(select(AuditHeadRow)).all()
    faults.extend(Fault(head.subject, "head-differs") for head in heads if tips.pop(head.subject, (0, CHAIN_START)) != (head.seq, head.digest))
    faults.extend(Fault(subject, "head-missing") for subject in tips)
    return len(digests), digests


def _verify_anchors(session: Session, digests: dict[tuple[str, int], bytes], faults: list[Fault]) -> None:
    rows = session.execute(select(AuditAnchorRow, LogEntryRow).join(LogEntryRow, LogEntryRow.id == AuditAnchorRow.log_entry_id))
    anchored = 0
    for row, entry in rows:
        anchored += 1
        if sha256_hex(canonicalise({"heads": row.heads})) != entry.payload_sha256:
            faults.append(Fault(f"anchor:{row.log_entry_id}", "anchor-altered"))
        for subject, seq, digest in row.heads:
            if digests.get((subject, seq), b"").hex() != digest:
                faults.append(Fault(f"{subject}#{seq}", "anchored-entry-missing"))
    logged = session.scalars(select(LogEntryRow.id).where(LogEntryRow.entry_type == "audit-anchor")).all()
    if len(logged) != anchored:
        faults.append(Fault("audit-anchors", "anchor-missing"))


def _verify_leaves(session: Session, faults: list[Fault]) -> int:
    tree = merkle.Tree()
    rows = session.scalars(
        select(LogEntryRow).where(LogEntryRow.tree_index.is_not(None)).order_by(LogEntryRow.tree_index).execution_options(yield_per=1000)
    )
    for position, entry in enumerate(rows):
        if entry.tree_index != position:
            faults.append(Fault(f"log#{position}", "leaf-missing"))
            return tree.size
        if entry.entry_type not in log.ENTRY_TYPES:
            faults.append(Fault(f"log#{position}", "entry-type-unknown"))
        leaf_hash = merkle.leaf_hash(log.leaf_of(entry))
        node = session.get(LogNodeRow, (0, position))
        if leaf_hash != entry.leaf_hash or node is None or node.hash != leaf_hash:
            faults.append(Fault(f"log#{position}", "leaf-altered"))
        tree = tree.append(leaf_hash)
        checkpoint = session.get(LogCheckpointRow, tree.size)
        if checkpoint is not None and checkpoint.root != tree.root():
            faults.append(Fault(f"log#{position}", "root-differs"))
    if tree.size != log.size_of(session):
        faults.append(Fault("log", "size-differs"))
    return tree.size


def _verify_checkpoints(session: Session, keyring: Keyring, origin: str, faults: list[Fault]) -> int:
    number, keys = 0, keyring.log_public_keys()
    for row in session.scalars(select(LogCheckpointRow).order_by(LogCheckpointRow.size)):
        number += 1
        checkpoint = _signed_by_any(row.text, origin, keys)
        if checkpoint is None:
            faults.append(Fault(f"checkpoint:{row.size}", "checkpoint-invalid"))
            continue
        if (checkpoint.size, checkpoint.root) != (row.size, row.root):
            faults.append(Fault(f"checkpoint:{row.size}", "checkpoint-differs"))
    return number


def _signed_by_any(text: str, origin: str, keys: Iterable[Ed25519PublicKey]) -> translog.Checkpoint | None:
    for key in keys:
        with suppress(LogProofInvalid):
            return translog.verify_checkpoint(text, origin, key)
    return None
