"""Statements and tus uploads through HTTP: refusals first, then cuts, takeovers, kills, and a receipt at the end."""

import asyncio
import hashlib
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar.testing import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import Settings
from backend.exhibits.locks import FolderLocks
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, UploadRow, UploadTokenRow
from backend.exhibits.tasks import EXPIRE, tasks
from backend.keys.folder import FolderVault
from backend.keys.model import KeyPurpose
from backend.web.app import log_origin, make_app
from evidence.es256 import compact_verify
from evidence.facts import Kind
from evidence.translog import parse_proof, verify_checkpoint
from evidence.uploads import UploadLimits
from mobile_api import uploads
from tests.support.engines import Database
from tests.support.exhibits import CAPTURE, signed_once
from tests.support.killed import LastPiece, send_and_die
from tests.support.uploading import KEYRING, PHOTO, PIECE, TUS, Place, b64, checksum_of, leave_of, make_place, path_of, place_of


@pytest.fixture
def place(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[Place]:
    with place_of(sessions, tmp_path, now) as made:
        yield made


def name_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


# -- Refusals ------------------------------------------------------------------------------------------------------------------


def test_EVD_09_tampered_statement_is_refused_by_name(place: Place) -> None:
    raw = signed_once(place.bilal, place.bilal.payload(place.made, place.visit, Kind.CAPTURE, CAPTURE))
    answer = place.post(raw.replace(b'"signature":"', b'"signature":"A', 1))
    assert (answer.status_code, name_of(answer)) == (400, "malformed-envelope")


@pytest.mark.parametrize("raw", [b"", b"{}", b"\x00" * 100, b'{"payload":"e30","payload":"e30","signatures":[]}', b"[" * 3000])
def test_EVD_09_what_is_no_envelope_is_a_400(place: Place, raw: bytes) -> None:
    answer = place.post(raw)
    assert (answer.status_code, name_of(answer)) == (400, "malformed-envelope")


def test_EVD_09_too_large_an_envelope_is_a_413(place: Place) -> None:
    assert place.post(b"{" + b" " * 200_000 + b"}").status_code == 413


def test_SEC_01_anonymous_phone_is_a_401_and_the_statement_is_not_read(place: Place) -> None:
    assert place.client.post("/mobile/v1/evidence-manifests", content=b"{}", headers={"Content-Type": "application/jose+json"}).status_code == 401


def test_SEC_01_other_pairs_phone_gets_404_for_statement_and_receipt(place: Place) -> None:
    asked = place.declare()
    assert place.post(asked["raw"], place.made.zhen).status_code == 404
    assert place.receipt(asked["manifestId"], place.made.zhen).status_code == 404


def test_SEC_04_upload_needs_its_own_token(place: Place) -> None:
    asked, other = place.declare(), place.declare(PHOTO + b"x")
    assert place.client.head(path_of(asked), headers=TUS).status_code == 401
    assert place.client.head(path_of(asked), headers={**TUS, "Authorization": "Bearer nonsense"}).status_code == 401
    assert place.client.head(path_of(asked), headers={**TUS, **leave_of(other)}).status_code == 404


def test_SEC_04_expired_token_is_a_401(place: Place) -> None:
    asked = place.declare()
    with place.sessions.begin() as session:
        session.execute(update(UploadTokenRow).values(expires_at=place.made.now))
    assert place.head(asked).status_code == 401


def test_EVD_09_upload_of_another_version_is_a_412(place: Place) -> None:
    asked = place.declare()
    assert place.client.head(path_of(asked), headers={**leave_of(asked), "Tus-Resumable": "0.2.2"}).status_code == 412


@pytest.mark.parametrize(("length", "status", "name"), [
    (str(10**9), 413, "too-large"), ("5", 409, "size-mismatch"), ("-1", 400, "upload-malformed"), ("1e3", 400, "upload-malformed"),
    ("9" * 40, 400, "upload-malformed"), ("", 400, "upload-malformed"),
])
def test_EVD_09_creation_with_another_length_is_refused(place: Place, length: str, status: int, name: str) -> None:
    asked = place.declare()
    answer = place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": length})
    assert (answer.status_code, name_of(answer)) == (status, name)


def test_EVD_09_creation_for_an_undeclared_item_is_refused(place: Place) -> None:
    asked = place.declare()
    headers = {**TUS, **leave_of(asked), "Upload-Length": str(len(PHOTO)), "Upload-Metadata": f"item_id {b64(b'item-other')}"}
    answer = place.client.post("/mobile/v1/uploads", headers=headers)
    assert (answer.status_code, name_of(answer)) == (409, "item-not-declared")


def test_EVD_09_item_of_a_kind_not_taken_has_no_address_and_its_statement_stands(place: Place) -> None:
    asked = place.declare(b"<svg/>", "image/svg+xml")
    assert asked["state"] == "needed"
    assert "uploadUrl" not in asked


def test_EVD_09_wrong_offset_is_a_409_and_nothing_moves(place: Place) -> None:
    asked = place.declare()
    answer = place.patch(asked, 7, b"abc")
    assert (answer.status_code, name_of(answer)) == (409, "offset-mismatch")
    assert place.head(asked).headers["upload-offset"] == "0"


def test_EVD_09_piece_of_another_content_type_is_a_415(place: Place) -> None:
    asked = place.declare()
    assert place.patch(asked, 0, b"abc", **{"Content-Type": "application/json"}).status_code == 415


def test_EVD_09_piece_beyond_the_end_is_a_413(place: Place) -> None:
    asked = place.declare()
    assert place.patch(asked, 0, PHOTO + b"more").status_code == 413
    assert place.head(asked).headers["upload-offset"] == "0"


def test_EVD_09_damaged_piece_is_a_460_and_cut_off(place: Place) -> None:
    asked = place.declare()
    assert place.patch(asked, 0, PHOTO[:100_000]).status_code == 204
    damaged = place.patch(asked, 100_000, PHOTO[100_000:], **{"Upload-Checksum": checksum_of(b"other")})
    assert (damaged.status_code, name_of(damaged)) == (460, "checksum-mismatch")
    assert place.head(asked).headers["upload-offset"] == "100000"
    assert place.patch(asked, 100_000, PHOTO[100_000:], **{"Upload-Checksum": checksum_of(PHOTO[100_000:])}).status_code == 204
    assert place.stored(asked) == PHOTO


def test_EVD_09_other_bytes_than_signed_are_a_422_and_the_upload_starts_again(place: Place) -> None:
    asked = place.declare()
    answer = place.patch(asked, 0, PHOTO[:-1] + b"!")
    assert (answer.status_code, name_of(answer)) == (422, "digest-mismatch")
    assert place.head(asked).headers["upload-offset"] == "0"
    assert place.receipt(asked["manifestId"]).json()["receipt"] is None
    assert place.patch(asked, 0, PHOTO).status_code == 204
    assert place.stored(asked) == PHOTO


def test_EVD_09_terminated_upload_is_a_410_and_the_item_stays_needed(place: Place) -> None:
    asked = place.declare()
    place.patch(asked, 0, PHOTO[:1000])
    assert place.client.delete(path_of(asked), headers={**TUS, **leave_of(asked)}).status_code == 204
    assert place.head(asked).status_code == 410
    again = place.post(asked["raw"])
    assert (again.status_code, again.json()["items"][0]["state"]) == (200, "needed")
    assert again.json()["items"][0]["uploadUrl"] != asked["uploadUrl"]


def test_EVD_09_expired_upload_is_a_410(place: Place) -> None:
    asked = place.declare()
    with place.sessions.begin() as session:
        session.execute(update(UploadRow).values(expires_at=place.made.now))
    assert place.head(asked).status_code == 410


def test_EVD_09_finished_upload_cannot_be_terminated(place: Place) -> None:
    asked = place.declare()
    place.patch(asked, 0, PHOTO)
    assert place.client.delete(path_of(asked), headers={**TUS, **leave_of(asked)}).status_code == 410
    assert place.stored(asked) == PHOTO


def test_SEC_06_full_disk_is_a_503_before_any_byte(sessions: sessionmaker[Session], place: Place, tmp_path: Path, now: datetime) -> None:
    asked = place.declare()
    full = Settings(data_folder=tmp_path, key_folder=tmp_path, free_bytes_min=2**60)
    place.app.state.pop(uploads.ROOM, None)
    place.app.state[uploads.ROOM] = uploads.Desk(place.resources.store, full)
    answer = place.patch(asked, 0, PHOTO)
    assert (answer.status_code, name_of(answer)) == (503, "storage-unavailable")
    assert answer.headers["retry-after"] == "600"


def test_SEC_06_a_device_that_fills_its_day_waits_and_loses_nothing(place: Place, sessions: sessionmaker[Session], now: datetime) -> None:
    first, second = place.declare(), place.declare(PHOTO + b"x")
    tight = msgspec.structs.replace(place.resources, settings=msgspec.structs.replace(
        place.resources.settings, upload_day_bytes_max=len(PHOTO) + 5_000), clock=lambda: place.app.state["moment"])
    place.app.state["moment"] = now
    app = make_app(tight, uploads.ROUTES)
    app.state["moment"] = now
    with TestClient(app) as client:
        place.app.state["moment"] = now

        def send(asked: dict[str, Any], content: bytes) -> Any:
            return client.patch(path_of(asked), content=content, headers={**PIECE, **leave_of(asked), "Upload-Offset": "0"})

        full = send(second, PHOTO + b"x")
        assert (full.status_code, name_of(full)) == (429, "quota-exceeded")
        assert "retry-after" in full.headers or full.json()["details"]
        assert send(first, PHOTO).status_code == 204
        more = client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(second), "Upload-Length": str(len(PHOTO) + 1)})
        assert (more.status_code, name_of(more)) == (429, "quota-exceeded")
        with sessions.begin() as session:
            session.execute(update(UploadTokenRow).values(expires_at=now + timedelta(days=2)))
        place.app.state["moment"] = now + timedelta(days=1)
        assert send(second, PHOTO + b"x").status_code == 204
    assert place.stored(second) == PHOTO + b"x"


def test_EVD_09_sweep_ends_what_is_over_and_clears_what_a_crash_left(place: Place, sessions: sessionmaker[Session], now: datetime) -> None:
    open_one, late, left = place.declare(), place.declare(PHOTO + b"1"), place.declare(PHOTO + b"2")
    for asked in (open_one, late, left):
        assert place.patch(asked, 0, PHOTO[:1_000]).status_code == 204
    ids = [UUID(path_of(asked).rpartition("/")[2]) for asked in (open_one, late, left)]
    with sessions.begin() as session:
        session.execute(update(UploadRow).where(UploadRow.id == ids[1]).values(expires_at=now))
        session.execute(update(UploadRow).where(UploadRow.id == ids[2]).values(state="gone"))     # The crash: row told, bytes still there.
    store = place.resources.store
    assert len(list(store.parts("uploads"))) == 3
    expire = next(task for task in tasks(place.resources) if task.name == EXPIRE)
    assert set(expire.unfinished()) == {ids[1], ids[2]}
    for upload_id in (*expire.unfinished(), ids[0]):
        expire.run(upload_id)
        expire.run(upload_id)
    assert list(store.parts("uploads")) == [f"uploads/{ids[0].hex}"]
    assert expire.unfinished() == ()
    assert place.head(open_one).headers["upload-offset"] == "1000"
    assert place.head(late).status_code == 410


def test_EVD_09_nothing_stays_behind_of_an_upload_that_is_over(place: Place) -> None:
    asked = place.declare()
    assert place.patch(asked, 0, PHOTO).status_code == 204
    assert place.head(asked).headers["upload-offset"] == str(len(PHOTO))
    assert list((place.resources.settings.data_folder / "locks").iterdir()) == []
    assert list(place.resources.store.parts("uploads")) == []


def test_EVD_09_the_address_of_stored_bytes_is_their_digest(place: Place) -> None:
    asked = place.declare()
    place.patch(asked, 0, PHOTO)
    digest = hashlib.sha256(PHOTO).hexdigest()
    with place.sessions() as session:
        blob_key = session.scalars(select(ItemRow.blob_key)).one()
    assert str(blob_key).split("/")[:3] == ["items", digest[:2], digest]


# -- The whole way ---------------------------------------------------------------------------------------------------------------


def test_EVD_09_options_tell_what_is_spoken(place: Place) -> None:
    answer = place.client.options("/mobile/v1/uploads")
    assert (answer.status_code, answer.headers["tus-version"], answer.headers["tus-checksum-algorithm"]) == (204, "1.0.0", "sha256")


def test_EVD_09_receipt_comes_with_the_last_byte_and_never_changes(place: Place) -> None:
    asked = place.declare()
    assert asked["receipt"] is None
    assert place.receipt(asked["manifestId"]).json()["receipt"] is None
    assert place.patch(asked, 0, PHOTO).headers["upload-offset"] == str(len(PHOTO))
    first = place.receipt(asked["manifestId"]).json()
    again = place.post(asked["raw"])
    assert again.status_code == 200
    assert (again.json()["receipt"], again.json()["proof"]) == (first["receipt"], first["proof"])
    _, told = compact_verify(first["receipt"], lambda kid: KEYRING.resolve(KeyPurpose.RECEIPT, kid), typ="evidence-receipt+jws")
    proof = parse_proof(first["proof"])
    origin = log_origin(place.resources.settings)
    verify_checkpoint(proof.checkpoint, origin, KEYRING.log_public_key())
    assert (told["manifest_sha256"], told["log_index"], told["log_origin"]) == (asked["digest"], proof.index, origin)
    with place.sessions() as session:
        assert len(session.scalars(select(EvidenceReceiptRow)).all()) == 1


def test_EVD_09_statement_without_files_is_receipted_at_once(place: Place) -> None:
    answer = place.post(signed_once(place.bilal, place.bilal.payload(place.made, place.visit, Kind.CAPTURE, CAPTURE)))
    assert answer.status_code == 201
    assert answer.json()["receipt"] is not None


def test_EVD_09_pieces_of_any_size_make_the_same_file(place: Place) -> None:
    asked = place.declare()
    offset = 0
    for size in (1, 65_536, 65_535, 3, 40_000, 1_000_000):
        answer = place.patch(asked, offset, PHOTO[offset:offset + size])
        assert answer.status_code == 204
        offset = int(answer.headers["upload-offset"])
    assert offset == len(PHOTO)
    assert place.stored(asked) == PHOTO


def test_EVD_09_bytes_at_rest_are_not_readable(place: Place) -> None:
    asked = place.declare()
    place.patch(asked, 0, PHOTO[:150_000])
    needle = PHOTO[1000:1064]
    at_rest = [path.read_bytes() for path in place.resources.settings.store_folder.rglob("*") if path.is_file()]
    assert sum(map(len, at_rest)) >= 150_000
    assert not any(needle in raw for raw in at_rest)


def test_EVD_09_cut_piece_keeps_what_came_and_goes_on(place: Place) -> None:
    asked = place.declare()
    _send_cut(place, asked, 0, PHOTO[:70_001])
    assert place.head(asked).headers["upload-offset"] == "70001"
    assert place.patch(asked, 70_001, PHOTO[70_001:]).status_code == 204
    assert place.stored(asked) == PHOTO


def test_EVD_09_cut_piece_with_a_checksum_counts_not_at_all(place: Place) -> None:
    asked = place.declare()
    _send_cut(place, asked, 0, PHOTO[:70_001], {"Upload-Checksum": checksum_of(PHOTO)})
    assert place.head(asked).headers["upload-offset"] == "0"


def test_EVD_09_another_process_goes_on_where_the_first_stopped(place: Place, sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> None:
    asked = place.declare()
    place.patch(asked, 0, PHOTO[:100_001])
    other, _ = make_place(sessions, tmp_path, now)
    with TestClient(other) as client:
        headers = {**PIECE, **leave_of(asked), "Upload-Offset": "100001"}
        assert client.patch(path_of(asked), content=PHOTO[100_001:150_000], headers=headers).status_code == 204
    # Back to the first: what it remembers is no longer true, and it knows.
    assert place.head(asked).headers["upload-offset"] == "150000"
    assert place.patch(asked, 150_000, PHOTO[150_000:]).status_code == 204
    assert place.stored(asked) == PHOTO


def test_EVD_09_writer_that_does_not_let_go_is_a_423(place: Place) -> None:
    asked = place.declare()
    folder = place.resources.settings.data_folder / "locks"
    place.app.state[uploads.ROOM] = uploads.Desk(place.resources.store, place.resources.settings, FolderLocks(folder, patience_s=0.1))
    held = FolderLocks(folder).acquire(UUID(path_of(asked).rsplit("/", 1)[-1]))
    try:
        answer = place.patch(asked, 0, PHOTO)
        assert (answer.status_code, name_of(answer)) == (423, "upload-locked")
        assert held.is_wanted
    finally:
        held.release()
    assert place.patch(asked, 0, PHOTO).status_code == 204


@pytest.mark.parametrize("point", ["part-written", "part-synced", "blob-synced", "blob-renamed", "blob-folder-synced"])
def test_EVD_09_killed_at_any_point_loses_nothing_that_was_acknowledged(
    place: Place, sessions: sessionmaker[Session], cloned: Database, tmp_path: Path, now: datetime, point: str
) -> None:
    asked = place.declare()
    acknowledged = int(place.patch(asked, 0, PHOTO[:90_000]).headers["upload-offset"])
    vault = KEYRING.vault
    assert isinstance(vault, FolderVault)
    code = send_and_die(LastPiece(
        kind=cloned.kind, url=cloned.url.render_as_string(hide_password=False), data_folder=tmp_path, key_folder=vault.credential_path.parent,
        path=path_of(asked), headers={**PIECE, **leave_of(asked), "Upload-Offset": str(acknowledged)}, content=PHOTO[90_000:], point=point, now=now))
    assert code == -signal.SIGKILL
    restarted, _ = make_place(sessions, tmp_path, now)
    with TestClient(restarted) as client:
        told = client.head(path_of(asked), headers={**TUS, **leave_of(asked)})
        assert told.status_code == 200
        offset = int(told.headers["upload-offset"])
        assert offset >= acknowledged
        if offset < len(PHOTO):
            headers = {**PIECE, **leave_of(asked), "Upload-Offset": str(offset)}
            assert client.patch(path_of(asked), content=PHOTO[offset:], headers=headers).status_code == 204
    assert place.stored(asked) == PHOTO
    assert place.receipt(asked["manifestId"]).json()["receipt"] is not None


def test_EVD_09_stock_client_creates_its_own_upload(place: Place) -> None:
    asked = place.declare()
    metadata = f"manifest_id {b64(asked['manifestId'].encode())},item_id {b64(asked['itemId'].encode())},filename {b64(b'x.jpg')}"
    made = place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": str(len(PHOTO)), "Upload-Metadata": metadata})
    assert made.status_code == 201
    own = {**asked, "uploadUrl": made.headers["location"]}
    assert place.patch(own, 0, PHOTO).status_code == 204
    assert place.stored(asked) == PHOTO
    again = place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": str(len(PHOTO))})
    assert (again.status_code, again.headers["upload-offset"], again.headers["location"]) == (201, str(len(PHOTO)), made.headers["location"])


def _created(place: Place, asked: dict[str, Any]) -> Any:
    return place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": str(len(PHOTO))})


def test_EVD_09_what_was_offered_and_not_begun_is_what_a_client_creates(place: Place, sessions: sessionmaker[Session]) -> None:
    asked = place.declare()
    first, second = _created(place, asked), _created(place, asked)        # The first answer may have been lost.
    assert first.headers["location"] == second.headers["location"] == asked["uploadUrl"]
    assert (second.status_code, second.headers["upload-offset"]) == (201, "0")
    _send_cut(place, asked, 0, PHOTO[:100_000])
    third = _created(place, asked)
    assert third.headers["location"] != asked["uploadUrl"], "what another has begun to send is not handed out as empty"
    own = {**asked, "uploadUrl": third.headers["location"]}
    assert place.patch(own, 0, PHOTO).status_code == 204
    assert place.stored(asked) == PHOTO
    # The other upload is surplus now; bytes sent to it change nothing.
    assert place.patch(asked, int(place.head(asked).headers["upload-offset"]), PHOTO).status_code in (204, 409, 410, 413)
    assert place.stored(asked) == PHOTO
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(UploadRow)) == 2


def test_EVD_09_a_day_of_offered_uploads_does_not_stand_in_its_own_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [place.declare(PHOTO + bytes([number])) for number in range(3)]
    monkeypatch.setattr(uploads, "limits_of", lambda _resources: UploadLimits(open_uploads_max=3))
    for asked in waiting:
        made = place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": str(len(PHOTO) + 1)})
        assert (made.status_code, made.headers["location"]) == (201, asked["uploadUrl"])
    _send_cut(place, waiting[0], 0, PHOTO[:100_000])
    more = place.client.post("/mobile/v1/uploads", headers={**TUS, **leave_of(waiting[0]), "Upload-Length": str(len(PHOTO) + 1)})
    assert (more.status_code, name_of(more)) == (429, "quota-exceeded")


def _send_cut(place: Place, asked: dict[str, Any], offset: int, content: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a piece whose connection dies after `content`, though more was announced."""
    sent = {**PIECE, **leave_of(asked), "Upload-Offset": str(offset), "Content-Length": str(len(PHOTO) - offset), **(headers or {})}
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PATCH", "path": path_of(asked),
        "raw_path": path_of(asked).encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()], "state": {},
    }
    waiting = [
        {"type": "http.request", "body": content[:30_000], "more_body": True}, {"type": "http.request", "body": content[30_000:], "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered: list[int] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    async def drive() -> None:
        await place.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(drive())
    assert all(status < 500 for status in answered)
