"""Days spoilt at random, through the command itself: one line and exit 2, or a plan; never a traceback, never a hang."""

from __future__ import annotations

import json
import random
import signal
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from routing.__main__ import main
from tests.unit.routing.support_days import HOUR, day, visit

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from pathlib import Path

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 10**22, 1.5, float("nan"), float("inf"), "", "nobody", "\u0000", [], {}, [[]], [1, 2, 3], {"a": 1},
    [20 * HOUR, 8 * HOUR], "x" * 300,
)
DAY = day(
    visit("V0", "p0", announced={"window": [9 * HOUR, 10 * HOUR], "price": 5}, debtor="li"), visit("V1", "p1", cash_fen=500, credential="icbc"),
    visit("V2", "p2", pinned_collectors=["bilal"], pinned_start=11 * HOUR), schema="fieldday/2", now=9 * HOUR,
    progress=[{
        "collectors": ["emin", "fang"], "departure": 8 * HOUR, "place": "p3", "free_at": 10 * HOUR, "together": True,
        "stops": [{"type": "visit", "id": "V3", "arrival": 9 * HOUR, "start": 9 * HOUR, "end": 10 * HOUR, "cash_fen": 0}],
    }],
)
DAY["visits"].append(visit("V3", "p3"))


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [one for key, value in inner for one in [(*path, key), *_paths(value, (*path, key))]]


def _spoilt(rng: random.Random) -> Any:
    made = deepcopy(DAY)
    for _ in range(rng.choice([1, 1, 2])):
        path = rng.choice(_paths(made))
        node = made
        for key in path[:-1]:
            node = node[key]
        action = rng.randrange(4)
        if action == 0:
            del node[path[-1]]
        elif action == 1 and isinstance(node, list):
            node.append(deepcopy(node[path[-1]]))
        else:
            node[path[-1]] = deepcopy(rng.choice(JUNK))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_a_spoilt_day_gives_one_line_or_a_plan(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    rng, statuses = random.Random(seed), set()
    try:
        for _ in range(150):
            source, out = tmp_path / "day.json", tmp_path / "plan.json"
            source.write_text(json.dumps(_spoilt(rng)), encoding="utf-8")
            status = main(["solve", str(source), "--iterations", "0", "--engine", "ortools", "--out", str(out)])
            told = capsys.readouterr()
            statuses.add(status)
            assert status in (0, 2), source.read_text(encoding="utf-8")
            assert told.err.count("\n") == (1 if status else 0)
            assert not status or ": " in told.err
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert statuses == {0, 2}
