"""What a closing lacks, deed by deed; and which recordings hold two banks' visits."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from backend.core.ids import StaffId
from backend.core.rulebook import Rule
from backend.exhibits.joint_rules import OVERRUN, Stretch, is_covered, runs_into
from backend.visits.closing_rules import ClosingFacts, Deed, PaperFacts, judge_closing, judge_papers
from evidence.manifest import Role

BILAL, DONG, EVE = (StaffId(UUID(int=n)) for n in (1, 2, 3))
TEN = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)


def stretch(start_s: float, end_s: float) -> Stretch:
    return Stretch(started_at=TEN + timedelta(seconds=start_s), ended_at=TEN + timedelta(seconds=end_s))


def closing(**changed: Any) -> ClosingFacts:
    clean = ClosingFacts(
        pair=frozenset({BILAL, DONG}), signers=frozenset({BILAL, DONG}), recordings=1, is_entered=False, has_entry=False, is_entry_evidenced=False,
        has_outcome=True, papers=PaperFacts(), joint=(), shared=(), stretch=stretch(0, 600))
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize(("changed", "rule"), [
    ({"signers": frozenset({BILAL})}, Rule.VIS_01), ({"signers": frozenset({BILAL, EVE})}, Rule.VIS_01), ({"recordings": 0}, Rule.EVD_01),
    ({"is_entered": True}, Rule.VIS_03), ({"is_entered": True, "has_entry": True}, Rule.VIS_03), ({"has_entry": True}, Rule.VIS_02),
    ({"has_outcome": False}, Rule.EVD_10), ({"joint": ("item-1",)}, Rule.SEC_01), ({"shared": ("item-1",)}, Rule.SEC_01),
    ({"papers": PaperFacts(deeds=frozenset({Deed.LETTER}))}, Rule.LTR_07),
])
def test_EVD_01_VIS_03_a_closing_that_lacks_something_lists_it(changed: dict[str, Any], rule: Rule) -> None:
    assert [breach.rule for breach in judge_closing(closing(**changed))] == [rule]


def test_a_whole_closing_is_clean() -> None:
    assert judge_closing(closing()) == ()
    assert judge_closing(closing(is_entered=True, has_entry=True, is_entry_evidenced=True)) == ()


@pytest.mark.parametrize(("deed", "role", "rule", "code"), [
    (Deed.MONEY, Role.COUNTERFOIL, Rule.CASH_05, "counterfoil-missing"), (Deed.NOTES, Role.CASH_COUNT, Rule.CASH_07, "cash-count-missing"),
    (Deed.LETTER, Role.LETTER_DELIVERY, Rule.LTR_07, "delivery-unproven"), (Deed.POLICE, Role.POLICE_SLIP, Rule.POL_09, "police-slip-missing"),
    (Deed.DECLARATION, Role.DECLARATION_PAGE, Rule.DECL_03, "declaration-missing"),
])
def test_CASH_05_CASH_07_LTR_07_POL_09_DECL_03_each_deed_leaves_its_own_paper(deed: Deed, role: Role, rule: Rule, code: str) -> None:
    others = {one: 9 for one in Role if one is not role}
    (breach,) = judge_papers(PaperFacts(deeds=frozenset({deed}), shown=others))
    assert (breach.rule, breach.code) == (rule, code)
    assert judge_papers(PaperFacts(deeds=frozenset({deed}), shown={role: 1})) == ()


def test_CASH_05_every_receipt_has_a_counterfoil_of_its_own() -> None:
    facts = PaperFacts(deeds=frozenset({Deed.MONEY}), receipts=2, is_money_told=True, shown={Role.COUNTERFOIL: 1})
    (breach,) = judge_papers(facts)
    assert (breach.expected, breach.got) == ("2 × counterfoil", "1")


def test_CASH_05_money_told_without_a_receipt_is_listed() -> None:
    (breach,) = judge_papers(PaperFacts(deeds=frozenset({Deed.MONEY}), is_money_told=True, shown={Role.COUNTERFOIL: 1}))
    assert (breach.rule, breach.code) == (Rule.CASH_05, "receipt-missing")


def test_SEC_01_a_joint_recording_is_answered_with_where_to_cut() -> None:
    (breach,) = judge_closing(closing(joint=("item-2", "item-1")))
    assert breach.expected == "one recording per bank: cut 2026-11-27T02:00:00Z to 2026-11-27T02:10:00Z"
    assert breach.got == "item-1,item-2"
    assert judge_closing(closing(joint=("item-1",), stretch=None))[0].expected.startswith("one recording per bank")


@pytest.mark.parametrize(("recording", "other", "is_joint"), [
    ((0, 3600), (1200, 1800), True),                                            # A whole route.
    ((0, 660), (600, 1200), False),                                             # The minute that a recording lasts beyond the door.
    ((0, 600 + OVERRUN.total_seconds()), (600, 1200), False), ((0, 601 + OVERRUN.total_seconds()), (600, 1200), True),
    ((0, 660), (620, 650), True),                                               # A short visit, all of it.
    ((0, 600), (600, 1200), False), ((0, 600), (700, 1200), False), ((0, 600), (-900, -100), False), ((0, 600), (300, 300), True),
])
def test_SEC_01_a_recording_is_joint_by_more_than_its_overrun(recording: tuple[float, float], other: tuple[float, float], is_joint: bool) -> None:
    assert runs_into(stretch(*recording), stretch(*other)) is is_joint


@pytest.mark.parametrize(("parts", "is_whole"), [
    ([(0, 600)], True), ([(0, 300), (301, 600)], True), ([(301, 600), (0, 300)], True), ([(0, 300), (303, 600)], False), ([(5, 600)], False),
    ([(0, 590)], False), ([], False), ([(-60, 700)], True),
])
def test_SEC_01_parts_cover_a_visit_end_to_end_or_not(parts: list[tuple[float, float]], is_whole: bool) -> None:
    assert is_covered(stretch(0, 600), [stretch(*one) for one in parts]) is is_whole
