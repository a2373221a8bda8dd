"""Sealed items: what is altered, cut, moved or resumed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.canonical import sha256_hex
from evidence.errors import SealBroken
from evidence.sealing import (
    CHUNK_BYTES,
    SealContext,
    SealedExtent,
    Sealer,
    digest_of,
    measure,
    new_key,
    open_part,
    open_sealed,
    rewrap_key,
    unwrap_key,
    wrap_key,
)

KEY = b"k" * 32
CONTEXT = SealContext(tenant="agency", item_sha256="a" * 64)
PLAIN = bytes(range(256)) * 600                       # 150 KiB: two whole records and a rest.
HEAD = 11


def sealed(plain: bytes = PLAIN) -> bytes:
    sealer = Sealer(KEY, CONTEXT)
    return sealer.update(plain) + sealer.finish()


def opened(raw: bytes, key: bytes = KEY, context: SealContext = CONTEXT) -> bytes:
    return b"".join(open_sealed([raw], key, context))


def records(raw: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(raw):
        length = int.from_bytes(raw[at + 7:at + 11], "big") & 0x7FFFFFFF
        found.append(raw[at:at + HEAD + length + 16])
        at += len(found[-1])
    return found


def test_another_key_tenant_or_item_is_refused() -> None:
    raw = sealed(b"secret")
    for key, context in [(b"x" * 32, CONTEXT), (KEY, SealContext(tenant="other", item_sha256="a" * 64)),
    (KEY, SealContext(tenant="agency", item_sha256="b" * 64))]:
        with pytest.raises(SealBroken):
            opened(raw, key, context)


def test_every_flipped_byte_is_refused() -> None:
    raw = sealed(b"a short item")
    for position in range(len(raw)):
        with pytest.raises(SealBroken):
            opened(bytes([*raw[:position], raw[position] ^ 0x80, *raw[position + 1:]]))


def test_truncation_swap_repeat_and_appendix_are_refused() -> None:
    raw = sealed()
    one, two, last = records(raw)
    for changed in ([one, two], [one], [], [two, one, last], [one, one, last], [one, two, last, last], [one, two, two, last], [last]):
        with pytest.raises(SealBroken):
            opened(raw[:8] + b"".join(changed))
    for cut in (0, 7, 8, 12, len(raw) - 1):
        with pytest.raises(SealBroken):
            opened(raw[:cut])
    with pytest.raises(SealBroken):
        opened(raw + b"\x00")


def test_cleartext_never_shows() -> None:
    assert b"secret" not in sealed(b"secret" * 100)


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_sessions_cut_by_crashes_open_to_what_was_written(pieces: list[bytes], data: st.DataObject) -> None:
    """Each piece is one session; a torn record of an unacknowledged session is cut off and written again."""
    stored, extent = b"", None
    for piece in pieces:
        sealer = Sealer(KEY, CONTEXT, extent)
        added = sealer.update(piece) + sealer.flush()
        torn = data.draw(st.integers(0, len(added)))
        survived = measure([stored + added[:torn]])
        if torn < len(added):
            sealer = Sealer(KEY, CONTEXT, measure([stored]))
            assert survived.plain_bytes in (0, sum(map(len, pieces[:pieces.index(piece)])), survived.plain_bytes)
            added = sealer.update(piece) + sealer.flush()
        stored += added
        extent = measure([stored])
    sealer = Sealer(KEY, CONTEXT, extent)
    whole = stored + sealer.finish()
    assert opened(whole) == b"".join(pieces)
    assert digest_of([whole], KEY, CONTEXT) == sha256_hex(b"".join(pieces))
    assert b"".join(open_part([stored], KEY, CONTEXT)) == b"".join(pieces)


def test_a_torn_record_is_not_acknowledged_and_its_nonce_never_returns() -> None:
    sealer = Sealer(KEY, CONTEXT)
    first = sealer.update(b"x" * CHUNK_BYTES)
    torn = sealer.update(b"y" * CHUNK_BYTES)
    extent = measure([first + torn[:1000]])
    assert extent == SealedExtent(plain_bytes=CHUNK_BYTES, sealed_bytes=len(first), records=1, is_finished=False)
    again = Sealer(KEY, CONTEXT, extent).update(b"y" * CHUNK_BYTES)
    assert again[:7] != torn[:7]
    assert again[HEAD:] != torn[HEAD:]


def test_nothing_follows_the_last_record() -> None:
    raw = sealed()
    assert measure([raw]).is_finished
    with pytest.raises(ValueError, match="finished"):
        Sealer(KEY, CONTEXT, measure([raw]))


def test_any_chunking_of_the_stream_opens_alike() -> None:
    raw = sealed()
    assert b"".join(open_sealed((raw[at:at + 1013] for at in range(0, len(raw), 1013)), KEY, CONTEXT)) == PLAIN


def test_a_wrapped_key_opens_only_in_its_context_and_survives_rotation() -> None:
    master, case_key = new_key(), new_key()
    wrapped = wrap_key(master, case_key, "case/1")
    assert unwrap_key(master, wrapped, "case/1") == case_key
    for key, raw, context in [(new_key(), wrapped, "case/1"), (master, wrapped, "case/2"), (master, wrapped[:-1], "case/1"),
    (master, wrapped[:-1] + b"\x00", "case/1")]:
        if raw != wrapped or key != master or context != "case/1":
            with pytest.raises(SealBroken):
                unwrap_key(key, raw, context)
    newer = new_key()
    assert unwrap_key(newer, rewrap_key(master, newer, wrapped, "case/1"), "case/1") == case_key


def test_what_is_sealed_in_room_is_of_one_call_and_what_is_returned_as_bytes_stays() -> None:
    for step in (1_000, CHUNK_BYTES - 1, CHUNK_BYTES, 100_000, 3 * CHUNK_BYTES + 5):
        plain, sealer, other = PLAIN * 4, Sealer(KEY, CONTEXT), Sealer(KEY, CONTEXT)
        slices = [plain[at:at + step] for at in range(0, len(plain), step)]
        written, kept = bytearray(), [other.update(one) for one in slices]
        for one in slices:
            written += sealer.update_in_room(one)
        written += sealer.finish()
        assert opened(bytes(written)) == plain
        assert opened(b"".join([*kept, other.finish()])) == plain
