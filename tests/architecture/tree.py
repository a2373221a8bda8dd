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


def imported(tree: ast.AST) -> set[str]:
    """Return the dotted names of all modules that a tree imports, relative ones left out."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found.add(node.module)
    return found
