"""The command line: plans come out, bad input gives one line and exit 2, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from routing import Limits, check, load_instance, solve
from routing.__main__ import SECONDS_MAX, main
from routing.model import Instance, Plan
from routing.reader import load_plan
from tests.unit.routing.support_days import HOUR, day, visit

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "routing", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def _write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_day_in_a_clean_plan_out_and_the_judge_agrees(tmp_path: Path) -> None:
    made = day(visit("V0", "p0"), visit("V1", "p1", cash_fen=1000))
    source, out = _write(tmp_path / "day.json", made), str(tmp_path / "plan.json")
    ended = _run("solve", source, "--seconds", "1", "--seed", "3", "--iterations", "2", "--out", out)
    assert (ended.returncode, ended.stderr) == (0, "")
    plan = load_plan(Path(out).read_bytes())
    assert check(load_instance(made), plan) == ()
    assert plan.served() == {"V0", "V1"}
    judged = _run("check", source, out)
    assert (judged.returncode, judged.stderr) == (0, "")


def test_by_iterations_no_clock_cuts_the_search_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Limits] = []
    source, out = _write(tmp_path / "day.json", day(visit("V0", "p0"))), str(tmp_path / "plan.json")

    def seen(instance: Instance, limits: Limits, **rest: Any) -> Plan:
        asked.append(limits)
        return solve(instance, limits, **rest)

    monkeypatch.setattr(import_module("routing.solve"), "solve", seen)
    for more in (["--iterations", "1"], ["--iterations", "1", "--seconds", "7"]):
        assert main(["solve", source, "--out", out, *more]) == 0
    assert [(one.iterations_max, one.search_s) for one in asked] == [(1, SECONDS_MAX), (1, 7.0)]


def test_check_prints_each_violation_with_its_rule_and_exits_1(tmp_path: Path) -> None:
    source = _write(tmp_path / "day.json", day(visit("V0", "p0")))
    plan = {"schema": "fieldday-plan/1", "instance": "day", "routes": [{"collectors": ["bilal"], "stops": [{"type": "visit", "id": "V0"}]}]}
    ended = _run("check", source, _write(tmp_path / "plan.json", plan))
    assert ended.returncode == 1
    assert ended.stdout.startswith("VIS-01 pair_size: route 0: ")


BAD_FILES: list[tuple[str, str, Any]] = [
    ("no JSON", "file", "{"), ("empty", "file", ""), ("list", "instance", []),
    ("missing key", "visits[0].service_s", {**day(), "visits": [{k: v for k, v in visit("V0", "p0").items() if k != "service_s"}]}),
    ("NaN", "locations[0].lat", json.dumps(day()).replace("31.23,", "NaN,", 1)),
    ("negative window", "visits[0].windows", day(visit("V0", "p0", windows=[[12 * HOUR, 9 * HOUR]]))),
    ("unknown id", "visits[0].location", day(visit("V0", "p9"))),
    ("duplicate id", "visits[1].id", day(visit("V0", "p0"), visit("V0", "p1"))),
]


@pytest.mark.parametrize(("key", "content"), [one[1:] for one in BAD_FILES], ids=[one[0] for one in BAD_FILES])
def test_bad_input_is_one_line_naming_the_key_and_exit_2(tmp_path: Path, key: str, content: Any) -> None:
    ended = _run("solve", _write(tmp_path / "day.json", content), "--seconds", "1", "--out", str(tmp_path / "plan.json"))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{key}: ")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("arguments", [
    (), ("fly",), ("solve",), ("solve", "absent.json", "--out", "plan.json"), ("solve", ".", "--out", "plan.json"),
    ("solve", "absent.json", "--seconds", "nan", "--out", "plan.json"), ("solve", "absent.json", "--seconds", "-1", "--out", "plan.json"),
    ("solve", "absent.json", "--seed", "x", "--out", "plan.json"), ("check", "absent.json", "absent.json"),
], ids=lambda arguments: " ".join(arguments) or "nothing")
def test_bad_usage_is_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    ended = _run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("made", [
    day(), day(visit("V0", "p0"), collectors=[]), day(visit("V0", "p0", windows=[[20 * HOUR, 21 * HOUR]])),
], ids=["no visits", "no collectors", "nothing possible"])
def test_an_impossible_day_gives_an_empty_plan_with_reasons(tmp_path: Path, made: dict[str, Any]) -> None:
    out = tmp_path / "plan.json"
    ended = _run("solve", _write(tmp_path / "day.json", made), "--seconds", "1", "--out", str(out))
    assert (ended.returncode, ended.stderr) == (0, "")
    plan = json.loads(out.read_text(encoding="utf-8"))
    assert plan["routes"] == []
    assert len(plan["unserved"]) == len(made["visits"])


def test_a_bad_matrix_is_named(tmp_path: Path) -> None:
    source = _write(tmp_path / "day.json", day(visit("V0", "p0")))
    table = _write(tmp_path / "table.json", {"ids": ["office"], "seconds": [[0]], "metres": [[0]]})
    ended = _run("solve", source, "--seconds", "1", "--out", str(tmp_path / "plan.json"), "--matrix", table)
    assert (ended.returncode, ended.stderr) == (2, "matrix.ids: location 'bank' is missing\n")
