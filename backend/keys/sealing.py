"""Sealed columns and item keys: AES-256-GCM under the key of one case, bound to subject and column."""

import secrets
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.i18n import N_
from backend.core.problems import Problem
from backend.db.base import SealedValue
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.tables import CaseKeyRow

_NONCE_BYTES = 12
_ITEM_KEY_BYTES = 32


class CaseKeyDestroyed(Problem):
    """The key was destroyed after retention; what it sealed cannot be read by anyone."""

    status, code, title = 410, "case-key-destroyed", N_("This content was destroyed after its retention ended.")
    explanation = N_("Its digest and its proofs remain in the log.")


class SealBrokenError(RuntimeError):
    """A sealed value does not open under its own case key: the row was altered or copied from elsewhere."""


class Sealer:
    """Seals and opens values of one subject."""

    def __init__(self, subject_id: UUID, key: bytes) -> None:
        assert len(key) == 32
        self._subject_id = subject_id
        self._cipher = AESGCM(key)

    def seal(self, column: str, text: str) -> SealedValue:
        """Encrypt `text` for `column` (`table.column`)."""
        return SealedValue(self._encrypt(b"column", column, text.encode()))

    def open(self, column: str, sealed: SealedValue) -> str:
        """Decrypt what `seal` made for the same subject and column.

        Raises:
            SealBrokenError: altered, or sealed for another subject or column.
        """
        return self._decrypt(b"column", column, sealed).decode()

    def wrap_item_key(self, item_key: bytes, item: str) -> bytes:
        """Encrypt the 32-byte key of one evidence item."""
        assert len(item_key) == _ITEM_KEY_BYTES
        return self._encrypt(b"item", item, item_key)

    def unwrap_item_key(self, wrapped: bytes, item: str) -> bytes:
        """Open what `wrap_item_key` made for the same item. Raises SealBrokenError."""
        return self._decrypt(b"item", item, wrapped)

    def _context(self, kind: bytes, name: str) -> bytes:
        return b"\0".join((kind, self._subject_id.bytes, name.encode()))

    def _encrypt(self, kind: bytes, name: str, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, self._context(kind, name))

    def _decrypt(self, kind: bytes, name: str, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(bytes(sealed[:_NONCE_BYTES]), bytes(sealed[_NONCE_BYTES:]), self._context(kind, name))
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError(f"{kind.decode()} {name} of {self._subject_id}") from error


def create_case_key(session: Session, keyring: Keyring, subject_id: UUID, now: datetime) -> Sealer:
    """Make the key of a new subject and return its sealer."""
    secret = secrets.token_bytes(32)
    kid, wrapped = keyring.wrap(secret, subject_id.bytes)
    session.add(CaseKeyRow(subject_id=subject_id, master_kid=kid, wrapped=wrapped, created_at=now, destroyed_at=None))
    session.flush()
    return Sealer(subject_id, secret)


def rewrap(session: Session, keyring: Keyring, after: UUID | None, limit: int = 200) -> tuple[int, UUID | None]:
    """Bring case keys under the active master key, in the order of their subjects; nothing that they seal is touched.

    Returns:
        How many were moved, and the subject to go on after; None when all were seen.
    """
    active = keyring.active(KeyPurpose.MASTER).kid
    query = select(CaseKeyRow).where(CaseKeyRow.master_kid != active, CaseKeyRow.wrapped.is_not(None))
    if after is not None:
        query = query.where(CaseKeyRow.subject_id > after)
    rows = session.scalars(query.order_by(CaseKeyRow.subject_id).limit(limit).with_for_update()).all()
    for row in rows:
        assert row.wrapped is not None
        secret = keyring.unwrap(row.master_kid, row.wrapped, row.subject_id.bytes)
        row.master_kid, row.wrapped = keyring.wrap(secret, row.subject_id.bytes)
    session.flush()
    return len(rows), rows[-1].subject_id if len(rows) == limit else None


def are_living(session: Session, subjects: Collection[UUID]) -> bool:
    """Tell whether no key of these subjects was destroyed; none will be before the transaction ends."""
    keys = session.scalars(select(CaseKeyRow.wrapped).where(CaseKeyRow.subject_id.in_(subjects)).with_for_update(read=True))
    return all(wrapped is not None for wrapped in keys)


def sealer(session: Session, keyring: Keyring, subject_id: UUID) -> Sealer:
    """Return the sealer of an existing subject.

    Raises:
        CaseKeyDestroyed: its key was shredded.
        LookupError: it never had one.
    """
    row = session.get(CaseKeyRow, subject_id)
    if row is None:
        raise LookupError(f"no case key for {subject_id}")
    if row.wrapped is None:
        raise CaseKeyDestroyed
    return Sealer(subject_id, keyring.unwrap(row.master_kid, row.wrapped, subject_id.bytes))
