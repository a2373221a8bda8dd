"""Packages from the npm registry for tests, installed by name into a folder of the test run; what is missing skips loudly."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

INSTALL_S_MAX = 240
PACKAGES = ("tus-js-client@4", "jose@6")
PEER = ("@tus/server@2", "@tus/file-store@2")


@cache
def npm_folder(packages: tuple[str, ...] = PACKAGES) -> Path:
    """Return a folder whose `node_modules` holds the packages, or skip the test.

    `TEST_NPM_FOLDER` names a folder where they are installed already.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("with CI=true node and npm are required")
        pytest.skip("node and npm are absent: clients that nobody here wrote are not run")
    given = os.environ.get("TEST_NPM_FOLDER")
    if given and all((Path(given) / "node_modules" / name.rpartition("@")[0]).is_dir() for name in packages):
        return Path(given)
    folder = Path(mkdtemp(prefix="fieldvisit-npm-"))
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts", *packages], cwd=folder, check=False,
                              capture_output=True, text=True, timeout=INSTALL_S_MAX)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the npm registry did not answer within {INSTALL_S_MAX} s: clients that nobody here wrote are not run")
    if done.returncode != 0:
        pytest.skip(f"the npm registry is out of reach: clients that nobody here wrote are not run ({done.stderr.strip()[-200:]})")
    return folder


def run_node(folder: Path, script: str, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run an ES module beside the packages."""
    program = folder / f"fieldvisit-{os.getpid()}-{abs(hash(script)) % 10**8}.mjs"
    program.write_text(script, encoding="utf-8")
    # Older releases keep WebCrypto behind a flag, newer ones ignore it.
    flags = ["--experimental-global-webcrypto"] if _major() < 20 else []
    return subprocess.run(["node", *flags, program.name, *arguments], cwd=folder, check=False, capture_output=True, text=True, timeout=timeout_s)


@cache
def _major() -> int:
    return int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.lstrip("v").split(".")[0])
