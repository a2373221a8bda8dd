"""Two phones at the same moment, with real commits: one statement, one completion, one winner per file."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import Settings
from backend.exhibits import uploads
from backend.exhibits.actions import accept
from backend.exhibits.model import Accepted, Intake, UploadState
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow, ManifestRow, SignatureRow, UploadRow
from backend.exhibits.transfers import Desk, OpenPiece, settle_whole
from backend.policies.model import DEFAULT_POLICY
from evidence.facts import Kind
from evidence.stores.memory import MemoryStore
from evidence.uploads import Piece
from tests.support.exhibits import ARRIVAL, CAPTURE, Handset, envelope_of, item, open_case, signed_once, visit_facts
from tests.support.world import Person, shared_keyring, world

KEYRING = shared_keyring()
ROUNDS = 8


def together(*acts: Callable[[], Accepted]) -> list[Accepted]:
    """Run acts at the same moment, each in a thread of its own."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Accepted]) -> Accepted:
        barrier.wait(timeout=30)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_VIS_01_both_signatures_at_once_complete_one_statement_once(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        visit = visit_facts(made, open_case(session, KEYRING, made))
    bilal, dong = Handset(made.bilal), Handset(made.dong)

    def sending(raw: bytes, person: Person) -> Callable[[], Accepted]:
        def act() -> Accepted:
            with sessions.begin() as session:
                statement = open_statement(session, raw, now)
                return accept(
                    session, person.on_phone, statement, Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit"), now)

        return act

    at = now - timedelta(minutes=5)
    for _ in range(ROUNDS):
        payload = bilal.payload(made, visit, Kind.ARRIVAL, ARRIVAL, partner=dong, at=at)
        own, witness = signed_once(bilal, payload), envelope_of(payload, dong.witness(payload, at))
        answers = together(sending(own, made.bilal), sending(witness, made.dong), sending(own, made.bilal))
        assert sum(answer.is_new for answer in answers) == 1
        assert sum(answer.is_completed_now for answer in answers) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ManifestRow)) == ROUNDS
        assert session.scalar(select(func.count()).select_from(SignatureRow)) == 2 * ROUNDS


def test_EVD_09_two_uploads_of_one_file_leave_one_blob(sessions: sessionmaker[Session], now: datetime, tmp_path: Path) -> None:
    content = b"a photograph that both phones send" * 1000
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        visit = visit_facts(made, open_case(session, KEYRING, made))
        bilal = Handset(made.bilal)
        raw = signed_once(bilal, bilal.payload(made, visit, Kind.CAPTURE, CAPTURE, items=(item(content, at=now - timedelta(minutes=5)),)))
        intake = Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit")
        accepted = accept(session, made.bilal.on_phone, open_statement(session, raw, now), intake, now)
        (ticket,) = uploads.issue_tickets(session, KEYRING, accepted.manifest_id, accepted.device, now)
        leave = uploads.read_leave(session, ticket.token, now)
        first = uploads.transfer_of(session, leave, ticket.upload_id, KEYRING)
        second = uploads.create(session, leave, uploads.Creation(length=len(content), metadata={}), KEYRING, now, lambda _offered: False)
    store = MemoryStore()
    desk = Desk(store, Settings(data_folder=tmp_path, key_folder=tmp_path))
    barrier = Barrier(2)

    def finish(transfer: uploads.Transfer) -> uploads.Completed:
        piece = OpenPiece(desk, transfer, Piece(offset=0, length=len(content), checksum=None), now)
        piece.take(content)
        piece.close(is_whole=True)
        assert settle_whole(desk, transfer)
        barrier.wait(timeout=30)
        with sessions.begin() as session:
            return uploads.complete(session, leave.actor, transfer, now)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(finish, (first, second)))
    assert sorted(one.is_blob_surplus for one in done) == [False, True]
    with sessions() as session:
        row = session.scalars(select(ItemRow)).one()
        winner = session.scalars(select(UploadRow).where(UploadRow.state == UploadState.FINISHED)).one()
        assert row.blob_key == f"items/{row.sha256[:2]}/{row.sha256}/{winner.id.hex}"
        assert session.scalar(select(func.count()).select_from(UploadRow).where(UploadRow.state == UploadState.GONE)) == 1
