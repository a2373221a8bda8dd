"""The public's one question, over HTTP: genuine, void or unknown, never more, and not for ever. Counted in the database for all processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.cash import actions
from backend.cash.tables import ReceiptNumberRow
from backend.console import cash
from backend.keys.keyring import Keyring
from backend.submissions.tables import RequestCountRow
from backend.web.limits import client_of
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, make_client, make_resources
from tests.support.world import world

PATH = "/verify/receipt"


class Public:
    """Somebody with a receipt in hand, and two processes of ours."""

    def __init__(self, at: Door, clients: list[TestClient[Any]], clock: SteppedClock, number: str, code: str) -> None:
        self.at, self.clients, self.clock, self.number, self.code = at, clients, clock, number, code

    def ask(self, process: int = 0, **changes: Any) -> Any:
        asked = {"number": self.number, "amountFen": 12_300, "code": self.code} | changes
        return self.clients[process].get(PATH, params=asked)


@pytest.fixture
def public(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Iterator[Public]:
    clock = SteppedClock(now)
    with joined.begin() as session:
        at = door(session, keyring, world(session, keyring, now))
        numbers, jti = at.lease(), at.authorise()
        at.take(numbers[0], 12_300, jti)
        actions.void_receipt(session, at.made.bilal.on_phone, at.void_statement(numbers[1]), at.policy, at.now)
        codes = {row.number: row.code for row in session.scalars(select(ReceiptNumberRow))}
    with ExitStack() as stack:
        clients = [
            stack.enter_context(make_client(make_resources(joined, keyring, tmp_path / name, clock), cash.OPEN_ROUTES)) for name in ("one", "two")]
        made = Public(at, clients, clock, numbers[0], codes[numbers[0]])
        made.codes, made.numbers = codes, numbers  # type: ignore[attr-defined]
        yield made


def test_CASH_05_genuine_void_or_unknown_and_nothing_about_the_debt(public: Any) -> None:
    assert public.ask().json() == {"status": "genuine"}
    assert public.ask(amountFen=12_301).json() == {"status": "unknown"}
    assert public.ask(code="A" * 20).json() == {"status": "unknown"}
    assert public.ask(number="NO-1").json() == {"status": "unknown"}
    void, unused = public.numbers[1], public.numbers[2]
    assert public.ask(number=void, code=public.codes[void]).json() == {"status": "void"}
    assert public.ask(number=unused, code=public.codes[unused]).json() == {"status": "unknown"}
    page = public.clients[0].get(PATH, params={"number": public.number, "amountFen": 12_300, "code": public.code}, headers={"Accept": "text/html"})
    assert 'data-status="genuine"' in page.text
    assert "12,300" not in page.text
    assert str(public.at.case_id) not in page.text


def test_CASH_05_a_code_cannot_be_guessed_one_number_is_asked_so_often_by_everybody_together(public: Any) -> None:
    limit = cash.NUMBER_LIMIT[0]
    answers = [public.ask(process=turn % 2, code=f"{turn:020d}").status_code for turn in range(limit)]
    assert answers == [200] * limit
    for process in (0, 1):
        refused = public.ask(process=process, code="A" * 20)
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
        assert 0 < int(refused.headers["Retry-After"]) <= cash.NUMBER_LIMIT[1].total_seconds()
    assert public.ask(number="NO-1").status_code == 200
    assert public.ask().json() == {"status": "genuine"}, "who holds the paper is not kept out by those who guess"
    public.clock.step(cash.NUMBER_LIMIT[1].total_seconds())
    assert public.ask().json() == {"status": "genuine"}


def test_CASH_05_one_caller_asks_only_so_often_about_many(public: Any) -> None:
    limit = cash.CALLER_LIMIT[0]
    assert {public.ask(process=turn % 2, number=f"NO-{turn}").status_code for turn in range(limit)} == {200}
    assert {public.ask(process=process, number=f"YES-{process}").status_code for process in (0, 1)} == {429}
    public.clock.step(cash.CALLER_LIMIT[1].total_seconds())
    assert public.ask().status_code == 200


def test_what_is_counted_names_nobody_and_is_forgotten(public: Any, joined: sessionmaker[Session]) -> None:
    public.ask(number="NO-1")
    with joined() as session:
        kept = session.scalars(select(RequestCountRow.bucket)).all()
        assert len(kept) == 2
        assert all(len(one) == 64 and "NO-1" not in one for one in kept)
        if session.get_bind().dialect.name == "postgresql":
            assert session.execute(text("SELECT relpersistence FROM pg_class WHERE relname = 'request_counts'")).scalar_one() == "u"
    public.clock.step(2 * 86_400)
    public.ask(number="NO-1")
    with joined() as session:
        assert len(session.scalars(select(RequestCountRow.bucket)).all()) == 2


@pytest.mark.parametrize(("host", "forwarded", "expected"), [
    ("203.0.113.9", "", "203.0.113.9"), ("203.0.113.9", "198.51.100.7", "203.0.113.9"), ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", "1.2.3.4, 198.51.100.7", "198.51.100.7"), ("2001:db8:1:2:3:4:5:6", "", "2001:0db8:0001:0002"), ("nobody", "", "unknown"),
])
def test_a_caller_is_known_by_address_and_forwarded_headers_count_from_our_proxies_alone(
    host: str, forwarded: str, expected: str, stub_request: Callable[[str, str], Any]
) -> None:
    request, resources = stub_request(host, forwarded)
    assert client_of(request, resources) == expected


@pytest.fixture
def stub_request(tmp_path: Path) -> Callable[[str, str], Any]:
    from types import SimpleNamespace

    def make(host: str, forwarded: str) -> Any:
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        request = SimpleNamespace(client=SimpleNamespace(host=host), headers=headers)
        return request, SimpleNamespace(settings=SimpleNamespace(trusted_proxies=("10.0.0.1",)))

    return make
