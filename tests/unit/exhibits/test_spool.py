"""Large packs in flat memory: copies wait sealed on disk, the pack streams from there."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.exhibits.spool import Spool
from evidence.keys import thumbprint
from evidence.merkle import nodes_over
from evidence.pack import PackCopy, lay_out
from tests.unit.evidence.packs import House, door, msgspec_replace, pack_of

PIECE = bytes(range(256)) * 1_024
PEAK_BYTES_MAX = 24_000_000


def pieces(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield number.to_bytes(8, "big") + PIECE


def test_what_was_kept_is_read_again_in_any_order_and_rests_sealed(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        kept = [spool.keep([text, text]) for text in (b"first", b"second")]
        assert [b"".join(one.chunks()) for one in reversed(kept)] == [b"secondsecond", b"firstfirst"]
        assert [one.sha256 for one in kept] == [hashlib.sha256(text * 2).hexdigest() for text in (b"first", b"second")]
        assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.slow
def test_EVD_08_pack_of_200_MB_streams_in_flat_memory(tmp_path: Path) -> None:
    house = House()
    made = pack_of(house, door(house))
    tracemalloc.start()
    try:
        with Spool(tmp_path / "spool") as spool:
            copies = [
                PackCopy(original_sha256=hashlib.sha256(b"%d" % number).hexdigest(), extension="wav", content=spool.keep(pieces(80)),
                         derivation=made.copies[0].derivation)
                for number in range(10)]
            packed = lay_out(msgspec_replace(made, copies=copies, checkpoint=house.checkpoint()), nodes_over(house.leaves), house.receipt,
                             thumbprint(house.receipt))
            size = sum(len(chunk) for chunk in packed.chunks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"a pack of {size:,} bytes, at most {peak:,} bytes of memory")
    assert size == packed.size > 200_000_000
    assert peak < PEAK_BYTES_MAX
