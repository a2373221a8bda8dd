"""What the server writes to its log when it stumbles: where and what kind, never what it held in its hands (SEC-01)."""

import json
from collections.abc import Iterator

import pytest
import structlog

from backend.cli.app import configure_logs

CARD = "6200000000000000"


@pytest.fixture
def logs(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    configure_logs()
    yield capfd
    structlog.reset_defaults()


def stumble(card_number: str) -> None:
    raise RuntimeError(f"cannot read {card_number}")


def test_SEC_01_a_logged_fault_holds_neither_locals_nor_its_words(logs: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            stumble(CARD)
        except RuntimeError as error:
            raise KeyError(CARD) from error
    except KeyError as error:
        structlog.get_logger("test").error("internal error", request_id="r-1", exc_info=error)
    written = logs.readouterr().out
    assert CARD not in written
    line = json.loads(written)
    assert [one["exc_type"] for one in line["exception"]] == ["KeyError", "RuntimeError"]
    assert "stumble" in [frame["name"] for frame in line["exception"][1]["frames"]]
