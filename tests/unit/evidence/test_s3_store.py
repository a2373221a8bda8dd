"""What only the S3 store can meet: writers that lost their lock, crashes between its steps, locked buckets, a bucket that is away."""

from collections.abc import Iterator
from typing import Any

import obstore
import pytest

from evidence.errors import BlobExists, StorageUnavailable
from evidence.stores.s3 import S3Store
from tests.support.cloud import Cloud

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


@pytest.fixture
def bucket(cloud: Cloud) -> Any:
    return cloud.bucket()


class Died(BaseException):
    """Stands for the process's death."""


class Mortal:
    """Obstore's functions, of which the n-th call is the last; `seen` names the calls."""

    def __init__(self, dies_at: int) -> None:
        self.left, self.seen = dies_at, 0

    def wrap(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Died
            self.seen += 1
            return function(*arguments, **options)

        return call


def write(store: S3Store, part: str, at: int, content: bytes) -> int:
    writer = store.open_part(part, at)
    writer.write(content)
    return writer.sync()


def paths(bucket: Any, prefix: str = "") -> list[str]:
    return sorted(str(one["path"]) for batch in obstore.list(bucket, prefix) for one in batch)


def test_a_writer_that_lost_its_lock_changes_nothing_that_is_durable(bucket: Any) -> None:
    store = S3Store(bucket, piece_bytes_max=1_000)
    stale = store.open_part("p", 0)
    stale.write(b"stale")
    assert write(store, "p", 0, b"fresh bytes") == 11
    with pytest.raises(StorageUnavailable):
        stale.sync()
    assert b"".join(store.read_part("p")) == b"fresh bytes"


def test_pieces_beyond_a_gap_are_never_counted(bucket: Any) -> None:
    store = S3Store(bucket, piece_bytes_max=3)
    stale = store.open_part("p", 0)
    stale.write(b"abc")
    assert write(store, "p", 0, b"xy") == 2               # The taker-over cut the stale piece off.
    stale.write(b"def")                                    # Staged at 3, behind a gap.
    assert store.part_size("p") == 2
    assert write(store, "p", 2, b"z") == 3
    assert b"".join(store.read_part("p")) in (b"xyz", b"xyzdef")


def test_dead_between_any_two_calls_a_retry_finishes_and_loses_nothing(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for dies_at in range(60):
        name = f"up/{dies_at}"
        mortal = Mortal(dies_at)
        acknowledged = 0
        with monkeypatch.context() as patched:
            for function in ("put", "get", "delete", "list", "get_range"):
                patched.setattr(f"evidence.stores.s3.obstore.{function}", mortal.wrap(getattr(obstore, function)))
            store = S3Store(bucket, piece_bytes_max=4)
            try:
                acknowledged = write(store, name, 0, b"abcdef")
                acknowledged = write(store, name, 6, b"ghij")
                store.finalise(name, f"items/{dies_at}")
                is_dead = False
            except Died:
                is_dead = True
        store = S3Store(bucket)
        if store.size(f"items/{dies_at}") is None:
            held = store.part_size(name)
            assert held >= acknowledged
            assert b"".join(store.read_part(name) if held else [b""]) == b"abcdefghij"[:held]
            write(store, name, held, b"abcdefghij"[held:])
        store.finalise(name, f"items/{dies_at}")
        assert b"".join(store.read(f"items/{dies_at}")) == b"abcdefghij"
        store.delete_part(name)                            # A late sweep never takes a blob's bytes away.
        assert b"".join(store.read(f"items/{dies_at}")) == b"abcdefghij"
        if not is_dead:
            assert dies_at > 12
            return
    pytest.fail("the run never ended")


def test_the_sweep_between_index_and_head_keeps_the_blob(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(bucket)
    write(store, "up/1", 0, b"abc")
    with monkeypatch.context() as patched:
        patched.setattr("evidence.stores.s3.obstore.delete", Mortal(0).wrap(obstore.delete))
        with pytest.raises(Died):
            store.finalise("up/1", "x/1")
    assert list(store.parts("up")) == ["up/1"]
    store.delete_part("up/1")
    assert (store.part_size("up/1"), b"".join(store.read("x/1"))) == (0, b"abc")


def test_nothing_of_an_ended_part_or_blob_stays_behind(bucket: Any) -> None:
    store = S3Store(bucket, piece_bytes_max=2)
    write(store, "up/1", 0, b"abcdefg")
    store.delete_part("up/1")
    store.put("x/1", [b"abc", b"def"])
    store.delete("x/1")
    store.put("x/2", [b"1"])
    with pytest.raises(BlobExists):
        store.put("x/2", [b"2"])
    store.delete("x/2")
    assert paths(bucket) == []


def test_in_a_locked_bucket_destroyed_bytes_only_get_a_delete_marker(cloud: Cloud) -> None:
    name = cloud.make_bucket(has_lock=True)
    cloud.ask("PUT", f"/{name}?object-lock", b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
              b"<Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")
    store = S3Store(cloud.open(name), piece_bytes_max=4)
    write(store, "up/1", 0, b"abcdefgh")
    write(store, "up/1", 6, b"z")
    store.finalise("up/1", "x/1")
    assert b"".join(store.read("x/1")) == b"abcdefz"
    store.delete("x/1")
    assert store.size("x/1") is None
    versions = cloud.ask("GET", f"/{name}?versions").decode()
    held = [one.split("</Version>")[0] for one in versions.split("<Version>")[1:]]
    locked = [one.split("<VersionId>")[1].split("<")[0] for one in held if "<Key>blobs/x/1</Key>" in one]
    assert len(locked) == 1
    with pytest.raises(AssertionError, match="AccessDenied"):
        cloud.ask("DELETE", f"/{name}/blobs/x/1?versionId={locked[0]}")


def test_a_bucket_that_is_away_is_unavailable_never_a_lie(cloud: Cloud) -> None:
    store = S3Store(cloud.open("never-made"))
    for attempt in (lambda: store.open_part("p", 0), lambda: store.put("x", [b"1"]), lambda: list(store.parts("up"))):
        with pytest.raises(StorageUnavailable):
            attempt()


def test_a_prefix_keeps_deployments_apart(cloud: Cloud) -> None:
    name = cloud.make_bucket()
    one, other = S3Store(cloud.open(name, "north")), S3Store(cloud.open(name, "south"))
    one.put("x/1", [b"north"])
    other.put("x/1", [b"south"])
    assert (b"".join(one.read("x/1")), b"".join(other.read("x/1"))) == (b"north", b"south")
    write(one, "up/1", 0, b"x")
    assert (list(one.parts("up")), list(other.parts("up"))) == (["up/1"], [])
