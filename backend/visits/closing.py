"""Gather what the closing of a visit is judged by, and what stands against a closed one when it is reviewed."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from backend.core.ids import StaffId, VisitId
from backend.exhibits import joint
from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.model import RECORDING_ROLES, ItemState
from backend.exhibits.queries import without_recording
from backend.exhibits.spans import Span, spans_of
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.visits.catalogue import Outcome
from backend.visits.closing_rules import (
    JOINT,
    PAPER_CODES,
    SHARED,
    ClosingFacts,
    Deed,
    PaperFacts,
    Stretch,
    how_to_split,
    is_covered,
    judge_papers,
    runs_into,
)
from backend.visits.tables import EntryRow, ExceptionRow, OutcomeRow, VisitRow
from evidence.facts import CashReceiptFacts, Instrument, Kind
from evidence.manifest import decode_manifest

_LETTERS = frozenset({Outcome.LETTER_HANDED_OVER, Outcome.LETTER_IN_MAILBOX})
_SETTLED = frozenset({ItemVerdict.ACCEPTED, ItemVerdict.REJECTED})


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a visit that are another bank's too. `runs_on` are recordings, whether or not they were split since; `open` are not."""

    runs_on: tuple[Span, ...]
    open: tuple[Span, ...]
    shared: tuple[tuple[UUID, UUID, str], ...]
    shared_open: tuple[str, ...]


def closing_facts(session: Session, visit: VisitRow, *, signers: Iterable[StaffId], is_entered: bool, evidence: str | None) -> ClosingFacts:
    """Gather what `judge_closing` reads. `evidence` is the item that the statement names for an entry; without one, the told entry's."""
    told = session.scalars(select(EntryRow).where(EntryRow.visit_id == visit.id)).all()
    named = {one for one in (evidence, *(entry.evidence_item_id for entry in told)) if one is not None}
    declared = select(func.count()).select_from(ItemRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
    of_visit = declared.where(ManifestRow.visit_id == visit.id)
    found = joint_of(session, visit)
    return ClosingFacts(
        pair=frozenset({StaffId(visit.collector_a), StaffId(visit.collector_b)}), signers=frozenset(signers),
        recordings=session.scalar(of_visit.where(ItemRow.role.in_(sorted(RECORDING_ROLES)))) or 0, is_entered=is_entered,
        has_entry=bool(told) or evidence is not None,
        is_entry_evidenced=bool(named) and (session.scalar(of_visit.where(ItemRow.item_id.in_(sorted(named)))) or 0) > 0,
        has_outcome=visit.outcome is not None, papers=paper_facts(session, visit), joint=tuple(one.item_id for one in found.open),
        shared=found.shared_open, stretch=stretch_of(visit),
    )


def open_exceptions(session: Session, visit: VisitRow) -> frozenset[str]:
    """Return what still stands against a closed visit: what arrived since its closing no longer does, what never arrived does (EVD-01).

    Papers and joint files are judged anew: phones deliver in any order, so a closing may have been judged before it all was here.
    """
    listed = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_(None))))
    taken_on = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_not(None))))
    if without_recording(session, [VisitId(visit.id)]):
        missing = {"no-recording", "recording-not-stored"}
        listed |= set() if missing & (listed | taken_on) else {"recording-not-stored"}
    else:
        listed -= {"no-recording"}
    if visit.outcome is not None:
        listed -= {"outcome-missing"}
    lacking = {breach.code for breach in judge_papers(paper_facts(session, visit, is_stored=True))}
    found = joint_of(session, visit)
    open_now = lacking - taken_on | ({JOINT} if found.open else set()) | ({SHARED} if found.shared_open else set())
    return frozenset(listed - PAPER_CODES - {JOINT, SHARED} | open_now)


def paper_facts(session: Session, visit: VisitRow, *, is_stored: bool = False) -> PaperFacts:
    """Gather what was done at the door and what shows it: declared at the closing, stored (`is_stored`) at the review."""
    told = {code: fields for code, fields in session.execute(
        select(OutcomeRow.code, OutcomeRow.fields).where(OutcomeRow.visit_id == visit.id).order_by(OutcomeRow.at, OutcomeRow.id)) if code is not None}
    receipts = [decode_manifest(payload).facts for payload in session.scalars(
        select(ManifestRow.payload).where(ManifestRow.visit_id == visit.id, ManifestRow.kind == Kind.CASH_RECEIPT))]
    deeds = set()
    is_money_told = Outcome.CASH_TAKEN in told
    if is_money_told or receipts:
        deeds.add(Deed.MONEY)
    if any(isinstance(one, CashReceiptFacts) and one.instrument is Instrument.CASH for one in receipts) or (is_money_told and not receipts):
        deeds.add(Deed.NOTES)
    if _LETTERS & told.keys():
        deeds.add(Deed.LETTER)
    # POL-10: where there is no slip, station and officer are noted instead.
    if Outcome.POLICE_ATTENDED in told and not {"station", "officer_number"} <= told[Outcome.POLICE_ATTENDED].keys():
        deeds.add(Deed.POLICE)
    if Outcome.DECLARATION_TAKEN in told:
        deeds.add(Deed.DECLARATION)
    roles = select(ItemRow.role).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ManifestRow.visit_id == visit.id)
    if is_stored:
        roles = roles.where(ItemRow.state == ItemState.STORED)
    return PaperFacts(deeds=frozenset(deeds), receipts=len(receipts), is_money_told=is_money_told, shown=Counter(session.scalars(roles)))


def stretch_of(visit: VisitRow) -> Stretch | None:
    """Return from when to when the visit was, as far as its events told."""
    if visit.started_at is None:
        return None
    return Stretch(started_at=visit.started_at, ended_at=max(visit.started_at, visit.ended_at or visit.outcome_at or visit.started_at))


def joint_of(session: Session, visit: VisitRow) -> Joint:
    """Return the files of a visit that are another bank's too (F22).

    A recording counts no longer once the same phone or recorder holds this visit's own part as a file by itself, or a reviewer of
    the agency heard or rejected it. Shared bytes count until they are rejected.
    """
    others = [stretch for one in session.scalars(_beside(visit)) if (stretch := stretch_of(one)) is not None]
    spans = spans_of(session, [visit.id])
    runs_on = tuple(one for one in spans if any(runs_into(_stretch(one), other) for other in others))
    clean = [one for one in spans if one not in runs_on]
    shared = joint.shared_with_another_bank(session, visit.id)
    heard = joint.heard_of(session, [*(one.item_key for one in runs_on), *(key for key, _, _ in shared)])
    own = stretch_of(visit)
    return Joint(
        runs_on=runs_on, shared=shared,
        open=tuple(one for one in runs_on if heard.get(one.item_key) not in _SETTLED and not _is_split(one, own, clean)),
        shared_open=tuple(item_id for key, _, item_id in shared if heard.get(key) is not ItemVerdict.REJECTED))


def mark_joint(session: Session, visit: VisitRow, now: datetime) -> None:
    """Bar the files of this visit that are another bank's too from every bank, and those of other visits that are this one's."""
    found = joint_of(session, visit)
    joint.mark(session, joint.JOINT, ((one.item_key, one.manifest_id, one.item_id) for one in found.runs_on), how_to_split(stretch_of(visit)), now)
    joint.mark(session, joint.SHARED, found.shared, "a file of its own for each bank", now)
    own = stretch_of(visit)
    if own is None:
        return
    beside = {one.id: one for one in session.scalars(_beside(visit))}
    for one in spans_of(session, sorted(beside)):
        if runs_into(_stretch(one), own):
            joint.mark(session, joint.JOINT, [(one.item_key, one.manifest_id, one.item_id)], how_to_split(stretch_of(beside[one.visit_id])), now)


def _beside(visit: VisitRow) -> Select[VisitRow]:
    pair = (visit.collector_a, visit.collector_b)
    return select(VisitRow).where(
        VisitRow.bank_id != visit.bank_id, VisitRow.started_at.is_not(None), or_(VisitRow.collector_a.in_(pair), VisitRow.collector_b.in_(pair)),
        VisitRow.on.between(visit.on - timedelta(days=1), visit.on + timedelta(days=1))).order_by(VisitRow.id)


def _is_split(one: Span, own: Stretch | None, clean: Iterable[Span]) -> bool:
    parts = [_stretch(part) for part in clean if part.source == one.source]
    if own is None:
        return False
    part = Stretch(started_at=max(one.started_at, own.started_at), ended_at=min(one.ended_at, own.ended_at))
    return bool(parts) and (part.ended_at <= part.started_at or is_covered(part, parts))


def _stretch(one: Span) -> Stretch:
    return Stretch(started_at=one.started_at, ended_at=max(one.started_at, one.ended_at))
