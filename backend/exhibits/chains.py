"""The devices' own chains: each statement captured or witnessed is one link, wherever and in whatever order it arrives."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.ids import new_id
from backend.exhibits.beacons import issued_at
from backend.exhibits.findings import add_findings, findings_of
from backend.exhibits.model import GAP, GAP_FILLED, LinkRole
from backend.exhibits.rules import ChainFacts, ChainTimes, judge_chain, judge_order
from backend.exhibits.tables import ChainLinkRow, ManifestRow
from backend.staff.model import DeviceEvent, DeviceState, advance_device
from backend.staff.queries import renewed_among
from backend.staff.tables import DeviceChangeRow, DeviceRow
from evidence.envelope import Signer
from evidence.manifest import decode_manifest
from evidence.model import Finding, Grade


def extend(session: Session, row: ManifestRow, signer: Signer, role: LinkRole, now: datetime) -> None:
    """Add a link, judge it and its successor, and suspend a device that has told two stories (`chain-fork`).

    A fork's both sides are kept. A gap is a doubt until the missing link arrives.
    """
    seq, prev = (row.seq, row.prev) if role is LinkRole.CAPTURER else (signer.header.seq, signer.header.prev)
    at_same_seq = _digests(session, signer.kid, seq)
    before = _digests(session, signer.kid, seq - 1)
    facts = ChainFacts(
        kid=signer.kid, seq=seq, prev=prev, digest=row.digest, at_same_seq=at_same_seq, at_seq_before=before,
        last=renewed_among(session, (signer.kid,)).get(signer.kid))
    if row.digest not in at_same_seq:
        session.add(ChainLinkRow(
            id=new_id(), device=signer.kid, seq=seq, digest=row.digest, prev=prev, role=role, manifest_id=row.id, received_at=now))
        session.flush()
    found = judge_chain(facts)
    add_findings(session, row, found, now)
    if any(finding.name == "chain-fork" for finding in found):
        _mark_fork(session, signer.kid, seq, row, now)
    _judge_successors(session, signer.kid, seq, row.digest, now)


def lower_before(session: Session, device: str, seq: int) -> datetime | None:
    """Return the latest lower bound among the links before a number of a device's chain."""
    row = _latest_before(session, device, seq)
    return row.captured_lower_at if row is not None else None


def judge_times(session: Session, row: ManifestRow, signer: Signer, role: LinkRole, now: datetime) -> None:
    """Judge whether a link is as old as it says by the links before it, and the nearest link after it by this one.

    A witness's link is bounded by the capturer's clock, so that only what it stands on, not itself, is judged by it.
    """
    seq = row.seq if role is LinkRole.CAPTURER else signer.header.seq
    before = _latest_before(session, signer.kid, seq)
    if role is LinkRole.CAPTURER and before is not None:
        add_findings(session, row, judge_order(_times(session, signer.kid, row, before)), now)
    after = session.scalars(
        select(ManifestRow).join(ChainLinkRow, ChainLinkRow.manifest_id == ManifestRow.id)
        .where(ChainLinkRow.device == signer.kid, ChainLinkRow.seq > seq, ChainLinkRow.role == LinkRole.CAPTURER)
        .order_by(ManifestRow.captured_upper_at).limit(1)).one_or_none()
    if after is not None:
        add_findings(session, after, judge_order(_times(session, signer.kid, after, row)), now)


def _latest_before(session: Session, device: str, seq: int) -> ManifestRow | None:
    return session.scalars(
        select(ManifestRow).join(ChainLinkRow, ChainLinkRow.manifest_id == ManifestRow.id)
        .where(ChainLinkRow.device == device, ChainLinkRow.seq < seq, ManifestRow.captured_lower_at.is_not(None))
        .order_by(ManifestRow.captured_lower_at.desc()).limit(1)).one_or_none()


def _times(session: Session, kid: str, row: ManifestRow, before: ManifestRow) -> ChainTimes:
    proven_at = issued_at(session, decode_manifest(before.payload).beacon, before.device)
    return ChainTimes(kid=kid, upper_at=row.captured_upper_at, lower_before_at=before.captured_lower_at, proven_before_at=proven_at)


def _digests(session: Session, device: str, seq: int) -> frozenset[str]:
    return frozenset(session.scalars(select(ChainLinkRow.digest).where(ChainLinkRow.device == device, ChainLinkRow.seq == seq)))


def _judge_successors(session: Session, device: str, seq: int, digest: str, now: datetime) -> None:
    """Close the gap before each link that follows, or call its chain broken."""
    pointer = f"{device}/{seq + 1}"
    following = session.execute(
        select(ManifestRow, ChainLinkRow).join(ChainLinkRow, ChainLinkRow.manifest_id == ManifestRow.id)
        .where(ChainLinkRow.device == device, ChainLinkRow.seq == seq + 1)
    )
    for successor, link in following.all():
        has_gap = any(finding.name == GAP and finding.pointer == pointer for finding in findings_of(session, successor.id))
        if not has_gap:
            continue
        filled = Finding(name=GAP_FILLED, grade=Grade.INFO, rules=("EVD-09",), pointer=pointer, expected=f"number {seq}", got="arrived")
        broken = Finding(
            name="chain-broken", grade=Grade.FRAUD_SIGN, rules=("EVD-09",), pointer=pointer, expected="the digest of the payload before",
            got="another")
        add_findings(session, successor, (filled,) if link.prev == digest else (filled, broken), now)


def _mark_fork(session: Session, kid: str, seq: int, row: ManifestRow, now: datetime) -> None:
    finding = Finding(
        name="chain-fork", grade=Grade.FRAUD_SIGN, rules=("EVD-09",), pointer=f"{kid}/{seq}", expected="one payload per number", got="two")
    others = select(ManifestRow).join(ChainLinkRow, ChainLinkRow.manifest_id == ManifestRow.id).where(
        ChainLinkRow.device == kid, ChainLinkRow.seq == seq, ManifestRow.id != row.id)
    for other in session.scalars(others).all():
        add_findings(session, other, (finding,), now)
    device = session.get_one(DeviceRow, kid)
    if device.state is DeviceState.ACTIVE:
        session.add(DeviceChangeRow(
            id=new_id(), kid=kid, at=now, by=None, from_state=device.state, to_state=DeviceState.SUSPENDED,
            reason="two payloads under one chain number"))
        device.state = advance_device(device.state, DeviceEvent.SUSPEND)
        session.flush()


def open_gaps(session: Session, manifest_ids: Collection[UUID]) -> tuple[str, ...]:
    """Return `device/number` of each link of these statements whose predecessor never arrived."""
    query = select(ChainLinkRow).where(ChainLinkRow.manifest_id.in_(manifest_ids), ChainLinkRow.seq > 1)
    links = session.scalars(query.order_by(ChainLinkRow.device, ChainLinkRow.seq)).all()
    return tuple(f"{link.device}/{link.seq}" for link in links if not _digests(session, link.device, link.seq - 1))
