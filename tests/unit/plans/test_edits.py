"""Changes by hand to the routes of a version, and what differs between two."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from backend.core.problems import InvalidInput
from backend.plans.compare import differences, pairs_of
from backend.plans.edits import Edit, apply_edits
from routing import Limits, check, lay_out, load_instance, solve
from routing.hand import Draft
from tests.unit.routing.support_days import HOUR, day, visit

pytestmark = pytest.mark.long

A, B, C, D, E = (UUID(int=number) for number in range(1, 6))
ANNA, BO, CHEN, DAI = (UUID(int=number) for number in range(11, 15))
DAY = frozenset(str(one) for one in (A, B, C, D, E))
BOARD = (Draft((str(ANNA), str(BO)), (str(A), str(B))), Draft((str(CHEN), str(DAI)), (str(C),)))  # type: ignore[arg-type]


def made(*edits: dict[str, Any]) -> list[list[int]]:
    """Apply edits as they come over the wire; return the visits of each route by number."""
    decoded = msgspec.convert([{**one} for one in edits], list[Edit], str_keys=True)
    return [[UUID(one).int for one in draft.visits] for draft in apply_edits(BOARD, DAY, decoded)]


@pytest.mark.parametrize("edits", [
    [{"do": "move", "requestId": str(D), "route": 1}],                      # Not planned.
    [{"do": "move", "requestId": str(A), "route": 3}],                      # No such route.
    [{"do": "move", "requestId": str(A), "route": 2, "place": 3}],          # No such place.
    [{"do": "remove", "requestId": str(E)}],
    [{"do": "swap", "requestId": str(A), "otherId": str(E)}],
    [{"do": "insert", "requestId": str(A), "route": 2}],                    # Planned already.
    [{"do": "insert", "requestId": str(UUID(int=99)), "route": 1}],         # Not of this day.
    [{"do": "pair", "route": 9, "collectorA": str(ANNA), "collectorB": str(DAI)}],
    [{"do": "pin", "requestId": str(E), "startS": 36_000}],                 # Not planned.
])
def test_a_change_to_what_is_not_there_is_refused_by_its_number(edits: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        made({"do": "swap", "requestId": str(A), "otherId": str(B)}, *edits)
    assert refusal.value.details["pointer"] == "/changes/1"


@pytest.mark.parametrize("body", [
    {"do": "dance"}, {"do": "move", "requestId": str(A)}, {"do": "move", "requestId": str(A), "route": 0}, {"requestId": str(A)},
    {"do": "remove", "requestId": str(A), "more": 1}, {"do": "move", "requestId": str(A), "route": 1, "place": 0},
])
def test_a_change_in_other_words_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, Edit)


@pytest.mark.parametrize(("edits", "routes"), [
    ([{"do": "move", "requestId": str(A), "route": 2, "place": 1}], [[2], [1, 3]]),
    ([{"do": "move", "requestId": str(A), "route": 1}], [[2, 1], [3]]),
    ([{"do": "swap", "requestId": str(A), "otherId": str(C)}], [[3, 2], [1]]),
    ([{"do": "remove", "requestId": str(B)}], [[1], [3]]),
    ([{"do": "insert", "requestId": str(D), "route": 1, "place": 2}], [[1, 4, 2], [3]]),
    ([{"do": "remove", "requestId": str(A)}, {"do": "insert", "requestId": str(A), "route": 2}], [[2], [3, 1]]),
])
def test_changes_are_made_in_their_order(edits: list[dict[str, Any]], routes: list[list[int]]) -> None:
    assert made(*edits) == routes


def test_two_pair_changes_swap_partners() -> None:
    edits = msgspec.convert([
        {"do": "pair", "route": 1, "collectorA": str(DAI), "collectorB": str(ANNA)},
        {"do": "pair", "route": 2, "collectorA": str(CHEN), "collectorB": str(BO)},
    ], list[Edit])
    assert [draft.collectors for draft in apply_edits(BOARD, DAY, edits)] == [(str(ANNA), str(DAI)), (str(BO), str(CHEN))]


def test_a_plan_laid_out_by_hand_is_timed_with_its_deposits_and_clean() -> None:
    instance = load_instance(day(visit("V0", "p0", cash_fen=1000), visit("V1", "p1"), visit("V2", "p2")))
    plan = lay_out(instance, [Draft(("bilal", "dong"), ("V1", "V0", "V2"))])  # type: ignore[arg-type]
    assert check(instance, plan) == ()
    assert [stop.id for stop in plan.routes[0].stops if stop.id] == ["V1", "V0", "V2"]
    assert [stop.bank for stop in plan.routes[0].stops if stop.bank] == ["branch"]
    assert all(stop.start is not None for stop in plan.routes[0].stops)


@pytest.mark.parametrize(("draft", "codes"), [
    (Draft(("bilal", "bilal"), ("V0",)), {"pair_size"}),  # type: ignore[arg-type]
    (Draft(("dong", "nobody"), ("V0",)), {"collector_unknown"}),  # type: ignore[arg-type]
    (Draft(("bilal", "dong"), ("V9",)), {"stop_unknown"}),  # type: ignore[arg-type]
    (Draft(("bilal", "dong"), ("late", "early")), {"outside_window"}),  # type: ignore[arg-type]
    (Draft(("bilal", "dong"), ("unapproved",)), {"not_approved"}),  # type: ignore[arg-type]
])
def test_what_is_wrong_with_a_plan_by_hand_is_named(draft: Draft, codes: set[str]) -> None:
    instance = load_instance(day(
        visit("V0", "p0"), visit("early", "p1", windows=[[9 * HOUR, 10 * HOUR]]), visit("late", "p2", windows=[[15 * HOUR, 16 * HOUR]], cash_fen=500),
        visit("unapproved", "p3", approval={"status": "draft", "effective_from": None}),
    ))
    assert codes <= {one.code.value for one in check(instance, lay_out(instance, [draft]))}


def test_two_versions_are_compared_visit_by_visit() -> None:
    names = [str(one) for one in (A, B, C)]
    crew = [{**one, "id": str(who)} for one, who in zip(day()["collectors"], (ANNA, BO, CHEN, DAI), strict=True)]
    instance = load_instance(day(*(visit(name, place) for name, place in zip(names, ("p0", "p1", "p2"), strict=True)), collectors=crew))
    first = lay_out(instance, [Draft((str(ANNA), str(BO)), (names[0], names[1]))])  # type: ignore[arg-type]
    second = lay_out(instance, [Draft((str(ANNA), str(BO)), (names[1],)), Draft((str(CHEN), str(DAI)), (names[2],))])  # type: ignore[arg-type]
    added, dropped, moved = differences(first, second)
    assert (added, dropped) == ((C,), (A,))
    assert [(one.request_id, one.is_other_pair, one.before.position, one.after.position) for one in moved] == [(B, False, 2, 1)]
    assert pairs_of(second) - pairs_of(first) == {(CHEN, DAI)}
    assert differences(first, first) == ((), (), ())
    solved = solve(instance, Limits(search_s=60, iterations_max=1))
    assert differences(solved, solved) == ((), (), ())
