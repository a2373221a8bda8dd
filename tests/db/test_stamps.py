"""The log's daily time-stamp: asked for only where configured, kept only when it holds, checked ever after, in every pack."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import tasks
from backend.audit import log, stamps
from backend.audit.authority import HttpAuthority, configured
from backend.audit.stamps import Asking, AuthorityUnavailable, StampRefused
from backend.audit.tables import LogStampRow
from backend.core.settings import Settings, SettingsError
from backend.exhibits import commands
from evidence import verify_pack
from tests.db.test_exhibits_packs import KEYRING, ORIGIN, evidence_of
from tests.support.time_authority import OTHER_POLICY, POLICY, TimeAuthority

NOW = datetime.now(UTC).replace(microsecond=0)      # openssl's authority tells the machine's own time.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeAuthority:
    return TimeAuthority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def asking(authority: TimeAuthority) -> Asking:
    return Asking(authority=authority.answer, pinned=authority.pinned)


def grow(sessions: sessionmaker[Session], number: int = 3) -> int:
    with sessions.begin() as session:
        log.append_all(session, "manifest", [b"entry"] * number, NOW)
    return log.sequence(sessions, KEYRING, ORIGIN, NOW)


def kept(sessions: sessionmaker[Session]) -> list[int]:
    with sessions() as session:
        return list(session.scalars(select(LogStampRow.size).order_by(LogStampRow.size)))


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_SEC_01_nobody_is_asked_unless_an_authority_and_its_certificates_are_configured(tmp_path: Path) -> None:
    class Unconfigured:
        settings = Settings()

    assert tasks.STAMP not in {chore.name for chore in tasks.chores(Unconfigured())}  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        configured(Settings())
    with pytest.raises(SettingsError):
        Settings(tsa_url="https://tsa.example")
    with pytest.raises(SettingsError):
        Settings(tsa_url="ftp://tsa.example", tsa_certificates_file=tmp_path / "x")
    with pytest.raises(SettingsError):
        Settings(tsa_policy="1.02")
    with pytest.raises(SettingsError):
        configured(Settings(tsa_url="https://tsa.example", tsa_certificates_file=tmp_path / "absent.pem"))


def test_EVD_09_what_is_no_stamp_of_ours_is_not_kept(joined: sessionmaker[Session], authority: TimeAuthority, tmp_path: Path) -> None:
    grow(joined)
    other = TimeAuthority(tmp_path, "other")
    replayed: list[bytes] = []

    def replay(request: bytes) -> bytes:
        replayed.append(authority.answer(request))
        return replayed[0]

    good = Asking(authority=authority.answer, pinned=authority.pinned)
    for wrong in (Asking(authority=other.answer, pinned=authority.pinned), Asking(authority=lambda request: authority.answer(request)[:-1],
                  pinned=authority.pinned), Asking(authority=authority.answer, pinned=authority.pinned, policy="1.2.3.4")):
        with pytest.raises(StampRefused):
            stamps.stamp(joined, wrong, NOW)
    with pytest.raises(StampRefused, match="time is"):
        stamps.stamp(joined, good, NOW + timedelta(days=1))
    assert kept(joined) == []
    assert stamps.stamp(joined, Asking(authority=replay, pinned=authority.pinned), NOW) == 3
    grow(joined)
    with pytest.raises(StampRefused):
        stamps.stamp(joined, Asking(authority=replay, pinned=authority.pinned), NOW, is_forced=True)
    assert kept(joined) == [3]


def test_EVD_09_a_stamp_is_never_changed_or_removed(sessions: sessionmaker[Session], asking: Asking) -> None:
    grow(sessions)
    stamps.stamp(sessions, asking, NOW)
    for statement in (update(LogStampRow).values(nonce="0" * 16), delete(LogStampRow)):
        with pytest.raises(DBAPIError), sessions.begin() as session:
            session.execute(statement)


# -- Kept and checked ----------------------------------------------------------------------------------------------------------


def test_EVD_09_the_log_is_stamped_once_a_day_and_only_if_it_grew(joined: sessionmaker[Session], asking: Asking, authority: TimeAuthority) -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return authority.answer(request)

    asking = Asking(authority=answer, pinned=authority.pinned, policy=OTHER_POLICY)
    assert stamps.stamp(joined, asking, NOW) is None
    assert asked == []
    grow(joined)
    assert stamps.stamp(joined, asking, NOW) == 3
    log.sequence(joined, KEYRING, ORIGIN, NOW)
    assert stamps.stamp(joined, asking, NOW, is_forced=True) is None       # Nothing but the stamp's own entry was added.
    grow(joined)
    assert stamps.stamp(joined, asking, NOW) is None                       # Today's is there.
    size = stamps.stamp(joined, asking, NOW, is_forced=True)
    assert kept(joined) == [3, size]
    assert len(asked) == 2
    with joined() as session:
        assert stamps.verify(session, authority.pinned) == (2, [], [])
        assert [fault.code for fault in stamps.verify(session, ())[1]] == ["stamp-not-checkable"] * 2
        found = stamps.find(session, 3)
        newest = stamps.find(session, None)
    assert found is not None
    assert newest is not None
    assert (found.size, newest.size) == (3, size)


def test_EVD_09_audit_names_stamps_that_were_changed_past_the_application(
    joined: sessionmaker[Session], asking: Asking, authority: TimeAuthority, tmp_path: Path
) -> None:
    grow(joined)
    stamps.stamp(joined, asking, NOW)
    with joined() as session:
        row = session.scalars(select(LogStampRow)).one()
        for changes, code in (({"stamped_at": NOW - timedelta(days=9)}, "stamp-differs"), ({"nonce": "0" * 16}, "stamp-invalid"),
                              ({"response": row.response[:-1]}, "stamp-invalid")):
            before = {name: getattr(row, name) for name in changes}
            with session.no_autoflush:
                for name, value in changes.items():
                    setattr(row, name, value)
                assert {fault.code for fault in stamps.verify(session, authority.pinned)[1]} == {code}
                for name, value in before.items():
                    setattr(row, name, value)
        assert {fault.code for fault in stamps.verify(session, TimeAuthority(tmp_path).pinned)[1]} == {"stamp-invalid"}
        session.rollback()


def test_EVD_09_audit_judges_stamps_by_the_operators_revocation_lists(
    joined: sessionmaker[Session], asking: Asking, authority: TimeAuthority, tmp_path: Path
) -> None:
    file = tmp_path / "lists.crl"
    withdrawn = Asking(authority=authority.answer, pinned=authority.pinned, crl_file=file)
    grow(joined)
    with pytest.raises(SettingsError):
        stamps.stamp(joined, withdrawn, NOW)
    file.write_bytes(authority.crl(NOW - timedelta(days=1), ReasonFlags.key_compromise).public_bytes(Encoding.PEM))
    with pytest.raises(StampRefused, match="revoked from"):
        stamps.stamp(joined, withdrawn, NOW)
    assert kept(joined) == []
    stamps.stamp(joined, asking, NOW)
    later = NOW + timedelta(days=1)
    for crl, fault, told in (
        (authority.crl(), [], []), (authority.crl(later, ReasonFlags.key_compromise), ["stamp-revoked"], []),
        (authority.crl(later, ReasonFlags.superseded), [], ["revoked-later"]),
        (authority.crl(last=NOW - timedelta(days=9), ends=NOW - timedelta(days=2)), [], ["revocation-unknown"]),
    ):
        file.write_bytes(crl.public_bytes(Encoding.DER))
        with joined() as session:
            number, faults, words = stamps.verify(session, authority.pinned, stamps.read_revoked(file, NOW))
        assert (number, [one.code.partition(":")[0] for one in faults], [one.code.partition(":")[0] for one in words]) == (1, fault, told)
        assert {one.subject for one in (*faults, *words)} <= {"stamp:3"}


def test_EVD_09_a_pack_holds_the_first_stamp_over_its_statements(
    sessions: sessionmaker[Session], asking: Asking, authority: TimeAuthority, tmp_path: Path
) -> None:
    evidence = evidence_of(sessions, tmp_path)
    before = evidence.export(evidence.made.lin.actor)
    assert stamps.stamp(sessions, asking, NOW) is not None
    evidence.sequence()
    grow(sessions)
    assert stamps.stamp(sessions, asking, NOW, is_forced=True) is not None
    evidence.sequence()
    after = evidence.export(evidence.made.lin.actor)
    with sessions() as session:
        trust = json.loads(commands.trust(session, KEYRING, ORIGIN))
    stamped = []
    for number, raw in enumerate((before, after)):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(raw)
        outcome = verify_pack.verify(path, trust, None, None, authority.root)
        assert outcome["verdict"] == "verified", outcome["findings"]
        stamped.append(sum(map(bool, outcome["stamps"].values())))
    assert stamped == [0, 1]


# -- Over HTTP -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(authority: TimeAuthority) -> Iterator[tuple[str, dict[str, Any]]]:
    """An authority behind a port, and what it should answer instead of a stamp."""
    wrong: dict[str, Any] = {}

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/timestamp-query"
            content = wrong.get("content") or authority.answer(request)
            self.send_response(wrong.get("status", 200))
            self.send_header("Content-Type", wrong.get("type", "application/timestamp-reply"))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tsa", wrong
    server.shutdown()
    thread.join()
    server.server_close()


def test_EVD_09_the_configured_authority_is_asked_over_http(
    joined: sessionmaker[Session], served: tuple[str, dict[str, Any]], authority: TimeAuthority
) -> None:
    url, wrong = served
    settings = Settings(tsa_url=url, tsa_certificates_file=authority.root, tsa_policy=POLICY)
    grow(joined)
    for answer in ({"status": 500}, {"status": 302}, {"type": "text/html"}, {"content": bytes(70_000)}):
        wrong.clear()
        wrong.update(answer)
        with pytest.raises(AuthorityUnavailable):
            stamps.stamp(joined, configured(settings), NOW)
    wrong.clear()
    assert kept(joined) == []

    class Means:
        sessions, clock = joined, staticmethod(lambda: NOW)

    run: Callable[[Any], Any] = tasks.chores
    Means.settings = settings  # type: ignore[attr-defined]
    for chore in run(Means()):
        if chore.name == tasks.STAMP:
            chore.run()
    assert kept(joined) == [3]
    with pytest.raises(AuthorityUnavailable):
        HttpAuthority("http://127.0.0.1:9/", timeout_s=2)(b"x")
