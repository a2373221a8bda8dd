"""The transparency log's rows: RFC 9162 tree, C2SP checkpoints and proofs, sequenced under one row lock.

An action appends its entry without an index in its own transaction. `sequence` runs right after the commit in a short
transaction: whoever holds the head's lock indexes everybody's entries, so concurrent callers find theirs done.
"""

import base64
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import LogCheckpointRow, LogEntryRow, LogHeadRow, LogNodeRow
from backend.core.ids import new_id
from backend.keys.keyring import Keyring
from evidence import merkle, translog
from evidence.canonical import canonicalise, sha256_hex

Found = TypeVar("Found")
_SALT_BYTES = 16
APPENDED = "log-appended"       # Key of `Session.info`: this transaction left entries to be indexed.
ENTRIES_PER_RUN_MAX = 2_000
ENTRY_TYPES: Final = frozenset({
    "access", "audit-anchor", "branch-close", "cash-authorisation", "cash-receipt", "cosignature", "examined", "export", "follow-up", "manifest",
    "recording", "redaction", "retention", "review", "rows", "ruling", "suspicion-acknowledged", "suspicion-reported", "transfer",
})
"""What an entry can be about: a closed list. Nothing else is appended, and an entry of another type is a fault to the verifier."""


def append(session: Session, entry_type: str, payload: bytes, now: datetime) -> UUID:
    """Add an entry for `payload` to the log in the caller's transaction; returns the entry's id.

    Only a salted digest enters the tree, so erased content cannot be guessed back and its proof survives.
    """
    return append_all(session, entry_type, (payload,), now)[0]


def append_all(session: Session, entry_type: str, payloads: Sequence[bytes], now: datetime) -> tuple[UUID, ...]:
    """Add an entry for each payload, in their order; returns the entries' ids."""
    assert entry_type in ENTRY_TYPES, entry_type
    entries = [LogEntryRow(
        id=new_id(), entry_type=entry_type, payload_sha256=sha256_hex(payload), salt=salt, salted_sha256=sha256_hex(salt + payload),
        at=now, tree_index=None, leaf_hash=None,
    ) for payload, salt in ((payload, secrets.token_bytes(_SALT_BYTES)) for payload in payloads)]
    session.add_all(entries)
    session.flush()
    session.info[APPENDED] = True
    return tuple(entry.id for entry in entries)


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
            tree = _tree(session, head.size)
            for entry in waiting:
                tree = _index(session, entry, tree)
            head.size = tree.size
            session.add(LogCheckpointRow(size=tree.size, root=tree.root(), text=_signed(keyring, origin, tree.size, tree.root()), at=now))
            if len(waiting) < ENTRIES_PER_RUN_MAX:
                return head.size                     # What others append from now on they index themselves, after their own commit.


def proof_of(session: Session, entry_id: UUID) -> str | None:
    """Return the `tlog-proof@v1` text of an entry under the newest checkpoint; None while it waits for its index.

    Its `extra` holds type, time and salt: with the payload they rebuild the leaf.
    """
    entry = session.get(LogEntryRow, entry_id)
    if entry is None or entry.tree_index is None:
        return None
    checkpoint = newest_checkpoint(session)
    assert checkpoint is not None, "an indexed entry stands under a checkpoint"
    size = translog.parse_checkpoint(checkpoint).size
    index = entry.tree_index
    path = _with_nodes(session, lambda read: merkle.inclusion_path(read, size, index))
    extra = translog.entry_extra(translog.Entry(type=entry.entry_type, time=utc_text(entry.at), salt=entry.salt, payload=b""))
    return translog.encode_proof(translog.LogProof(index=entry.tree_index, path=path, checkpoint=checkpoint, extra=extra))


def leaf_of(entry: LogEntryRow) -> bytes:
    """Return the leaf bytes of an indexed entry, as `evidence.translog.leaf_bytes` makes them from the payload."""
    assert entry.tree_index is not None
    return canonicalise({"type": entry.entry_type, "sha256": entry.salted_sha256, "time": utc_text(entry.at), "index": entry.tree_index})


def newest_checkpoint(session: Session) -> str | None:
    """Return the newest signed checkpoint, None for an empty log."""
    return session.scalars(select(LogCheckpointRow.text).order_by(LogCheckpointRow.size.desc()).limit(1)).one_or_none()


def checkpoint_at(session: Session, size: int) -> str | None:
    """Return the signed checkpoint of exactly `size` leaves, if one was made."""
    return session.scalars(select(LogCheckpointRow.text).where(LogCheckpointRow.size == size)).one_or_none()


def consistency_path(session: Session, old_size: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that the first `old_size` leaves are unchanged in the tree of `size` (RFC 9162 §2.1.4.1)."""
    return _with_nodes(session, lambda read: merkle.consistency_path(read, old_size, size))


def utc_text(at: datetime) -> str:
    """Write an instant as the signed documents do: UTC with milliseconds and Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def size_of(session: Session) -> int:
    """Return the number of indexed entries."""
    return session.scalars(select(func.coalesce(func.max(LogHeadRow.size), 0))).one()


def _locked_head(session: Session) -> LogHeadRow:
    return session.execute(select(LogHeadRow).where(LogHeadRow.id == 1).with_for_update().execution_options(populate_existing=True)).scalar_one()


def _index(session: Session, entry: LogEntryRow, tree: merkle.Tree) -> merkle.Tree:
    entry.tree_index = tree.size
    entry.leaf_hash = merkle.leaf_hash(leaf_of(entry))
    tree, completed = merkle.appended_nodes(tree, entry.leaf_hash)
    session.add_all(LogNodeRow(level=node.level, position=node.index, hash=node.hash) for node in completed)
    return tree


def _tree(session: Session, size: int) -> merkle.Tree:
    def peaks(read: merkle.NodeReader) -> tuple[bytes, ...]:
        start, found = 0, []
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                found.append(read(level, start >> level))
                start += 1 << level
        return tuple(found)

    return merkle.Tree(size=size, peaks=_with_nodes(session, peaks))


def _with_nodes(session: Session, ask: Callable[[merkle.NodeReader], Found]) -> Found:
    """Answer what is asked of stored subtree hashes in one statement.

    Which of them are wanted depends on sizes and positions alone: it is asked once to learn them, and once with them.
    """
    wanted: list[tuple[int, int]] = []

    def note(level: int, position: int) -> bytes:
        wanted.append((level, position))
        return bytes(merkle.HASH_BYTES)

    ask(note)
    if not wanted:
        return ask(note)
    stored = select(LogNodeRow.level, LogNodeRow.position, LogNodeRow.hash).where(tuple_(LogNodeRow.level, LogNodeRow.position).in_(wanted))
    held = {(level, position): digest for level, position, digest in session.execute(stored)}
    return ask(lambda level, position: held[level, position])


def _signed(keyring: Keyring, origin: str, size: int, root: bytes) -> str:
    note = translog.Checkpoint(origin=origin, size=size, root=root).note()
    identifier = translog.key_id(origin, keyring.log_public_key())
    signature = base64.b64encode(identifier + keyring.sign_checkpoint(note.encode())).decode()
    signed = f"{note}\n— {origin} {signature}\n"
    translog.verify_checkpoint(signed, origin, keyring.log_public_key())       # Never publish what does not verify.
    return signed
