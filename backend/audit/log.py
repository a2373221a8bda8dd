"""The transparency log's rows: RFC 9162 tree, C2SP checkpoints and proofs, sequenced under one row lock.

An action appends its entry without an index in its own transaction. `sequence` runs right after the commit in a short
transaction: whoever holds the head's lock indexes everybody's entries, so concurrent callers find theirs done.
"""

import base64
import secrets
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import LogCheckpointRow, LogEntryRow, LogHeadRow, LogNodeRow
from backend.core.ids import new_id
from backend.keys.keyring import Keyring
from evidence import translog
from evidence.canonical import sha256_hex

_SALT_BYTES = 16
ENTRIES_PER_RUN_MAX = 2_000


def append(session: Session, entry_type: str, payload: bytes, now: datetime) -> UUID:
    """Add an entry for `payload` to the log in the caller's transaction; returns the entry's id.

    Only a salted digest enters the tree, so erased content cannot be guessed back and its proof survives.
    """
    entry_id, salt = new_id(), secrets.token_bytes(_SALT_BYTES)
    session.add(LogEntryRow(
        id=entry_id, entry_type=entry_type, payload_sha256=sha256_hex(payload), salt=salt, salted_sha256=translog.salted_digest(salt, payload),
        at=now, tree_index=None, leaf_hash=None,
    ))
    session.flush()
    return entry_id


def sequence(sessions: sessionmaker[Session], keyring: Keyring, origin: str, now: datetime) -> int:
    """Index every waiting entry, extend the tree, sign a checkpoint; returns the log's size. Idempotent."""
    while True:
        with sessions.begin() as session:
            head = _locked_head(session)
            waiting = session.scalars(
                select(LogEntryRow).where(LogEntryRow.tree_index.is_(None)).order_by(LogEntryRow.at, LogEntryRow.id).limit(ENTRIES_PER_RUN_MAX)
            ).all()
            if not waiting:
                return head.size
            for entry in waiting:
                _index(session, entry, head)
            session.flush()
            root = subtree_root(session, 0, head.size)
            session.add(LogCheckpointRow(size=head.size, root=root, text=_signed(keyring, origin, head.size, root), at=now))


def proof_of(session: Session, entry_id: UUID) -> str | None:
    """Return the `tlog-proof@v1` text of an entry under the newest checkpoint; None while it waits for its index."""
    entry = session.get(LogEntryRow, entry_id)
    if entry is None or entry.tree_index is None:
        return None
    checkpoint = newest_checkpoint(session)
    assert checkpoint is not None, "an indexed entry stands under a checkpoint"
    size = translog.parse_checkpoint(checkpoint).size
    path = inclusion_path(session, entry.tree_index, size)
    return translog.encode_proof(translog.LogProof(index=entry.tree_index, path=path, checkpoint=checkpoint))


def leaf_of(entry: LogEntryRow) -> bytes:
    """Return the leaf bytes of an indexed entry."""
    assert entry.tree_index is not None
    return translog.leaf_bytes(entry.entry_type, entry.salted_sha256, time=utc_text(entry.at), index=entry.tree_index)


def newest_checkpoint(session: Session) -> str | None:
    """Return the newest signed checkpoint, None for an empty log."""
    return session.scalars(select(LogCheckpointRow.text).order_by(LogCheckpointRow.size.desc()).limit(1)).one_or_none()


def checkpoint_at(session: Session, size: int) -> str | None:
    """Return the signed checkpoint of exactly `size` leaves, if one was made."""
    return session.scalars(select(LogCheckpointRow.text).where(LogCheckpointRow.size == size)).one_or_none()


def inclusion_path(session: Session, index: int, size: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, sibling first (RFC 9162 §2.1.3.1)."""
    assert 0 <= index < size
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < middle:
            path.append(subtree_root(session, middle, end))
            end = middle
        else:
            path.append(subtree_root(session, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_path(session: Session, old_size: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that the first `old_size` leaves are unchanged in the tree of `size` (RFC 9162 §2.1.4.1)."""
    assert 0 < old_size <= size
    path, start, end, is_whole = [], 0, size, True
    while old_size != end:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if old_size <= middle:
            path.append(subtree_root(session, middle, end))
            end = middle
        else:
            path.append(subtree_root(session, start, middle))
            start, is_whole = middle, False
    if not is_whole:
        path.append(subtree_root(session, start, end))
    return tuple(reversed(path))


def subtree_root(session: Session, start: int, end: int) -> bytes:
    """Return the root over leaves `start` … `end`, `start` a multiple of the range's largest power of two. O(log n) rows."""
    root: bytes | None = None
    pieces: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        pieces.append((level, start >> level))
        start += 1 << level
    for level, position in reversed(pieces):
        node = session.get_one(LogNodeRow, (level, position)).hash
        root = node if root is None else translog.node_hash(node, root)
    return translog.EMPTY_ROOT if root is None else root


def utc_text(at: datetime) -> str:
    """Write an instant as the signed documents do: UTC with milliseconds and Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def size_of(session: Session) -> int:
    """Return the number of indexed entries."""
    return session.scalars(select(func.coalesce(func.max(LogHeadRow.size), 0))).one()


def _locked_head(session: Session) -> LogHeadRow:
    return session.execute(select(LogHeadRow).where(LogHeadRow.id == 1).with_for_update().execution_options(populate_existing=True)).scalar_one()


def _index(session: Session, entry: LogEntryRow, head: LogHeadRow) -> None:
    index = head.size
    entry.tree_index = index
    entry.leaf_hash = carried = translog.leaf_hash(leaf_of(entry))
    session.add(LogNodeRow(level=0, position=index, hash=carried))
    level = 0
    while index & 1:
        left = session.get_one(LogNodeRow, (level, index - 1)).hash
        carried = translog.node_hash(left, carried)
        level, index = level + 1, index >> 1
        session.add(LogNodeRow(level=level, position=index, hash=carried))
    head.size += 1
    session.flush()


def _signed(keyring: Keyring, origin: str, size: int, root: bytes) -> str:
    note = translog.Checkpoint(origin=origin, size=size, root=root).note()
    identifier = translog.key_id(origin, keyring.log_public_key())
    signature = base64.b64encode(identifier + keyring.sign_checkpoint(note.encode())).decode()
    signed = f"{note}\n— {origin} {signature}\n"
    translog.verify_checkpoint(signed, origin, keyring.log_public_key())       # Never publish what does not verify.
    return signed
