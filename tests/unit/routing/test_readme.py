"""The README's example runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

README = Path(__file__).resolve().parents[3] / "routing" / "README.md"


def test_the_examples_in_the_readme_hold() -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(examples) >= 3
    exec(compile("\n".join(examples), str(README), "exec"), {})
