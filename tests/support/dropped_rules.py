"""A pytest plugin that drops a rule's breaches in `demand()` while the tests named after that rule run.

    pytest -p tests.support.dropped_rules --dropped-report FILE tests

Each `test_VIS_01_…` runs with VIS-01 dropped. FILE then says for each rule how many of its tests turned red: a rule whose tests all
stay green is enforced nowhere that matters, or tested nowhere that bites.
"""

import json
import re
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

from backend.core import rulebook

RULE_IN_NAME = re.compile(r"(?<![A-Z])(VIS|REQ|CASH|EVD|DECL|CASE|CONT|LTR|POL|LEGAL|ARCH|SEC|PERF|TEAM|SYS|BANK)_(\d\d)")
_red: dict[str, int] = defaultdict(int)
_run: dict[str, int] = defaultdict(int)


def rules_of(name: str) -> frozenset[str]:
    """Return the rule ids in a test's name."""
    return frozenset(f"{family}-{number}" for family, number in RULE_IN_NAME.findall(name.split("[")[0]))


def _forgetful(breaches):  # type: ignore[no-untyped-def]
    left = tuple(breach for breach in breaches if breach.rule not in _DROPPED)  # noqa: F821 - a global of the rulebook, see below.
    if left:
        raise RulesBreached(left)  # noqa: F821


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--dropped-report", default="dropped.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [test for test in items if rules_of(test.name) and "postgresql" not in test.name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    original = rulebook.demand.__code__
    rulebook._DROPPED = rules_of(item.name)  # type: ignore[attr-defined]
    rulebook.demand.__code__ = _forgetful.__code__          # Every module that imported the function sees the change.
    try:
        return (yield)
    finally:
        rulebook.demand.__code__ = original


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for rule in rules_of(report.nodeid.rsplit("::", 1)[-1]):
            _run[rule] += 1
            _red[rule] += report.failed


def pytest_sessionfinish(session: pytest.Session) -> None:
    found = {rule: {"run": _run[rule], "red": _red[rule]} for rule in sorted(_run)}
    Path(session.config.getoption("--dropped-report")).write_text(json.dumps(found, indent=1), encoding="utf-8")
