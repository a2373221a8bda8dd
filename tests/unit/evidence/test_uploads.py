"""tus rules: refusals first."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evidence import uploads
from evidence.errors import (
    ChecksumMismatch,
    EvidenceError,
    ItemNotDeclared,
    OffsetMismatch,
    QuotaExceeded,
    SizeMismatch,
    TooLarge,
    UnsupportedMediaType,
    UploadGone,
    UploadMalformed,
    UploadVersionUnsupported,
)
from tests.unit.evidence.builders import item

NOW = datetime(2026, 11, 27, 2, tzinfo=UTC)
LIMITS = uploads.UploadLimits()
NONE_OPEN = uploads.Usage(open_uploads=0, open_bytes=0)
STATE = uploads.UploadState(length=100, offset=40, expires_at=NOW + timedelta(days=30))


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize("headers", [
    {}, {"Upload-Length": "-1"}, {"Upload-Length": "1.0"}, {"Upload-Length": "01"}, {"Upload-Length": "٣"}, {"Upload-Length": "1e3"},
    {"Upload-Length": "9" * 17}, {"Upload-Length": " 5"}, {"Upload-Defer-Length": "1"}, {"Upload-Length": "5", "Upload-Concat": "partial"},
    {"Upload-Length": "5", "Upload-Metadata": "a b c"}, {"Upload-Length": "5", "Upload-Metadata": "a QQ==,a QQ=="},
    {"Upload-Length": "5", "Upload-Metadata": "a QQ"}, {"Upload-Length": "5", "Upload-Metadata": "a /w=="},
    {"Upload-Length": "5", "Upload-Metadata": ","},
    {"Upload-Length": "5", "Upload-Metadata": "é QQ=="}, {"Upload-Length": "5", "Upload-Metadata": "a AA=="},
    {"Upload-Length": "5", "Upload-Metadata": "a " + "Q" * 5_000},
])
def test_an_unreadable_creation_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UploadMalformed):
        uploads.read_creation(headers)


@pytest.mark.parametrize("changes, error", [
    ({"Content-Type": "text/plain"}, UnsupportedMediaType), ({"Content-Type": None}, UnsupportedMediaType),
    ({"Upload-Offset": None}, UploadMalformed),
    ({"Upload-Offset": "-1"}, UploadMalformed), ({"Content-Length": "x"}, UploadMalformed), ({"Upload-Checksum": "md5 QQ=="}, UploadMalformed),
    ({"Upload-Checksum": "sha256"}, UploadMalformed), ({"Upload-Checksum": "sha256 QQ=="}, UploadMalformed),
    ({"Upload-Checksum": "sha256 *"}, UploadMalformed),
])
def test_an_unreadable_piece_is_refused(changes: dict[str, str | None], error: type[EvidenceError]) -> None:
    headers = {"Content-Type": uploads.PIECE_TYPE, "Upload-Offset": "0", "Content-Length": "5", **changes}
    with pytest.raises(error):
        uploads.read_piece({name: value for name, value in headers.items() if value is not None})


def test_another_version_is_refused() -> None:
    for headers in ({}, {"Tus-Resumable": "0.2.2"}, {"tus-resumable": "1.0"}):
        with pytest.raises(UploadVersionUnsupported) as refusal:
            uploads.demand_version(headers)
        assert refusal.value.status == 412
    uploads.demand_version({"tus-resumable": "1.0.0"})


@pytest.mark.parametrize("length, declared, error", [
    (5, None, ItemNotDeclared), (6, item(), SizeMismatch), (5, item(media_type="image/svg+xml"), UnsupportedMediaType),
    (5, item(media_type="audio/flac"), UnsupportedMediaType), (1_000_000_000, item(), TooLarge),
    (40_000_001, item(size=40_000_001), TooLarge), (20_000_001, item(size=20_000_001, media_type="audio/amr"), TooLarge),
])
def test_EVD_09_an_upload_that_the_manifest_does_not_carry_is_refused(length: int, declared: Any, error: type[EvidenceError]) -> None:
    with pytest.raises(error):
        uploads.judge_creation(uploads.Creation(length=length, metadata={}), declared, LIMITS)


@pytest.mark.parametrize("usage", [
    uploads.Usage(open_uploads=400, open_bytes=0), uploads.Usage(open_uploads=1, open_bytes=4_000_000_000),
    uploads.Usage(open_uploads=0, open_bytes=0, day_bytes=LIMITS.day_bytes_max),
])
def test_SEC_06_a_device_with_too_much_unfinished_opens_no_more(usage: uploads.Usage) -> None:
    with pytest.raises(QuotaExceeded):
        uploads.demand_quota(usage, 5, LIMITS)
    uploads.demand_quota(NONE_OPEN, 5, LIMITS)


def piece(offset: int = 40, length: int | None = 10, checksum: bytes | None = None) -> uploads.Piece:
    return uploads.Piece(offset=offset, length=length, checksum=None if checksum is None else uploads.Checksum(sha256=checksum))


def test_a_piece_at_another_offset_or_beyond_the_end_is_refused() -> None:
    for offset in (0, 39, 41, 100):
        with pytest.raises(OffsetMismatch) as refusal:
            uploads.judge_piece(piece(offset), STATE, NOW)
        assert refusal.value.status == 409
    with pytest.raises(TooLarge):
        uploads.judge_piece(piece(length=61), STATE, NOW)
    with pytest.raises(TooLarge):
        uploads.PieceReceiver(piece(length=None), STATE).take(b"x" * 61)


def test_an_expired_or_terminated_upload_is_gone_but_a_finished_one_stays() -> None:
    late = NOW + timedelta(days=31)
    with pytest.raises(UploadGone) as refusal:
        uploads.judge_piece(piece(), STATE, late)
    assert refusal.value.status == 410
    with pytest.raises(UploadGone):
        uploads.demand_present(uploads.UploadState(length=9, offset=9, expires_at=late, is_terminated=True), NOW)
    uploads.demand_present(uploads.UploadState(length=9, offset=9, expires_at=NOW), late)


def test_a_wrong_checksum_is_460() -> None:
    receiver = uploads.PieceReceiver(piece(checksum=hashlib.sha256(b"abc").digest()), STATE)
    receiver.take(b"abd")
    with pytest.raises(ChecksumMismatch) as refusal:
        receiver.demand_checksum()
    assert refusal.value.status == 460


def test_a_good_upload_passes() -> None:
    creation = uploads.read_creation({"upload-length": "5", "upload-metadata": f"manifest_id {b64(b'm-1')}, item_id {b64(b'i1')},draft"})
    assert creation.metadata == {"manifest_id": "m-1", "item_id": "i1", "draft": ""}
    uploads.judge_creation(creation, item(), LIMITS)
    read = uploads.read_piece({"content-type": uploads.PIECE_TYPE, "upload-offset": "40", "content-length": "3",
                               "upload-checksum": f"sha256 {b64(hashlib.sha256(b'abc').digest())}"})
    uploads.judge_piece(read, STATE, NOW)
    receiver = uploads.PieceReceiver(read, STATE)
    assert receiver.take(b"abc") == b"abc"
    receiver.demand_checksum()
    assert receiver.received == 3


def test_headers_tell_offset_length_and_expiry() -> None:
    assert uploads.state_headers(STATE)["Upload-Expires"] == "Sun, 27 Dec 2026 02:00:00 GMT"
    assert uploads.state_headers(STATE)["Cache-Control"] == "no-store"
    assert "Upload-Expires" not in uploads.state_headers(uploads.UploadState(length=5, offset=5, expires_at=NOW))
    assert uploads.option_headers(LIMITS)["Tus-Extension"] == "creation,expiration,termination,checksum"
    assert uploads.expiry(NOW, LIMITS) == NOW + timedelta(days=30)
