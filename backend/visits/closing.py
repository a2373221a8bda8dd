"""Gather what the closing of a visit is judged by, and what stands against a closed one when it is reviewed."""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

import msgspec
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from backend.core.ids import StaffId
from backend.exhibits import joint
from backend.exhibits.joint import Ran
from backend.exhibits.joint_rules import Stretch, is_covered
from backend.exhibits.model import RECORDING_ROLES, ItemState, Standing, Verdict
from backend.exhibits.spans import Span
from backend.exhibits.tables import ItemRow, ManifestRow, ReviewRow
from backend.visits.catalogue import Outcome
from backend.visits.closing_rules import JOINT, PAPER_CODES, SHARED, ClosingFacts, Deed, PaperFacts, judge_papers
from backend.visits.tables import EntryRow, ExceptionRow, OutcomeRow, VisitRow
from evidence.facts import CashReceiptFacts, Instrument, Kind, VisitCloseFacts
from evidence.manifest import decode_manifest

_LETTERS = frozenset({Outcome.LETTER_HANDED_OVER, Outcome.LETTER_IN_MAILBOX})
UNPROVEN, MISSING = "entry-unproven", "statement-missing"
"""Exceptions: nothing shows an entry; the closing names a statement that never arrived."""
UNDECIDED = "evidence-quarantined"
"""Exception that nobody takes on by name: a statement with a sign of fraud is released by two people, or upheld by one (protocol §2.7)."""


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a visit that are another bank's too and were neither split, heard nor rejected, by item id; and when the visit was."""

    open: tuple[str, ...]
    shared: tuple[str, ...]
    own: Stretch | None


def closing_facts(session: Session, visit: VisitRow, *, signers: Iterable[StaffId], is_entered: bool, evidence: str | None) -> ClosingFacts:
    """Gather what `judge_closing` reads. `evidence` is the item that the statement names for an entry; without one, the told entry's."""
    told = session.scalars(select(EntryRow).where(EntryRow.visit_id == visit.id)).all()
    named = {one for one in (evidence, *(entry.evidence_item_id for entry in told)) if one is not None}
    files = _files(session, visit)
    found = joint_of(session, visit)
    return ClosingFacts(
        pair=frozenset({StaffId(visit.collector_a), StaffId(visit.collector_b)}), signers=frozenset(signers),
        recordings=sum(one.role in RECORDING_ROLES for one in files), is_entered=is_entered, has_entry=bool(told) or evidence is not None,
        is_entry_evidenced=any(one.item_id in named for one in files), has_outcome=visit.outcome is not None,
        papers=paper_facts(session, visit), joint=found.open, shared=found.shared, stretch=found.own,
    )


def open_exceptions(session: Session, visit: VisitRow) -> frozenset[str]:
    """Return what still stands against a closed visit: what arrived since its closing no longer does, what never arrived does (EVD-01).

    Papers and joint files are judged anew: phones deliver in any order, so a closing may have been judged before it all was here.
    """
    listed = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_(None))))
    taken_on = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_not(None))))
    if not any(one.role in RECORDING_ROLES and one.state is ItemState.STORED for one in _files(session, visit)):
        missing = {"no-recording", "recording-not-stored"}
        listed |= set() if missing & (listed | taken_on) else {"recording-not-stored"}
    else:
        listed -= {"no-recording"}
    if visit.outcome is not None:
        listed -= {"outcome-missing"}
    lacking = {breach.code for breach in judge_papers(paper_facts(session, visit, is_stored=True))} | _lacking(session, visit)
    found = joint_of(session, visit)
    if _is_undecided(session, visit):
        lacking.add(UNDECIDED)
    open_now = lacking - (taken_on - {UNDECIDED}) | ({JOINT} if found.open else set()) | ({SHARED} if found.shared else set())
    return frozenset(listed - PAPER_CODES - {JOINT, SHARED, UNDECIDED} | open_now)


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
    shown = {(one.role, one.sha256) for one in _files(session, visit) if one.state is ItemState.STORED or not is_stored}
    return PaperFacts(
        deeds=frozenset(deeds), receipts=len(receipts), is_money_told=is_money_told, shown=Counter(role for role, _ in shown))


def joint_of(session: Session, visit: VisitRow) -> Joint:
    """Return the files of a visit that are another bank's too (F22).

    A recording counts no longer once the same phone or recorder holds this visit's own part as a file by itself, or a reviewer of
    the agency who was told of it heard it, or rejected it. Shared bytes count until they are rejected, here or there.
    """
    found = joint.ran(session, [visit.id])
    own = found.visits.get(visit.id)
    rows = session.execute(
        select(ItemRow.id, ItemRow.item_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ManifestRow.visit_id == visit.id))
    keys = {row.id: row.item_id for row in rows}
    rejected = joint.rejected_of(session, list(keys))
    settled = rejected | joint.cleared_of(session, [one.item_key for one in found.joint])
    shared = joint.shared_open(session, list(keys)) - rejected
    return Joint(
        open=tuple(one.item_id for one in found.joint if one.item_key not in settled and not _is_split(one, own, found, rejected)),
        shared=tuple(keys[key] for key in sorted(shared)), own=own)


def _files(session: Session, visit: VisitRow) -> list[ItemRow]:
    """Return what one of its pair declared for a visit and nobody rejected: a stranger's or a rejected file shows nothing."""
    items = session.scalars(
        select(ItemRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id == visit.id, ManifestRow.staff_id.in_((visit.collector_a, visit.collector_b))).order_by(ItemRow.id)).all()
    rejected = joint.rejected_of(session, [one.id for one in items])
    return [one for one in items if one.id not in rejected]


def _lacking(session: Session, visit: VisitRow) -> set[str]:
    """Return what the closings and the entries of a visit name and nobody brought."""
    here = set(session.scalars(select(ManifestRow.digest).where(ManifestRow.visit_id == visit.id)))
    closings = [decode_manifest(payload).facts for payload in session.scalars(
        select(ManifestRow.payload).where(ManifestRow.visit_id == visit.id, ManifestRow.kind == Kind.VISIT_CLOSE))]
    named = {one for one in session.scalars(select(EntryRow.evidence_item_id).where(EntryRow.visit_id == visit.id)) if one is not None}
    lacking = set()
    for facts in closings:
        assert isinstance(facts, VisitCloseFacts)
        if not set(facts.manifests) <= here:
            lacking.add(MISSING)
        if facts.entry is not None and facts.entry.evidence is not None:
            named.add(facts.entry.evidence)
    if named and not any(one.item_id in named and one.state is ItemState.STORED for one in _files(session, visit)):
        lacking.add(UNPROVEN)
    return lacking


def _is_undecided(session: Session, visit: VisitRow) -> bool:
    """Whether a sign of fraud stands that nobody upheld; one person's release, of the two that it takes, decides nothing."""
    is_upheld = exists().where(ReviewRow.manifest_id == ManifestRow.id, ReviewRow.verdict == Verdict.UPHOLD)
    undecided = select(ManifestRow.id).where(ManifestRow.visit_id == visit.id, ManifestRow.standing == Standing.QUARANTINED, ~is_upheld)
    return session.scalar(undecided.limit(1)) is not None


def _is_split(one: Span, own: Stretch | None, found: Ran, rejected: frozenset[UUID]) -> bool:
    """Tell whether this visit's own part lies there by itself: other bytes of the same recorder, as long as a decoder heard them."""
    if own is None:
        return False
    joint_bytes = {each.sha256 for each in found.joint}
    parts = [each.heard for each in found.spans if each.source == one.source and each.sha256 not in joint_bytes and each.item_key not in rejected]
    part = Stretch(started_at=max(one.started_at, own.started_at), ended_at=min(one.ended_at, own.ended_at))
    return bool(parts) and (part.ended_at <= part.started_at or is_covered(part, parts))
