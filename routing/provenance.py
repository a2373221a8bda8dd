"""Say what made a plan: versions of code and libraries, and digests of what went in and came out."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from routing.model import Instance, Plan
from routing.reader import encode_instance

LIBRARIES = ("ortools", "numba", "numpy", "fieldvisit")


def plan_digest(plan: Plan) -> str:
    """Return the SHA-256 over routes, times and reasons; who found them and how long it took is left out."""
    return _digest(msgspec.structs.replace(plan, solver=None))


def instance_digest(instance: Instance) -> str:
    """Return the SHA-256 over a day."""
    return hashlib.sha256(encode_instance(instance)).hexdigest()


@cache
def code_digest() -> str:
    """Return the SHA-256 over this library's source: two releases of one version number are told apart by it."""
    root = Path(__file__).parent
    state = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda one: one.relative_to(root).as_posix()):
        state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def versions() -> dict[str, str]:
    """Return what a plan depends on besides its inputs; a library that is not installed is not named."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "routing": code_digest()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digest(what: msgspec.Struct) -> str:
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()
