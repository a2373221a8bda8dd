"""Every finding that the code can make has words on the console's pages, and every word a finding."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from backend.console.finding_words import WORDS, finding_word
from backend.exhibits.joint import JOINT, SHARED
from backend.exhibits.model import GAP, GAP_FILLED, SILENCE_FILLED

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [*(ROOT / "backend" / "exhibits").glob("*.py"), *(one for one in (ROOT / "evidence").glob("*.py") if one.name != "verify_pack.py")]
MAKERS = frozenset({"_found", "found", "find", "tell", "Finding", "end_wait"})
IN_LOOPS = frozenset({"back-dated", "time-runs-back"})        # Named in a table that a loop reads.


def _named(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in MAKERS:
            for given in [*node.args[:3], *(one.value for one in node.keywords if one.arg == "name")]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", given.value):
                    yield given.value
                    break


def test_EVD_09_every_finding_has_words_for_its_reviewer() -> None:
    made = {name for source in SOURCES for name in _named(source)} | IN_LOOPS | {JOINT, SHARED, GAP, GAP_FILLED, SILENCE_FILLED}
    assert made == set(WORDS)
    assert len(set(WORDS.values())) == len(WORDS), "two findings read alike"


def test_a_finding_of_another_version_is_told_by_its_name() -> None:
    assert finding_word("moon-phase") == "moon-phase"
