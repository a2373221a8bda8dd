"""Witnesses of the log: a bank's own key signs checkpoints that extend what it has seen, so that no history is put back unnoticed.

The bank asks and submits; nothing of it listens. What it asks for is the body of a C2SP tlog-witness `add-checkpoint` request, what it
submits is the checkpoint with its tlog-cosignature line. A cosignature proves itself, so nobody signs in to submit one.
"""

import base64
import re
from datetime import datetime
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.fault import Fault
from backend.audit.record import record
from backend.audit.tables import AuditEntryRow, LogCheckpointRow, LogCosignatureRow, LogWitnessRow
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.i18n import N_
from backend.core.ids import BankId
from backend.core.problems import Conflict, InvalidInput, NotFound, Problem
from evidence import merkle, translog
from evidence.errors import LogProofInvalid
from evidence.witness import enrolment_text

NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}(/[A-Za-z0-9._-]{1,32}){0,3}", re.ASCII)
SKEW_S_MAX: Final = 300                      # A witness's clock may be ahead of ours by so much.
COSIGNATURE_BYTES: Final = 8 + 64
WitnessName = Annotated[str, Meta(min_length=1, max_length=80)]


class CosignatureRefused(Problem):
    """No line of a known witness that may stand here."""

    status, code, title = 422, "cosignature-refused", N_("This cosignature is not accepted.")
    explanation = N_("Cosign a checkpoint that you fetched here, later than any you signed before, with the key that is enrolled under your name.")


class LogForked(Problem):
    """A witness shows a checkpoint that our key signed and our log does not hold."""

    status, code, title = 409, "log-forked", N_("This checkpoint was signed by this log's key, but the log does not hold it.")
    explanation = N_("Keep the checkpoint: it proves that two histories were signed. It has been recorded; tell the operator and an auditor.")


class NewWitness(msgspec.Struct, frozen=True, kw_only=True):
    """A witness that a bank brings: its name, its Ed25519 key, and a signature by it over `evidence.witness.enrolment_text`."""

    name: str
    key: bytes
    proof: bytes


class WitnessView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One witness, and how far it has signed; 0 for not yet."""

    name: str
    bank_id: BankId
    key: str                                 # Base64 of 32 bytes, as a trust file names it.
    enrolled_at: datetime
    revoked_at: datetime | None
    size: int


class Cosigned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A cosignature as it is kept."""

    witness: str
    size: int


class ForkShown(msgspec.Struct, frozen=True, kw_only=True):
    """What a witness holds against us: the size at which two roots were signed."""

    witness: str
    size: int


def enrol(session: Session, actor: Actor, new: NewWitness, origin: str, now: datetime) -> WitnessView:
    """Enrol a witness of the actor's own bank, proven by its key; nobody of the agency can.

    Raises:
        Forbidden: not a bank's authoriser.
        InvalidInput: name, key or proof does not hold.
        Conflict: the name or the key was enrolled before.
    """
    authorise(actor, Permission.BANK_KEY_ENROL)
    assert actor.bank is not None
    if NAME.fullmatch(new.name) is None or new.name == origin:
        raise InvalidInput(pointer="/name", expected="a host name, with a path at most, that is not the log's", got="another text")
    try:
        key = Ed25519PublicKey.from_public_bytes(new.key)
        key.verify(new.proof, enrolment_text(origin=origin, bank=str(actor.bank), staff=str(actor.id), name=new.name))
    except (InvalidSignature, ValueError):
        raise InvalidInput(pointer="/proof", expected="a signature by the key itself over log, bank, person and name", got="another") from None
    if session.scalar(select(LogWitnessRow.name).where((LogWitnessRow.name == new.name) | (LogWitnessRow.key == new.key))):
        raise Conflict(reason="witness-enrolled-already")
    row = LogWitnessRow(name=new.name, bank_id=actor.bank, key=new.key, enrolled_by=actor.id, enrolled_at=now, revoked_at=None)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.WITNESS_CHANGED, f"bank:{actor.bank}", now, what="enrolled", witness=new.name)
    return _view(session, row)


def revoke(session: Session, actor: Actor, name: str, now: datetime) -> None:
    """End a witness of one's own bank; what it signed stays signed. Raises NotFound, Conflict."""
    authorise(actor, Permission.BANK_KEY_ENROL)
    row = session.execute(
        select(LogWitnessRow).where(LogWitnessRow.name == name, LogWitnessRow.bank_id == actor.bank).with_for_update()).scalar_one_or_none()
    if row is None:
        raise NotFound
    if row.revoked_at is not None:
        raise Conflict(reason="ended-before")
    row.revoked_at = now
    record(session, actor, EventTag.WITNESS_CHANGED, f"bank:{row.bank_id}", now, what="revoked", witness=name)


def of_bank(session: Session, bank_id: BankId) -> tuple[WitnessView, ...]:
    """Return a bank's witnesses, in the order of their enrolment."""
    rows = session.scalars(select(LogWitnessRow).where(LogWitnessRow.bank_id == bank_id).order_by(LogWitnessRow.enrolled_at, LogWitnessRow.name))
    return tuple(_view(session, row) for row in rows)


def keys_of(session: Session, bank_id: BankId | None) -> dict[str, bytes]:
    """Return the keys of a bank's witnesses, or of all, by name; those that ended are not offered for trust."""
    query = select(LogWitnessRow).where(LogWitnessRow.revoked_at.is_(None))
    rows = session.scalars(query if bank_id is None else query.where(LogWitnessRow.bank_id == bank_id))
    return {row.name: row.key for row in rows}


def request_from(session: Session, old_size: int) -> str:
    """Return the newest checkpoint with the proof that it extends the log of `old_size` leaves (C2SP `add-checkpoint`).

    Raises:
        NotFound: the log is empty.
        InvalidInput: the log is smaller than what the asker has seen, which an append-only log never is.
    """
    checkpoint = log.newest_checkpoint(session)
    if checkpoint is None:
        raise NotFound
    size = translog.parse_checkpoint(checkpoint).size
    if old_size > size:
        raise InvalidInput(pointer="/old", expected=f"at most {size}", got=str(old_size))
    path = log.consistency_path(session, old_size, size) if old_size else ()
    hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in path)
    return f"old {old_size}\n{hashes}\n{checkpoint}"


def take(session: Session, signed: str, keys: tuple[Ed25519PublicKey, ...], origin: str, now: datetime) -> Cosigned | ForkShown:
    """Keep the cosignature of one witness on one of our checkpoints; the same again changes nothing.

    The checkpoint must be one that this log holds and extend what the witness signed before, shown by a consistency proof over the
    stored nodes: a history that was put back has none. A checkpoint that our key signed and we do not hold is a fork and is recorded.

    Raises:
        CosignatureRefused: not a checkpoint of ours, no known witness, a bad signature, a step back, or a time that cannot be.
    """
    try:
        checkpoint = translog.parse_checkpoint(signed)
        row, line = _line_of(session, signed, origin)
        time_s = translog.verify_cosignatures(signed, {row.name: Ed25519PublicKey.from_public_bytes(row.key)})[row.name]
    except (LogProofInvalid, KeyError) as fault:
        raise CosignatureRefused(reason=str(fault)[:200]) from fault
    held = session.get(LogCheckpointRow, checkpoint.size)
    if held is None or held.root != checkpoint.root:
        if not _is_signed_by_us(signed, origin, keys):
            raise CosignatureRefused(reason="not a checkpoint of this log")
        record(session, None, EventTag.LOG_FORK_SHOWN, "log", now, witness=row.name, size=checkpoint.size, root=checkpoint.root.hex())
        return ForkShown(witness=row.name, size=checkpoint.size)
    if time_s > now.timestamp() + SKEW_S_MAX:
        raise CosignatureRefused(reason="signed in the future")
    before = session.scalars(
        select(LogCosignatureRow).where(LogCosignatureRow.witness == row.name).order_by(LogCosignatureRow.size.desc()).limit(1)).one_or_none()
    if before is not None and before.size >= checkpoint.size:
        if before.size > checkpoint.size and session.get(LogCosignatureRow, (row.name, checkpoint.size)) is None:
            raise CosignatureRefused(reason=f"this witness signed {before.size} before")
        return Cosigned(witness=row.name, size=checkpoint.size)
    if before is not None:
        _demand_extension(session, before, checkpoint)
    assert len(line) == COSIGNATURE_BYTES, "its signature verified"
    session.add(LogCosignatureRow(witness=row.name, size=checkpoint.size, root=checkpoint.root, cosignature=line, received_at=now))
    session.flush()
    record(session, None, EventTag.CHECKPOINT_WITNESSED, f"witness:{row.name}", now, size=checkpoint.size)
    return Cosigned(witness=row.name, size=checkpoint.size)


def published(session: Session, checkpoint: str) -> str:
    """Return a checkpoint of ours with the cosignatures that it has."""
    size = translog.parse_checkpoint(checkpoint).size
    rows = session.execute(
        select(LogCosignatureRow, LogWitnessRow).join(LogWitnessRow, LogWitnessRow.name == LogCosignatureRow.witness)
        .where(LogCosignatureRow.size == size).order_by(LogCosignatureRow.witness))
    return checkpoint + "".join(
        translog.cosignature_line(witness.name, Ed25519PublicKey.from_public_bytes(witness.key), row.cosignature) for row, witness in rows)


def newest_witnessed(session: Session) -> str | None:
    """Return the newest checkpoint that a witness has signed, with all its cosignatures; None before the first."""
    size = session.scalar(select(func.max(LogCosignatureRow.size)))
    checkpoint = log.checkpoint_at(session, size) if size is not None else None
    return published(session, checkpoint) if checkpoint is not None else None


def witnessed_for(session: Session, bank_id: BankId, size_max: int) -> tuple[str, ...]:
    """Return, for each of a bank's witnesses, the newest checkpoint within a size that it has signed, smallest first."""
    newest = (
        select(func.max(LogCosignatureRow.size)).join(LogWitnessRow, LogWitnessRow.name == LogCosignatureRow.witness)
        .where(LogWitnessRow.bank_id == bank_id, LogWitnessRow.revoked_at.is_(None), LogCosignatureRow.size <= size_max)
        .group_by(LogCosignatureRow.witness))
    texts = [log.checkpoint_at(session, size) for size in sorted(set(session.scalars(newest)))]
    return tuple(published(session, text) for text in texts if text is not None)


def verify(session: Session, origin: str) -> list[Fault]:
    """Name every cosignature that does not verify over a checkpoint of the log, every step back, and every fork that was shown."""
    faults = [Fault("log", "log-forked") for _ in session.scalars(
        select(AuditEntryRow.id).where(AuditEntryRow.tag == EventTag.LOG_FORK_SHOWN.value).limit(1))]
    before: dict[str, LogCosignatureRow] = {}
    for row in session.scalars(select(LogCosignatureRow).order_by(LogCosignatureRow.witness, LogCosignatureRow.size)):
        subject, witness = f"cosignature:{row.witness}/{row.size}", session.get(LogWitnessRow, row.witness)
        checkpoint = log.checkpoint_at(session, row.size)
        if witness is None or checkpoint is None:
            faults.append(Fault(subject, "cosignature-without-checkpoint"))
            continue
        key = Ed25519PublicKey.from_public_bytes(witness.key)
        note = translog.Checkpoint(origin=origin, size=row.size, root=row.root).note()
        try:
            translog.verify_cosignatures(f"{note}\n{translog.cosignature_line(row.witness, key, row.cosignature)}", {row.witness: key})
            if translog.parse_checkpoint(checkpoint).root != row.root:
                faults.append(Fault(subject, "cosignature-differs"))
            elif row.witness in before:
                _demand_extension(session, before[row.witness], translog.parse_checkpoint(checkpoint))
        except LogProofInvalid:
            faults.append(Fault(subject, "cosignature-invalid"))
        except (CosignatureRefused, LookupError):
            faults.append(Fault(subject, "log-inconsistent"))
        before[row.witness] = row
    return faults


def _line_of(session: Session, signed: str, origin: str) -> tuple[LogWitnessRow, bytes]:
    """Return the one known witness that a note is signed by, locked, with its line's bytes."""
    names = {line.name: line for line in translog.split_note(signed)[1] if line.name != origin and len(line.name) <= 80}
    query = select(LogWitnessRow).where(LogWitnessRow.name.in_(sorted(names)), LogWitnessRow.revoked_at.is_(None))
    rows = session.scalars(query.order_by(LogWitnessRow.name).with_for_update()).all() if 0 < len(names) <= 50 else []
    known = [row for row in rows if translog.key_id(
        row.name, Ed25519PublicKey.from_public_bytes(row.key), translog.KEY_TYPE_COSIGNATURE) == names[row.name].key_id]
    if len(known) != 1:
        raise CosignatureRefused(reason=f"{len(known)} lines by enrolled witnesses, one is expected")
    return known[0], names[known[0].name].signature


def _is_signed_by_us(signed: str, origin: str, keys: tuple[Ed25519PublicKey, ...]) -> bool:
    for key in keys:
        try:
            translog.verify_checkpoint(signed, origin, key)
        except LogProofInvalid:
            continue
        return True
    return False


def _demand_extension(session: Session, before: LogCosignatureRow, checkpoint: translog.Checkpoint) -> None:
    path = log.consistency_path(session, before.size, checkpoint.size)
    try:
        merkle.demand_consistency((before.size, before.root), (checkpoint.size, checkpoint.root), path)
    except LogProofInvalid as fault:
        raise CosignatureRefused(reason="the checkpoint does not extend what this witness signed") from fault


def _view(session: Session, row: LogWitnessRow) -> WitnessView:
    size = session.scalar(select(func.max(LogCosignatureRow.size)).where(LogCosignatureRow.witness == row.name))
    return WitnessView(
        name=row.name, bank_id=BankId(row.bank_id), key=base64.b64encode(row.key).decode(), enrolled_at=row.enrolled_at, revoked_at=row.revoked_at,
        size=size or 0)
