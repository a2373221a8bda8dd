"""Time-stamps over the log's checkpoints: a third party says that the log stood so on that day (RFC 3161).

Asked about once a day and only where an authority is configured; what leaves is a digest and a random number (SEC-01). Nothing is kept
that was not judged against the pinned certificates.
"""

import base64
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.fault import Fault
from backend.audit.record import record
from backend.audit.tables import LogCheckpointRow, LogStampRow
from backend.core.settings import SettingsError
from evidence import time_stamps
from evidence.errors import LogProofInvalid
from evidence.pack import PackStamp
from evidence.revocation import Lists, Status, Word, read_lists
from evidence.time_stamps import CertificateRevoked

NONCE_BYTES: Final = 8
APART_MAX: Final = timedelta(hours=1)
_OWN_ENTRIES: Final = 1                                 # The log grows by this with each stamp; it alone makes none due.

Authority = Callable[[bytes], bytes]
"""The port: takes a DER request, returns the DER response. Raises `AuthorityUnavailable`."""


class AuthorityUnavailable(RuntimeError):
    """No whole answer; the next run asks again."""


class StampRefused(RuntimeError):
    """The answer is no stamp by the pinned authority over our checkpoint, or tells a time far from ours; nothing is kept."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, for which policy (an OID), and whom to believe."""

    authority: Authority
    pinned: Sequence[x509.Certificate]
    policy: str | None = None
    crl_file: Path | None = None


class StampView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One stamp: `response` is the base64 of the whole RFC 3161 answer, over exactly the bytes of `checkpoint`."""

    size: int
    stamped_at: datetime
    checkpoint: str
    response: str


def stamp(sessions: sessionmaker[Session], asking: Asking, now: datetime, *, is_forced: bool = False) -> int | None:
    """Have the newest checkpoint stamped if that is due; returns its size, None when nothing was. No transaction is open while it waits.

    Args:
        is_forced: Ask although today's stamp is there; one checkpoint is never stamped twice.

    Raises:
        AuthorityUnavailable, StampRefused: nothing is kept.
    """
    with sessions() as session:
        checkpoint = _due(session, now, is_forced=is_forced)
    if checkpoint is None:
        return None
    lists = read_revoked(asking.crl_file, now)
    nonce = secrets.token_bytes(NONCE_BYTES)
    number, message = int.from_bytes(nonce, "big"), checkpoint.text.encode()
    response = asking.authority(time_stamps.ask(message, number, asking.policy))
    try:
        said = time_stamps.judge(response, message, asking.pinned, nonce=number, policy=asking.policy, lists=lists)
    except LogProofInvalid as fault:
        raise StampRefused(fault.reason) from fault
    if abs(said.at - now) > APART_MAX:
        raise StampRefused(f"the authority's time is {said.at:%Y-%m-%d %H:%M:%S} UTC, ours is {now:%Y-%m-%d %H:%M:%S}")
    with sessions.begin() as session:
        if session.get(LogStampRow, checkpoint.size) is not None:
            return None                                 # Another process was faster.
        session.add(LogStampRow(
            size=checkpoint.size, root=checkpoint.root, nonce=nonce.hex(), response=response, stamped_at=said.at, received_at=now))
        session.flush()
        record(session, None, EventTag.CHECKPOINT_STAMPED, "log", now, size=checkpoint.size, stamped_at=said.at, serial=str(said.serial))
    return checkpoint.size


def _due(session: Session, now: datetime, *, is_forced: bool) -> LogCheckpointRow | None:
    newest = session.scalars(select(LogCheckpointRow).order_by(LogCheckpointRow.size.desc()).limit(1)).one_or_none()
    last = session.scalars(select(LogStampRow).order_by(LogStampRow.size.desc()).limit(1)).one_or_none()
    if newest is None or last is None:
        return newest
    is_todays = last.received_at.astimezone(UTC).date() == now.astimezone(UTC).date()
    if newest.size <= last.size + _OWN_ENTRIES or (is_todays and not is_forced):
        return None
    return newest


def find(session: Session, size: int | None) -> StampView | None:
    """Return the stamp of one size of the log, or the newest."""
    query = select(LogStampRow, LogCheckpointRow.text).join(LogCheckpointRow, LogCheckpointRow.size == LogStampRow.size)
    found = session.execute((query if size is None else query.where(LogStampRow.size == size)).order_by(LogStampRow.size.desc()).limit(1)).first()
    if found is None:
        return None
    row, text = found
    return StampView(size=row.size, stamped_at=row.stamped_at, checkpoint=text, response=base64.b64encode(row.response).decode())


def covering(session: Session, indices: Iterable[int], size_max: int) -> tuple[PackStamp, ...]:
    """Return, for each of these entries of the log, the first stamp that covers it, within a size; each stamp once, smallest first."""
    sizes = session.scalars(select(LogStampRow.size).where(LogStampRow.size <= size_max).order_by(LogStampRow.size)).all()
    first = {sizes[at] for at in (bisect_right(sizes, index) for index in indices) if at < len(sizes)}
    rows = session.execute(
        select(LogStampRow.response, LogCheckpointRow.text).join(LogCheckpointRow, LogCheckpointRow.size == LogStampRow.size)
        .where(LogStampRow.size.in_(sorted(first))).order_by(LogStampRow.size))
    return tuple(PackStamp(checkpoint=text, response=response) for response, text in rows)


def verify(session: Session, pinned: Sequence[x509.Certificate], lists: Lists | None = None) -> tuple[int, list[Fault], list[Fault]]:
    """Judge every stamp anew; returns their number, what does not hold, and what is told of certificates that lets a stamp stand.

    Args:
        lists: What revocation lists say of the certificates; None looks nothing up and tells nothing.
    """
    faults, told = list[Fault](), list[Fault]()
    rows = session.scalars(select(LogStampRow).order_by(LogStampRow.size)).all()
    for row in rows:
        subject, text = f"stamp:{row.size}", log.checkpoint_at(session, row.size)
        if text is None:
            faults.append(Fault(subject, "stamp-without-checkpoint"))
        elif not pinned:
            faults.append(Fault(subject, "stamp-not-checkable"))          # FIELDVISIT_TSA_CERTIFICATES_FILE is gone.
        else:
            fault, standing = _judged(row, text, pinned, lists)
            faults.extend(Fault(subject, code) for code in fault)
            told.extend(Fault(subject, f"{word.status}: {word.detail}") for word in standing if word.status is not Status.GOOD)
    return len(rows), faults, told


def _judged(row: LogStampRow, text: str, pinned: Sequence[x509.Certificate], lists: Lists | None) -> tuple[list[str], list[Word]]:
    try:
        said = time_stamps.judge(row.response, text.encode(), pinned, nonce=int(row.nonce, 16), lists=lists)
    except CertificateRevoked as fault:
        return [f"stamp-revoked: {fault.reason}"], []
    except (LogProofInvalid, ValueError):
        return ["stamp-invalid"], []
    return ([] if said.at == row.stamped_at else ["stamp-differs"]), [said.standing]


def read_revoked(file: Path | None, now: datetime) -> Lists | None:
    """Read the revocation lists that the operator gave; None when no file is named. Raises `SettingsError` for one that cannot be read."""
    try:
        return None if file is None else read_lists(file.read_bytes(), now)
    except OSError as error:
        raise SettingsError(f"FIELDVISIT_TSA_CRL_FILE: {type(error).__name__}: {str(error)[:200]}") from error


def read_pinned(file: Path | None) -> tuple[x509.Certificate, ...]:
    """Read the certificates (PEM) of whom to believe; none when no file is named. Raises `SettingsError`."""
    try:
        return () if file is None else tuple(x509.load_pem_x509_certificates(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise SettingsError(f"FIELDVISIT_TSA_CERTIFICATES_FILE: {type(error).__name__}: {str(error)[:200]}") from error
