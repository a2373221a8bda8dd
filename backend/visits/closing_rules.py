"""What the signed closing of a visit is judged by: signatures, recording, entry, papers, and that nothing in it is another bank's. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

import msgspec

from backend.core.ids import StaffId
from backend.core.rulebook import Breach, Rule
from backend.exhibits.joint_rules import Stretch, how_to_split
from evidence.manifest import Role

JOINT, SHARED = "joint-recording", "item-of-two-banks"
"""Exceptions that nobody can take on by name: the file is split, rejected, or heard by a reviewer who says so of the file itself."""


class Deed(StrEnum):
    """What was done at the door that leaves a paper."""

    MONEY = "money"              # Anything taken and receipted.
    NOTES = "notes"              # Notes and coins, or nobody said what it was.
    LETTER = "letter"
    POLICE = "police"            # Police attended, and neither station nor officer was told.
    DECLARATION = "declaration"


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """What shows a deed, by which rule, and what it is called when it is not there."""

    code: str
    rule: Rule
    role: Role


PAPERS: Mapping[Deed, Paper] = MappingProxyType({
    Deed.MONEY: Paper(code="counterfoil-missing", rule=Rule.CASH_05, role=Role.COUNTERFOIL),
    Deed.NOTES: Paper(code="cash-count-missing", rule=Rule.CASH_07, role=Role.CASH_COUNT),
    Deed.LETTER: Paper(code="delivery-unproven", rule=Rule.LTR_07, role=Role.LETTER_DELIVERY),
    Deed.POLICE: Paper(code="police-slip-missing", rule=Rule.POL_09, role=Role.POLICE_SLIP),
    Deed.DECLARATION: Paper(code="declaration-missing", rule=Rule.DECL_03, role=Role.DECLARATION_PAGE),
})
PAPER_CODES = frozenset(paper.code for paper in PAPERS.values()) | {"receipt-missing"}


class PaperFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was done and what is there to show it."""

    deeds: frozenset[Deed] = frozenset()
    receipts: int = 0                                  # Receipt statements of this visit.
    is_money_told: bool = False                        # An outcome says that money was taken.
    shown: Mapping[Role, int] = MappingProxyType({})   # Files of this visit by what they show.


def judge_papers(facts: PaperFacts) -> tuple[Breach, ...]:
    """Judge whether each deed left its paper (F21): a receipt's counterfoil each, the count, the delivery, the slip, the declaration."""
    breaches = []
    if facts.is_money_told and not facts.receipts:
        breaches.append(Breach(Rule.CASH_05, "receipt-missing", expected="a receipt signed by both", got="none"))
    for deed in Deed:
        paper = PAPERS[deed]
        due = max(1, facts.receipts) if deed is Deed.MONEY else 1
        held = facts.shown.get(paper.role, 0)
        if deed in facts.deeds and held < due:
            breaches.append(Breach(paper.rule, paper.code, expected=f"{due} × {paper.role.value}", got=str(held)))
    return tuple(breaches)


class ClosingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the signed closing of a visit is judged by."""

    pair: frozenset[StaffId]
    signers: frozenset[StaffId]
    recordings: int              # Declared for this visit in any statement; whether they arrived is judged at the review.
    is_entered: bool             # The answer on the statement.
    has_entry: bool              # An entry was told, here or by an event.
    is_entry_evidenced: bool     # The evidence that the entry names was declared for this visit.
    has_outcome: bool
    papers: PaperFacts
    joint: Sequence[str]         # Recordings that ran on into another bank's visit and were not split, by item id (F22).
    shared: Sequence[str]        # Files whose bytes also stand under another bank's visit, by item id (F22).
    stretch: Stretch | None      # What of a joint recording is this visit's own; None before start and end are known.


def judge_closing(facts: ClosingFacts) -> tuple[Breach, ...]:
    """Judge a closing: both of the pair signed (VIS-01), a recording exists (EVD-01), the entered answer agrees (VIS-02, VIS-03), each
    deed left its paper, and nothing is another bank's (SEC-01).

    Each breach is an exception that stays listed until a reviewer takes it on themselves; none closes silently.
    """
    breaches = []
    if len(facts.signers & facts.pair) < 2:
        breaches.append(Breach(Rule.VIS_01, "closing-not-cosigned", expected="both of the pair", got=str(len(facts.signers & facts.pair))))
    if facts.recordings == 0:
        breaches.append(Breach(Rule.EVD_01, "no-recording", expected="a recording of the visit", got="none"))
    if facts.is_entered and not (facts.has_entry and facts.is_entry_evidenced):
        got = "no evidence" if facts.has_entry else "not told"
        breaches.append(Breach(Rule.VIS_03, "entry-unproven", expected="reason, consent and evidence for the entry", got=got))
    elif not facts.is_entered and facts.has_entry:
        breaches.append(Breach(Rule.VIS_02, "entry-denied", expected="entered", got="not entered"))
    if not facts.has_outcome:
        breaches.append(Breach(Rule.EVD_10, "outcome-missing", expected="an outcome", got="none"))
    return (*breaches, *judge_papers(facts.papers), *judge_joint(facts.joint, facts.shared, facts.stretch))


def judge_joint(joint: Sequence[str], shared: Sequence[str], stretch: Stretch | None) -> tuple[Breach, ...]:
    """Judge that no file belongs to two banks (SEC-01, F22). What is expected tells from when to when this visit's own part runs."""
    breaches = []
    if joint:
        breaches.append(Breach(Rule.SEC_01, JOINT, expected=how_to_split(stretch), got=",".join(sorted(joint))[:500]))
    if shared:
        breaches.append(Breach(Rule.SEC_01, SHARED, expected="a file of its own for each bank", got=",".join(sorted(shared))[:500]))
    return tuple(breaches)
