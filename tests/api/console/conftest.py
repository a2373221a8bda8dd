"""A browser for the modules that look at pages."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import chromium_running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One Chromium for a module's tests."""
    with chromium_running() as browser:
        yield browser
