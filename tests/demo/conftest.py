"""One played day per run, kept below a temporary folder, for every test that looks at its results."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.tree import ROOT


class Played(NamedTuple):
    """A finished demo: where it lies and what it said."""

    folder: Path
    output: str


def play(folder: Path, *arguments: str) -> Played:
    """Run `fieldvisit demo` in a process of its own; fails the test when it does not exit 0."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "backend.cli.main", "demo", "--out", str(folder / "demo"), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, f"{done.stdout[-6_000:]}\n{done.stderr[-6_000:]}"
    return Played(folder=folder / "demo", output=done.stdout)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The day as `make demo` plays it, on SQLite."""
    return play(tmp_path_factory.mktemp("played"))
