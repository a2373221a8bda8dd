"""Each command block of both READMEs is run, and both READMEs hold the same blocks."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.architecture.tree import ROOT
from tests.demo.conftest import Played

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
BIN = Path(sys.executable).parent


def commands(readme: str) -> list[str]:
    """Return the command lines of a README's shell blocks, comments left out."""
    blocks = BLOCK.findall((ROOT / readme).read_text(encoding="utf-8"))
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines() if line.partition("#")[0].strip()]


def test_both_readmes_hold_the_same_commands() -> None:
    assert commands("README.md") == commands("README.zh-CN.md")


def test_every_command_is_run_by_a_test_here() -> None:
    assert set(commands("README.md")) == {
        "make demo", "make serve", "make test", "fieldvisit keys init", "fieldvisit db upgrade", "fieldvisit doctor", "fieldvisit audit verify",
        "python -m evidence.verify_pack var/demo/pack.zip --trust var/demo/trust.json",
    }


@pytest.mark.parametrize("target", ["demo", "serve", "test", "check", "test-slow", "migrations"])
def test_make_knows_every_target_the_readme_names(target: str) -> None:
    # `make test` cannot run inside itself; the recipe is what CI runs.
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_operators_commands_run_in_order(tmp_path: Path) -> None:
    settings = {"FIELDVISIT_DATA_FOLDER": str(tmp_path / "data"), "FIELDVISIT_KEY_FOLDER": str(tmp_path / "keys"),
                "FIELDVISIT_FREE_BYTES_MIN": "1000000", "FIELDVISIT_FREE_SHARE_MIN": "0"}
    for command in commands("README.md"):
        if command.startswith("fieldvisit"):
            done = subprocess.run(
                [sys.executable, "-m", "backend.cli.main", *command.split()[1:]], cwd=ROOT, env={**os.environ, **settings}, capture_output=True,
                text=True, check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"


@pytest.mark.slow
def test_the_packs_command_verifies_the_demos_pack(played: Played) -> None:
    command = next(line for line in commands("README.md") if "verify_pack" in line).replace("var/demo", str(played.folder)).split()[1:]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_serve_shows_the_demos_console_and_prints_its_logins(played: Played, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "demo").symlink_to(played.folder)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "backend.cli.main", "serve", "--demo", "--port", "8765"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "http://127.0.0.1:8765" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        transport = httpx.HTTPTransport(retries=20)
        with httpx.Client(transport=transport, base_url="http://127.0.0.1:8765") as client:
            page = client.get("/console/login")
            assert page.status_code == 200
            assert client.get("/schema/openapi.json").json()["openapi"].startswith("3.1")
            assert client.get("/mobile/schema/openapi.json").json()["paths"]
        for role in ("operator", "dispatcher", "supervisor", "bank_liaison", "data_clerk"):
            assert role in said, said
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
