"""The compiled search: repeatable by iterations, clean, better than its start; and everything works with numba hidden."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from routing import Engine, InstanceError, Limits, check, encode_plan, load_instance, solve
from routing.engines import search
from routing.vrptw import encode_routes, read_vrptw, solve_vrptw
from tests.unit.routing.support_days import BENCH, bench_day, day, days, visit

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
COMPILED = Limits(search_s=120, iterations_max=400, engine=Engine.SEARCH)


@pytest.fixture
def compiled() -> None:
    """Skip where the kernels are not compiled: tests never wait a minute for a compiler."""
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")


@pytest.mark.usefixtures("compiled")
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(days())
def test_the_compiled_search_never_breaks_a_hard_rule(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    assert check(instance, solve(instance, COMPILED)) == ()


@pytest.mark.usefixtures("compiled")
def test_the_compiled_search_repeats_to_the_byte_and_beats_its_start() -> None:
    instance = load_instance(bench_day("fd50-tight"))
    first, second = (solve(instance, Limits(search_s=120, iterations_max=3000, engine=Engine.SEARCH), seed=5) for _ in range(2))
    assert encode_plan(first) == encode_plan(second)
    assert first.solver is not None
    brought = {one.engine: one for one in first.solver.contributions}
    assert brought["compiled search"].iterations == 3000
    assert brought["compiled search"].cost_after < brought["swap matching + regret start"].cost_after


def test_everything_works_with_numba_hidden(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import importlib.util as u; real = u.find_spec; u.find_spec = lambda name, *a: None if name == 'numba' else real(name, *a)\n"
        "import json, routing\n"
        "day = routing.load_instance(open(sys.argv[1], 'rb').read())\n"
        "plan = routing.solve(day, routing.Limits(search_s=60, iterations_max=2))\n"
        "print(routing.check(day, plan), sorted(one.engine for one in plan.solver.contributions))\n"
    )
    source = tmp_path / "day.json"
    source.write_text(json.dumps(day(visit("V0", "p0"), visit("V1", "p1", cash_fen=100))), encoding="utf-8")
    ended = subprocess.run([sys.executable, "-c", script, str(source)], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    assert ended.stdout.startswith("() ")
    assert "OR-Tools parts" in ended.stdout
    assert "compiled" not in ended.stdout


VRP = """NAME : tiny
DIMENSION : 4
VEHICLES : 2
CAPACITY : 10
SERVICE_TIME : 1
NODE_COORD_SECTION
1 0 0
2 0 3
3 4 0
4 4 3
DEMAND_SECTION
1 0
2 5
3 5
4 5
TIME_WINDOW_SECTION
1 0 100
2 0 90
3 0 90
4 0 90
DEPOT_SECTION
1
-1
EOF
"""


def test_a_tiny_vrptw_is_solved_to_its_optimum() -> None:
    problem = read_vrptw(VRP)
    routes = solve_vrptw(problem, search_s=60, iterations_max=200)
    assert sorted(one for route in routes for one in route) == [1, 2, 3]
    assert encode_routes(problem, routes).endswith("Cost 180\n")


@pytest.mark.parametrize(("old", "new", "key"), [
    ("CAPACITY : 10\n", "", "CAPACITY"), ("4 4 3\n", "", "DEMAND_SECTION"), ("4 4 3\n", "4 x 3\n", "line 10"), (VRP, "", "NODE_COORD_SECTION"),
])
def test_a_bad_vrptw_file_is_refused_by_name(old: str, new: str, key: str) -> None:
    with pytest.raises(InstanceError, match=f"^{key}: "):
        read_vrptw(VRP.replace(old, new))


@pytest.mark.usefixtures("compiled")
def test_a_published_vrptw_comes_near_its_best_known() -> None:
    path = BENCH / "vrptw" / "R109.vrp"
    if not path.exists():
        pytest.skip("the shared VRPTW instances are absent")
    problem = read_vrptw(path.read_text(encoding="utf-8"))
    routes = solve_vrptw(problem, search_s=600, iterations_max=20_000)
    cost = int(encode_routes(problem, routes).split()[-1])
    assert 11469 <= cost <= 1.03 * 11469
