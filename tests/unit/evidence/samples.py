"""Where the open evidence samples lie, if they lie anywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "shared" / "evidence-samples"


def sample(path: str) -> Path:
    """Return the path of a sample, or skip the test loudly."""
    found = FOLDER / path
    if not found.exists():
        pytest.skip(f"evidence sample {path} is absent: ../shared/evidence-samples was not delivered with this checkout")
    return found


def sample_json(path: str) -> Any:
    """Return a JSON sample, parsed, or skip the test loudly."""
    return json.loads(sample(path).read_bytes())
