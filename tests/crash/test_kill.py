"""The server's whole process group is killed in the middle of uploads, receipts and deposits: nothing acknowledged is missing, nothing doubled.

A real server, a real port, the reference phone. Moments are drawn from a seed that is printed; `TEST_SEED` repeats one.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker
from uuid_utils import compat

from backend.cash.proof import prove_books
from backend.cash.tables import CollectionRow, DepositRow, ReceiptRow
from backend.cli import demo
from backend.core.clock import shifted_clock, system_clock
from backend.db.cluster import Cluster, PostgresMissing
from backend.db.engine import make_engine, session_factory
from backend.exhibits.model import ItemState
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.web.app import log_origin
from backend.web.transaction import attach_log
from evidence.capitals import to_capitals
from evidence.facts import CaptureFacts, CashReceiptFacts, Denomination, Instrument, PayerRelation
from evidence.manifest import Role
from mobile_api.phone import Capture, Door, Phone, Place, sign_together
from mobile_api.phone_link import Link
from mobile_api.phone_notebook import Notebook
from tests.support.cash import door
from tests.support.cut import Cut, CutTransport
from tests.support.exhibits import DOOR, photograph
from tests.support.world import FRIDAY, Person, World, world

ROUNDS = 12
TAKEN_FEN = 300
DELAY_S_MAX = 0.08
pytestmark = pytest.mark.slow


@dataclass
class Street:
    """A deployment with its running server, and bilal and dong at a door."""

    deployment: demo.Deployment
    port: int
    sessions: sessionmaker[Session]
    made: World
    first: Phone
    second: Phone
    transport: CutTransport
    door: Door
    jti: str
    numbers: list[str]
    process: subprocess.Popen[bytes]
    receipts: dict[str, int] = field(default_factory=dict)
    deposited: set[str] = field(default_factory=set)
    previous: str = "0" * 64

    @property
    def now(self) -> datetime:
        """The deployment's present."""
        return shifted_clock(self.deployment.folder / "clock")()

    def capture(self, content: bytes, role: Role = Role.PHOTO) -> Capture:
        """Return a photograph just taken."""
        return Capture(role=role, content=content, media_type="image/jpeg", started=self.now, ended=self.now)

    def kill(self) -> None:
        """Kill every process of the server at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Prove that the port is dead, and start again."""
        demo.stop_server(self.process, self.port, signal.SIGKILL)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{demo.HOST}:{self.port}/health/live")
        self.process = demo.start_server(self.deployment, self.port)


@pytest.fixture(params=["sqlite", "postgresql"])
def street(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Street]:
    with _database_url(request.param) as url:
        port = demo.free_port()
        deployment = demo.deploy(tmp_path, f"http://{demo.HOST}:{port}", url)
        (tmp_path / "clock").write_text(str(int((FRIDAY - system_clock()).total_seconds())), encoding="ascii")
        settings = deployment.settings
        engine = make_engine(settings.url, pool_size=2)
        sessions = session_factory(engine)
        keyring = Keyring(open_folder(settings.key_folder, settings.key_passphrase_file))
        attach_log(sessions, keyring, log_origin(settings))
        with sessions.begin() as session:
            made = world(session, keyring, FRIDAY)
            at = door(session, keyring, made)
            numbers, jti = at.lease(50), at.authorise(max_collections=50)
        process = demo.start_server(deployment, port)
        transport = CutTransport()
        first, second = (_phone(deployment, keyring, person, transport, tmp_path) for person in (made.bilal, made.dong))
        found = Street(
            deployment=deployment, port=port, sessions=sessions, made=made, first=first, second=second, transport=transport, jti=jti,
            numbers=list(numbers), process=process, door=Door(
                visit=str(at.visit_id), visit_version=1, case=str(at.case_id), bank=str(made.bank_a.id), partner=str(made.dong.id),
                partner_kid=second.kid))
        try:
            yield found
        finally:
            demo.stop_server(found.process, port)
            transport.close()
            engine.dispose()


def _phone(deployment: demo.Deployment, keyring: Keyring, person: Person, transport: CutTransport, folder: Path) -> Phone:
    assert person.phone is not None
    clock, settings = shifted_clock(deployment.folder / "clock"), deployment.settings
    link = Link(httpx.Client(transport=transport, timeout=30), settings.public_url, person.phone.key, clock)
    phone = Phone(link, Notebook(folder / f"{person.name}.phone"), staff_id=str(person.id), tenant=settings.tenant, clock=clock)
    keys: dict[str, list[dict[str, Any]]] = {}
    for one in keyring.public_keys():
        if isinstance(one.public, dict):
            keys.setdefault(one.purpose.value, []).append({"kid": one.kid, "jwk": one.public})
    phone.pin(keys)
    phone.place = Place(lon=DOOR.lon, lat=DOOR.lat)
    return phone


@contextmanager
def _database_url(kind: str) -> Iterator[str | None]:
    if kind == "sqlite":
        yield None
        return
    try:
        cluster = Cluster(is_durable=True)
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true both engines are required: {missing}")
        pytest.skip(f"PostgreSQL: {missing}")
    try:
        yield cluster.url(cluster.create()).render_as_string(hide_password=False)
    finally:
        cluster.stop()


def take_photograph(street: Street, chance: random.Random) -> None:
    """State a photograph of several pieces."""
    content = photograph() + chance.randbytes(600_000)
    street.first.state(street.door, CaptureFacts(occasion="door_plate"), [street.capture(content)])


def take_cash(street: Street, chance: random.Random) -> None:
    """Sign a receipt on both phones."""
    number = street.numbers[len(street.receipts)]
    facts = CashReceiptFacts(
        receipt_number=number, amount_fen=TAKEN_FEN, amount_capitals=to_capitals(TAKEN_FEN), instrument=Instrument.CASH, payer=PayerRelation.DEBTOR,
        payer_name_sha256=hashlib.sha256(number.encode()).hexdigest(), authorisation_jti=street.jti, previous_receipt=street.previous,
        denominations=(Denomination(face_fen=100, count=TAKEN_FEN // 100),))
    papers = [street.capture(photograph() + chance.randbytes(100), role) for role in (Role.COUNTERFOIL, Role.PAYER_SIGNATURE, Role.CASH_COUNT)]
    digest = street.first.state(street.door, facts, papers)
    sign_together(street.first, street.second, digest)
    street.receipts[number], street.previous = TAKEN_FEN, digest


def pay_in(street: Street, chance: random.Random) -> None:
    """Tell that everything taken and not yet paid in was paid in."""
    numbers = sorted(set(street.receipts) - street.deposited)
    street.first.tell("cash.deposit", {
        "depositId": str(compat.uuid7()), "bankId": street.door.bank, "accountDigest": street.made.bank_a.account_digest, "channel": "counter",
        "slipReference": f"SLIP-{chance.randrange(10**9)}", "amountFen": TAKEN_FEN * len(numbers), "receiptNumbers": numbers,
        "depositedAt": street.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    })
    street.deposited.update(numbers)


# What is done, the request in which the server dies, and whether it dies half-way through it or within some moments after it was sent.
ACTS = (
    (take_photograph, "PATCH", "/mobile/v1/uploads", True),
    (take_cash, "POST", "/mobile/v1/evidence-manifests", False),
    (pay_in, "POST", "/mobile/v1/event-batches", False),
    (take_photograph, "PATCH", "/mobile/v1/uploads", False),
)


def test_what_was_acknowledged_stands_once_wherever_the_server_dies(street: Street, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(10**6))
    chance = random.Random(seed)
    with capsys.disabled():
        print(f"\nkilled {ROUNDS} times, seed {seed}", flush=True)
    street.first.fetch_beacon()
    street.second.fetch_beacon()
    cut_off = 0
    for number in range(ROUNDS):
        act, method, path, is_half_way = ACTS[number % len(ACTS)]
        act(street, chance)
        street.transport.cut = Cut(method, path, street.kill, delay_s=None if is_half_way else chance.uniform(0, DELAY_S_MAX))
        before = street.first.sync()
        cut_off += before.is_offline
        street.transport.cut.join()
        assert street.transport.cut.is_begun, f"round {number}: the request never came"
        street.transport.cut = None
        street.restart()
        settle(street)
        assert_stands_once(street)
    assert cut_off >= ROUNDS // 4, "no answer was ever lost: the kills came too late to prove anything"
    check_audit(street)


def settle(street: Street) -> None:
    """Let the phone send until nothing waits."""
    for _ in range(3):
        report = street.first.sync()
        assert report.refused == (), report.refused
        assert not report.is_offline
        if not street.first.notebook.waiting_statements() and not street.first.notebook.waiting_events():
            return
    raise AssertionError([one.answer for one in street.first.notebook.waiting_statements()])


def assert_stands_once(street: Street) -> None:
    """Compare what the phone knows to be acknowledged with the rows."""
    stated = street.first.receipts()
    assert all(stated.values()), "a statement without its verified receipt"
    with street.sessions() as session:
        held = dict(session.execute(select(ManifestRow.digest, func.count()).group_by(ManifestRow.digest)).all())
        assert held == dict.fromkeys(stated, 1)
        jws = list(session.scalars(select(EvidenceReceiptRow.jws).where(EvidenceReceiptRow.kind == "received")))
        assert sorted(jws) == sorted(str(one) for one in stated.values())
        assert set(session.scalars(select(ItemRow.state))) <= {ItemState.STORED}
        receipts = dict(session.execute(select(ReceiptRow.number, ReceiptRow.amount_fen)).all())
        assert receipts == street.receipts
        assert session.scalar(select(func.count()).select_from(CollectionRow)) == len(street.receipts)
        deposits = session.scalars(select(DepositRow.amount_fen)).all()
        assert sum(deposits) == TAKEN_FEN * len(street.deposited)
        books = prove_books(session, street.made.bank_a.id)
    assert books.differences == ()
    paid_in = TAKEN_FEN * len(street.deposited)
    assert (books.receipted_fen, books.in_transit_fen) == (sum(street.receipts.values()), paid_in)
    assert books.custody_fen == books.receipted_fen - paid_in


def check_audit(street: Street) -> None:
    """Verify every chain and the log."""
    done = subprocess.run(
        [sys.executable, "-m", "backend.cli.main", "audit", "verify"], env={**os.environ, **street.deployment.environ}, capture_output=True,
        text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_answers_while_the_server_is_dead(street: Street) -> None:
    street.kill()
    demo.stop_server(street.process, street.port, signal.SIGKILL)
    incident = {"visitId": street.door.visit, "kind": "hazard", "note": "loose step"}
    street.first.tell("safety.incident", incident, at=street.now - timedelta(minutes=1))
    assert street.first.sync().is_offline
    assert len(street.first.notebook.waiting_events()) == 1
    street.process = demo.start_server(street.deployment, street.port)
    settle(street)
    assert street.first.notebook.waiting_events() == []
