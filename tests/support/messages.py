"""The zh-Hans catalogue: what the code says, what is translated, and the compiled file.

`make messages` writes the catalogue anew: msgids of the code in order, known translations kept, empty where there is none yet.
"""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from tests.architecture.tree import ROOT, sources

FOLDER = ROOT / "backend" / "core" / "locale" / "zh_Hans" / "LC_MESSAGES"
CATALOGUE, COMPILED = FOLDER / "fieldvisit.po", FOLDER / "fieldvisit.mo"
MARKERS = {"N_", "_", "translate"}


def said() -> dict[str, list[tuple[str, int]]]:
    """Return every msgid of code and templates with the places that say it."""
    found: dict[str, list[tuple[str, int]]] = {}
    for source in sources("backend", "mobile_api"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.setdefault(first.value, []).append((source.path, node.lineno))
    for path in sorted((ROOT / "backend").rglob("templates/*.html")) + sorted((ROOT / "mobile_api").rglob("*.html")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for quoted in re.findall(r'\b_\("((?:[^"\\]|\\.)*)"\)', line):
                found.setdefault(quoted.replace('\\"', '"'), []).append((str(path.relative_to(ROOT)), number))
    return found


def catalogue() -> Catalog:
    """Read the catalogue."""
    with CATALOGUE.open("rb") as stream:
        return read_po(stream, locale="zh_Hans")


def write() -> None:
    """Write catalogue and compiled file anew, with translations handed in as `*.po-part` files taken over."""
    known: dict[str, str] = {}
    for path in [CATALOGUE, *sorted(FOLDER.parent.glob("*.po-part"))]:
        if path.exists():
            with path.open("rb") as stream:
                known |= {str(message.id): str(message.string) for message in read_po(stream, locale="zh_Hans") if message.id and message.string}
    fresh = Catalog(locale="zh_Hans", project="fieldvisit", fuzzy=False, charset="utf-8")
    for msgid, places in sorted(said().items()):
        fresh.add(msgid, known.get(msgid, ""), locations=[(path, 0) for path in sorted({path for path, _ in places})])
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write(fresh, CATALOGUE)
    missing = [str(message.id) for message in fresh if message.id and not message.string]
    print(f"{len(said())} messages, {len(missing)} without a translation")
    for msgid in missing:
        print("  ", msgid)


def _write(fresh: Catalog, path: Path) -> None:
    fresh.creation_date = fresh.revision_date = datetime(2026, 11, 21, tzinfo=UTC)     # The same content gives the same bytes.
    with path.open("wb") as stream:
        write_po(stream, fresh, width=0, no_location=False, include_lineno=False)
    with COMPILED.open("wb") as stream:
        write_mo(stream, fresh)


if __name__ == "__main__":
    write()
