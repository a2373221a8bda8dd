"""The draw that nobody can choose: what was committed cannot be moved, what follows from it can be made again, and every forgery is found."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import Instance, Limits, Plan, check, load_instance, solve, travel_matrix
from routing.provenance import plan_digest
from routing.swap import NONE_LEGAL, NOT_ASKED, NOT_DRAWN, SWAPPED, TOO_FEW, Drawn, commit, draw, load_document, verify_in_full, verify_swap
from tests.unit.routing.support_days import HOUR, day, visit

SEED = bytes(range(32))


def whole_day(**changes: Any) -> Instance:
    noon = [[11 * HOUR, 11 * HOUR + 1800]]
    doors = [visit(f"V{number}", f"p{number}", windows=noon if number < 2 else [[8 * HOUR, 16 * HOUR]]) for number in range(4)]
    return load_instance(day(*doors[:3], {**doors[3], "cash_fen": 1000}, **changes))


@pytest.fixture(scope="module")
def base() -> tuple[Instance, Plan]:
    made = whole_day()
    plan = solve(made, Limits(iterations_max=3), seed=1)
    assert len(plan.routes) == 2                                # Two visits at noon take two pairs.
    return made, plan


def drawn_by(base: tuple[Instance, Plan], seed: bytes = SEED, chance: int = 100, **more: Any) -> Drawn:
    return draw(seed, "plan-1", *base, chance_pct=chance, **more)


def test_REQ_06_partners_change_into_a_clean_plan_that_serves_the_same(base: tuple[Instance, Plan]) -> None:
    made = drawn_by(base)
    assert made.document.outcome == SWAPPED
    assert check(base[0], made.plan) == ()
    assert made.plan.served() == base[1].served()
    before, after = ({frozenset(route.collectors) for route in plan.routes} for plan in (base[1], made.plan))
    assert before.isdisjoint(after)
    assert frozenset().union(*before) == frozenset().union(*after)
    assert verify_swap(made.document, commit(SEED, "plan-1", base[0], 100)) == ()
    assert verify_in_full(made.document, made.document.commitment, *base, made.plan) == ()


def test_REQ_06_the_same_seed_gives_the_same_draw_and_another_seed_another(base: tuple[Instance, Plan]) -> None:
    assert drawn_by(base).document == drawn_by(base).document
    found = {drawn_by(base, bytes([number]) * 32).plan.routes for number in range(24)}
    assert len(found) > 1                                       # Which partners change differs …
    rolls = [drawn_by(base, bytes([number]) * 32, 50).document.outcome for number in range(60)]
    assert {SWAPPED, NOT_DRAWN} <= set(rolls)                   # … and whether any do.
    assert 15 <= rolls.count(SWAPPED) <= 45


def test_REQ_06_partners_change_on_a_day_with_breaks_and_slow_hours() -> None:
    crew = [{**one, "breaks": [{"window": [12 * HOUR, 13 * HOUR], "duration_s": 1800}]} for one in day()["collectors"]]
    travel = {**day()["travel"], "speeds": [{"span": [8 * HOUR, 12 * HOUR], "percent": 60}]}
    made = whole_day(schema="fieldday/2", collectors=crew, travel=travel)
    base = solve(made, Limits(iterations_max=3), seed=1)
    drawn = draw(SEED, "plan-1", made, base, chance_pct=100)
    assert drawn.document.outcome == SWAPPED
    assert check(made, drawn.plan) == ()
    assert drawn.plan.served() == base.served()
    assert verify_in_full(drawn.document, commit(SEED, "plan-1", made, 100), made, base, drawn.plan) == ()


@pytest.mark.parametrize(("chance", "outcome"), [(0, NOT_DRAWN), (100, SWAPPED)])
def test_a_chance_of_nothing_never_and_of_all_always(base: tuple[Instance, Plan], chance: int, outcome: str) -> None:
    for number in range(5):
        assert drawn_by(base, bytes([number]) * 32, chance).document.outcome == outcome


def test_REQ_06_nobody_chooses_after_the_commitment(base: tuple[Instance, Plan]) -> None:
    """Whatever is varied afterwards, seed, day, plan's name or chance, the commitment does not open."""
    committed = commit(SEED, "plan-1", base[0], 100)
    other_day = msgspec.structs.replace(base[0], name="another")
    for other in (commit(bytes(32), "plan-1", base[0], 100), commit(SEED, "plan-2", base[0], 100), commit(SEED, "plan-1", other_day, 100),
                  commit(SEED, "plan-1", base[0], 99)):
        assert other != committed
    for number in range(40):                                    # A thief of the draw who tries seeds until one pleases.
        forged = drawn_by(base, bytes([number]) * 32).document
        assert verify_swap(forged, committed)
        lied = msgspec.structs.replace(forged, commitment=committed)
        assert "the seed does not open the commitment that was logged for this plan, day and chance" in verify_swap(lied, committed)


def forgeries(made: Drawn) -> list[tuple[str, dict[str, Any]]]:
    document = msgspec.to_builtins(made.document)
    last = document["tried"][-1]
    return [
        ("seed", {"seed": "00" * 32}), ("chance", {"chance_pct": 1}), ("plan", {"plan": "plan-9"}), ("day", {"instance_digest": "0" * 64}),
        ("undone", {"outcome": NOT_DRAWN, "tried": [], "result_digest": document["base_digest"]}),
        ("excused", {"outcome": NONE_LEGAL, "tried": [{**last, "breaks": ["no_lead"]}], "result_digest": document["base_digest"]}),
        ("others", {"tried": [*document["tried"][:-1], {**last, "pairs": [last["pairs"][1], last["pairs"][0]]}]}),
        ("passed over", {"tried": [last, last]}), ("pairs", {"pairs": document["pairs"][::-1]}), ("schema", {"schema": "pair-swap/9"}),
        ("outcome", {"outcome": TOO_FEW}), ("result", {"result_digest": document["base_digest"]}),
    ]


@pytest.mark.parametrize("number", range(12))
def test_REQ_06_a_draw_that_does_not_follow_from_the_seed_fails_verification(base: tuple[Instance, Plan], number: int) -> None:
    made = drawn_by(base)
    name, changed = forgeries(made)[number]
    forged = load_document({**msgspec.to_builtins(made.document), **changed})
    assert verify_swap(forged, made.document.commitment), name
    assert verify_in_full(forged, made.document.commitment, *base, made.plan), name


def test_REQ_06_a_draw_over_another_plan_is_found_beside_the_plan_and_mostly_alone(base: tuple[Instance, Plan]) -> None:
    """Where chance lets the other plan's numbers choose the same partners, only the plan itself shows it."""
    made = drawn_by(base)
    forged = [msgspec.structs.replace(made.document, base_digest=f"{number:064x}") for number in range(40)]
    assert all(verify_in_full(one, made.document.commitment, *base, made.plan) for one in forged)
    assert sum(1 for one in forged if verify_swap(one, made.document.commitment)) > 5


def test_REQ_06_a_published_plan_with_other_partners_fails_verification(base: tuple[Instance, Plan]) -> None:
    made = drawn_by(base)
    findings = verify_in_full(made.document, made.document.commitment, *base, base[1])
    assert "the published plan is not the one that follows from the seed" in findings
    other = next(one for one in (drawn_by(base, bytes([n]) * 32) for n in range(30)) if plan_digest(one.plan) != plan_digest(made.plan))
    assert verify_in_full(made.document, made.document.commitment, *base, other.plan)
    assert verify_in_full(other.document, made.document.commitment, *base, other.plan)


def test_an_illegal_exchange_is_passed_over_with_its_reason_and_no_legal_one_changes_nothing(base: tuple[Instance, Plan]) -> None:
    pairs = [tuple(route.collectors) for route in base[1].routes]
    across = [[a, b] for a in pairs[0] for b in pairs[1]]
    barred = msgspec.structs.replace(
        base[0], pairing=msgspec.structs.replace(base[0].pairing, conflicts=tuple((str(a), str(b)) for a, b in across)),  # type: ignore[arg-type]
    )
    made = draw(SEED, "plan-1", barred, base[1], chance_pct=100)
    assert made.document.outcome == NONE_LEGAL
    assert {code for one in made.document.tried for code in one.breaks} == {"pair_conflict"}
    assert len(made.document.tried) == 4
    assert made.plan == base[1]
    assert verify_in_full(made.document, made.document.commitment, barred, base[1], base[1]) == ()
    one = msgspec.structs.replace(base[0], pairing=msgspec.structs.replace(base[0].pairing, conflicts=(tuple(across[0]),)))
    for number in range(12):
        found = draw(bytes([number]) * 32, "plan-1", one, base[1], chance_pct=100)
        assert found.document.outcome == SWAPPED
        assert check(one, found.plan) == ()
        assert tuple(sorted(across[0])) not in {tuple(sorted(route.collectors)) for route in found.plan.routes}


def test_a_running_day_reveals_its_seed_and_changes_nobody(base: tuple[Instance, Plan]) -> None:
    made = drawn_by(base, is_asked=False)
    assert (made.document.outcome, made.plan) == (NOT_ASKED, base[1])
    assert verify_in_full(made.document, made.document.commitment, *base, base[1]) == ()


def test_one_pair_has_nobody_to_exchange_with(base: tuple[Instance, Plan]) -> None:
    alone = msgspec.structs.replace(base[1], routes=base[1].routes[:1], unserved=None)
    made = draw(SEED, "plan-1", base[0], alone, chance_pct=100)
    assert made.document.outcome == TOO_FEW
    assert verify_swap(made.document, made.document.commitment) == ()


@pytest.mark.parametrize(("seed", "chance"), [(b"", 10), (bytes(31), 10), (SEED, 101), (SEED, -1)])
def test_a_bad_seed_or_chance_is_refused(base: tuple[Instance, Plan], seed: bytes, chance: int) -> None:
    with pytest.raises(ValueError):
        commit(seed, "plan-1", base[0], chance)


@settings(max_examples=30, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), chance=st.integers(0, 100))
def test_every_draw_is_clean_and_verifies(seed: bytes, chance: int) -> None:
    made = whole_day()
    plan = BASE.setdefault("plan", solve(made, Limits(iterations_max=3), seed=1))
    found = draw(seed, "plan-1", made, plan, chance_pct=chance, matrix=travel_matrix(made))
    assert check(made, found.plan) == ()
    assert verify_in_full(found.document, commit(seed, "plan-1", made, chance), made, plan, found.plan) == ()


BASE: dict[str, Plan] = {}
