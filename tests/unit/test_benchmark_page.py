"""The page of measured figures says what the files of the benchmarks hold, and nothing else."""

import shutil
from pathlib import Path

from tests.benchmarks.tables import FOLDER, page


def test_the_page_is_what_was_measured() -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(FOLDER), "run `python -m tests.benchmarks.tables`"


def test_an_area_that_was_not_measured_has_no_section(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "evidence.json", tmp_path)
    told = page(tmp_path)
    assert "bench-evidence" in told
    assert "bench-planning" not in told
