"""The measurements outside CI at least import what they measure."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "tests" / "benchmarks").rglob("*.py") if path.name[0] != "_")


@pytest.mark.parametrize("name", MODULES)
def test_a_measurement_imports_what_is_there(name: str) -> None:
    importlib.import_module(name)


def test_there_are_measurements() -> None:
    assert "tests.benchmarks.planning.references.day" in MODULES
