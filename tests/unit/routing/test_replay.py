"""Replay: the identical plan from its record, by both engines, and a clear refusal for everything else."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routing import (
    Engine,
    InstanceError,
    Limits,
    Plan,
    ReplayDiffers,
    ReplayRefused,
    load_instance,
    load_record,
    plan_digest,
    record_of,
    replay,
    solve,
    table_matrix,
)
from routing.engines import search
from routing.matrix import travel_matrix
from routing.model import Instance
from routing.replay import PlanRecord
from tests.unit.routing.support_days import HOUR
from tests.unit.routing.test_process import wide

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
BY_ITERATIONS = {Engine.ORTOOLS: Limits(search_s=300, iterations_max=4, engine=Engine.ORTOOLS),
                 Engine.SEARCH: Limits(search_s=300, iterations_max=2000, engine=Engine.SEARCH)}


def stored(instance: Instance, plan: Plan) -> PlanRecord:
    """Return the record as somebody reads it from a file years later."""
    return load_record(msgspec.json.encode(record_of(instance, plan)))


def ready(engine: Engine) -> Engine:
    if engine is Engine.SEARCH and not search.is_ready():
        pytest.skip("!!! the compiled search is not there: its replay is not tried !!!")
    return engine


@pytest.mark.parametrize("engine", list(BY_ITERATIONS))
def test_a_plan_by_iterations_repeats(engine: Engine) -> None:
    instance = wide()
    plan = solve(instance, BY_ITERATIONS[ready(engine)], seed=11)
    assert plan.solver is not None
    assert plan.solver.parameters["searched_by"] == ("ortools" if engine is Engine.ORTOOLS else "compiled")
    again = replay(stored(instance, plan))
    assert (plan_digest(again), again.routes) == (plan_digest(plan), plan.routes)


@pytest.mark.parametrize("search_s", [0.4, 1.0])
def test_a_plan_by_the_clock_of_the_compiled_search_repeats(search_s: float) -> None:
    ready(Engine.SEARCH)
    instance = wide(60)
    plan = solve(instance, Limits(search_s=search_s, engine=Engine.SEARCH), seed=3)
    assert plan_digest(replay(stored(instance, plan))) == plan_digest(plan)


def test_a_plan_on_a_road_table_repeats_and_keeps_the_table() -> None:
    instance = wide(12)
    flat = travel_matrix(instance)
    table = table_matrix({"ids": list(flat.ids), "seconds": (flat.seconds * 2).tolist(), "metres": flat.metres.tolist()}, instance)
    plan = solve(instance, BY_ITERATIONS[Engine.ORTOOLS], matrix=table)
    record = load_record(msgspec.json.encode(record_of(instance, plan, table)))
    assert record.matrix is not None
    assert plan_digest(replay(record)) == plan_digest(plan)
    with pytest.raises(ReplayRefused, match="matrix"):
        replay(msgspec.structs.replace(record, matrix=None))


@pytest.fixture(scope="module")
def record() -> PlanRecord:
    instance = wide(8)
    return record_of(instance, solve(instance, Limits(search_s=60, iterations_max=1, engine=Engine.ORTOOLS)))


def solver_with(record: PlanRecord, **changes: Any) -> PlanRecord:
    return msgspec.structs.replace(record, solver=msgspec.structs.replace(record.solver, **changes))


@pytest.mark.parametrize("name", ["ortools", "numpy", "python", "machine", "routing", "fieldvisit"])
def test_another_version_is_refused_by_name_and_may_be_tried(record: PlanRecord, name: str) -> None:
    other = solver_with(record, versions={**record.solver.versions, name: "0.0"})
    with pytest.raises(ReplayRefused, match=f"{name}: the plan was made with 0.0"):
        replay(other)
    assert plan_digest(replay(other, is_strict=False)) == record.plan_digest


def test_numba_counts_only_where_it_searched(record: PlanRecord) -> None:
    assert replay(solver_with(record, versions={**record.solver.versions, "numba": "0.0"}))


def test_another_instance_is_refused(record: PlanRecord) -> None:
    other = msgspec.structs.replace(record.instance, visits=record.instance.visits[1:])
    with pytest.raises(ReplayRefused, match="instance"):
        replay(msgspec.structs.replace(record, instance=other))


def test_absent_kernels_and_absent_numba_are_told_apart(record: PlanRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = solver_with(record, parameters={**record.solver.parameters, "searched_by": "compiled"})
    monkeypatch.setattr(search, "is_ready", lambda: False)
    monkeypatch.setattr(search, "is_installed", lambda: True)
    with pytest.raises(ReplayRefused, match="routing warm"):
        replay(compiled)
    monkeypatch.setattr(search, "is_installed", lambda: False)
    with pytest.raises(ReplayRefused, match="numba"):
        replay(compiled)


def with_cash(instance: Instance) -> Instance:
    """Return the day with money to take on every third visit."""
    whole = msgspec.to_builtins(instance)
    for number, one in enumerate(whole["visits"]):
        one["cash_fen"] = 0 if number % 3 else 40_000 + number
    return load_instance(whole)


def with_breaks(instance: Instance) -> Instance:
    """Return the day with a break for everybody: the search in NumPy leaves it to OR-Tools."""
    whole = msgspec.to_builtins(instance)
    for one in whole["collectors"]:
        one["breaks"] = [{"window": [11 * HOUR, 14 * HOUR], "duration_s": 1800}]
    return load_instance({**whole, "schema": "fieldday/2"})


@pytest.mark.parametrize(("made", "engines"), [
    (with_cash(wide()), ["recreate", "ortools-parts"]), (with_breaks(wide()), ["ortools-whole", "ortools-parts"]),
    (with_breaks(with_cash(wide(20))), ["ortools-whole", "ortools-parts"]),
], ids=["cash", "breaks", "breaks and cash"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_plan_by_the_clock_of_ortools_repeats(made: Instance, engines: list[str], seed: int) -> None:
    plan = solve(made, Limits(search_s=2.0, engine=Engine.ORTOOLS), seed=seed)
    assert plan.solver is not None
    found = {one["engine"]: one["found"] for one in plan.solver.trace if one["stage"] == "search"}
    assert (list(found), min(sum(one) for one in found.values()) > 0) == (engines, True)
    again = replay(stored(made, plan))
    assert (plan_digest(again), again.routes) == (plan_digest(plan), plan.routes)


@pytest.mark.parametrize("engine", ["ortools-whole", "ortools-parts"])
def test_counts_that_were_cut_out_of_a_record_are_no_other_error_than_a_plan_that_differs(engine: str) -> None:
    made = with_breaks(wide())
    record = record_of(made, solve(made, Limits(search_s=1.0, engine=Engine.ORTOOLS)))
    without = solver_with(record, trace=tuple(one for one in record.solver.trace if one.get("engine") != engine))
    emptied = solver_with(record, trace=tuple({**one, "found": []} if one.get("engine") == engine else one for one in record.solver.trace))
    for damaged in (without, emptied):
        with suppress(ReplayDiffers):                 # Or the very plan, where what was cut out had bettered nothing; never another error.
            assert plan_digest(replay(damaged)) == record.plan_digest


def test_a_cancelled_plan_of_ortools_repeats() -> None:
    instance, asked = with_breaks(wide()), []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 40

    plan = solve(instance, Limits(search_s=60.0, engine=Engine.ORTOOLS), cancelled=cancelled)
    assert plan_digest(replay(stored(instance, plan))) == plan_digest(plan)


def test_a_search_by_ortools_that_kept_no_count_is_refused(record: PlanRecord) -> None:
    """As plans of older releases are."""
    trace = tuple({name: value for name, value in one.items() if name != "found"} for one in record.solver.trace)
    older = solver_with(record, trace=trace, parameters={**record.solver.parameters, "iterations_max": None})
    with pytest.raises(ReplayRefused, match="kept no count"):
        replay(older)


def test_a_plan_cut_short_and_a_plan_by_hand_are_refused(record: PlanRecord) -> None:
    with pytest.raises(ReplayRefused, match="stopped before it finished"):
        replay(solver_with(record, trace=record.solver.trace[:-1]))
    with pytest.raises(ReplayRefused, match="by hand"):
        record_of(record.instance, Plan(instance="day", routes=()))


def test_a_plan_that_comes_out_otherwise_is_named(record: PlanRecord) -> None:
    with pytest.raises(ReplayDiffers) as difference:
        replay(msgspec.structs.replace(record, plan_digest="0" * 64))
    assert difference.value.got == record.plan_digest


@pytest.mark.parametrize("damage", [{"schema": "x"}, {"instance": {}}, {"solver": 7}, {"solver": {}}, {"plan_digest": None}])
def test_a_damaged_record_is_one_line(record: PlanRecord, damage: dict[str, Any]) -> None:
    with pytest.raises(InstanceError):
        load_record(msgspec.json.encode({**msgspec.to_builtins(record), **damage}))


def test_the_command_line_repeats_what_it_recorded(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "routing", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)

    day, kept, other = tmp_path / "day.json", tmp_path / "record.json", tmp_path / "other.json"
    day.write_bytes(msgspec.json.encode(wide(8)))
    asked = ("--engine", "ortools", "--iterations", "1", "--seconds", "60", "--out", str(tmp_path / "plan.json"), "--record", str(kept))
    assert run("solve", str(day), *asked).returncode == 0
    again = run("replay", str(kept), "--out", str(tmp_path / "again.json"))
    assert (again.returncode, again.stdout[:10]) == (0, "identical:"), again.stderr
    whole = json.loads(kept.read_bytes())
    other.write_text(json.dumps({**whole, "plan_digest": "0" * 64}))
    assert run("replay", str(other)).returncode == 1
    whole["solver"]["versions"]["ortools"] = "0.0"
    other.write_text(json.dumps(whole))
    refused = run("replay", str(other))
    assert (refused.returncode, refused.stderr.count("\n"), "ortools" in refused.stderr) == (2, 1, True)
