"""The wheel carries everything that the checkout does: it runs in an environment that knows nothing of the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

pytestmark = pytest.mark.slow


def run(command: list[str], cwd: Path, **environ: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FIELDVISIT", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env={**kept, **environ}, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], ROOT)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_templates_fonts_messages_and_migrations(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    for ending in ("templates/base.html", "templates/day.html", "fonts/NotoSansCJKsc-Regular.otf", "fonts/OFL.txt", "LC_MESSAGES/fieldvisit.mo",
                   "migrations/env.py", "versions/2026_11_21_cash.py", "assets/console.css"):
        assert any(name.endswith(ending) for name in held), ending
    assert not any(name.startswith(("tests/", "docs/")) for name in held)


def test_the_wheel_runs_doctor_and_the_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], tmp_path)
    run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(ROOT / ".ci" / "requirements.lock")], tmp_path)
    run([str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel)], tmp_path)
    fieldvisit = str(tmp_path / "venv" / "bin" / "fieldvisit")
    settings = {"FIELDVISIT_DATA_FOLDER": str(tmp_path / "data"), "FIELDVISIT_KEY_FOLDER": str(tmp_path / "keys"),
                "FIELDVISIT_FREE_BYTES_MIN": "1000000", "FIELDVISIT_FREE_SHARE_MIN": "0"}
    run([fieldvisit, "keys", "init"], tmp_path, **settings)
    run([fieldvisit, "db", "upgrade"], tmp_path, **settings)
    assert "BAD" not in run([fieldvisit, "doctor"], tmp_path, **settings)
    run([fieldvisit, "demo", "--quick", "--out", str(tmp_path / "demo")], tmp_path)
    assert (tmp_path / "demo" / "pack.zip").stat().st_size > 0
