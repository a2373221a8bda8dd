"""The source tree as syntax trees, read once for all tidy tests."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("backend", "routing", "evidence", "mobile_api")
MIGRATIONS = ROOT / "backend" / "db" / "migrations" / "versions"


class Source(NamedTuple):
    """One Python file: its path from the root, its text, its tree."""

    path: str
    text: str
    tree: ast.Module


def sources(*packages: str) -> tuple[Source, ...]:
    """Return every Python file of `packages` (all of ours by default), migrations left out."""
    return tuple(source for package in packages or PACKAGES for source in _package(package))


@cache
def _package(package: str) -> tuple[Source, ...]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        if MIGRATIONS not in path.parents:
            text = path.read_text(encoding="utf-8")
            found.append(Source(str(path.relative_to(ROOT)), text, ast.parse(text)))
    return tuple(found)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function and method of a tree."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
