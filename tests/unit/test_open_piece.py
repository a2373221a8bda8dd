"""A piece of an upload in hand: its end and a thread that still takes bytes of it never meet."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backend.core.ids import new_id
from backend.core.settings import Settings
from backend.exhibits.model import UploadState
from backend.exhibits.transfers import Desk, OpenPiece
from backend.exhibits.uploads import Transfer
from evidence.sealing import CHUNK_BYTES
from evidence.stores.file import FileStore
from evidence.uploads import Piece

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CONTENT = b"\xff\xd8\xff" * CHUNK_BYTES


def opened(store: FileStore, folder: Path) -> tuple[Desk, Transfer, OpenPiece]:
    """Return an open piece of a new upload."""
    desk = Desk(store, Settings(data_folder=folder, key_folder=folder))
    transfer = Transfer(
        id=new_id(), item_key=new_id(), manifest_id=new_id(), length=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(),
        expires_at=NOW + timedelta(days=1), state=UploadState.OPEN, key=b"k" * 32)
    return desk, transfer, OpenPiece(desk, transfer, Piece(offset=0, length=len(CONTENT), checksum=None), NOW)


def test_EVD_09_nothing_is_taken_after_the_end_of_a_piece(tmp_path: Path) -> None:
    desk, transfer, piece = opened(FileStore(tmp_path / "store"), tmp_path)
    piece.take(CONTENT[:CHUNK_BYTES])
    assert piece.close(is_whole=False) == CHUNK_BYTES
    size = desk.store.part_size(transfer.part)
    piece.take(CONTENT[CHUNK_BYTES:])
    assert desk.store.part_size(transfer.part) == size
    assert desk.progress(transfer).offset == CHUNK_BYTES


def test_EVD_09_a_piece_is_cut_off_only_after_the_thread_that_writes_it(tmp_path: Path) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def stop(point: str) -> None:
        if point == "part-written" and not writing.is_set():
            writing.set()
            assert go_on.wait(20)

    desk, transfer, piece = opened(FileStore(tmp_path / "store", stop), tmp_path)
    with ThreadPoolExecutor(2) as pool:
        taking = pool.submit(piece.take, CONTENT)
        assert writing.wait(20)
        cutting = pool.submit(piece.abandon)
        assert not cutting.done()
        assert desk.store.part_size(transfer.part) > 0
        go_on.set()
        taking.result(20)
        cutting.result(20)
    assert desk.store.part_size(transfer.part) == 0
    assert desk.progress(transfer).offset == 0
