"""Bytes on their way in: in order, never twice, at most one batch in a thread while another fills."""

import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from mobile_api.intake import BATCH_BYTES, Intake

HALF = b"\x01" * (BATCH_BYTES // 2)


def run(act: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function to its end; what hangs fails."""
    async def limited() -> None:
        with anyio.fail_after(20):
            await act()

    anyio.run(limited)


def test_a_failed_batch_is_told_and_nothing_follows_it() -> None:
    taken: list[int] = []

    def take(batch: bytes) -> None:
        taken.append(len(batch))
        raise OSError("the disk is gone")

    async def act() -> None:
        intake = Intake(take)
        await intake.add(HALF * 2)
        with pytest.raises(OSError, match="gone"):
            await intake.add(HALF * 2)

    run(act)
    assert taken == [BATCH_BYTES]


def test_a_dropped_intake_waits_for_the_batch_in_hand_and_forgets_the_rest() -> None:
    entered, leave, taken = threading.Event(), threading.Event(), list[int]()

    def take(batch: bytes) -> None:
        entered.set()
        assert leave.wait(20)
        taken.append(len(batch))
        raise OSError("nobody asks any more")

    async def act() -> None:
        intake = Intake(take)
        await intake.add(HALF * 2)
        await intake.add(HALF)
        await anyio.to_thread.run_sync(entered.wait)
        leave.set()
        await intake.drop()
        assert taken == [BATCH_BYTES]
        await intake.finish()

    run(act)
    assert taken == [BATCH_BYTES]


def test_the_next_batch_fills_while_one_is_in_hand_and_a_third_waits() -> None:
    leave, taken, hands = threading.Event(), list[bytes](), list[int]()
    inside = 0

    def take(batch: bytes) -> None:
        nonlocal inside
        inside += 1
        hands.append(inside)
        assert leave.wait(20)
        taken.append(batch[:1])
        inside -= 1

    async def act() -> None:
        intake = Intake(take)
        await intake.add(b"a" + HALF)                     # In hand at once: nothing else was.
        await intake.add(b"b" + HALF)
        assert taken == []
        async with anyio.create_task_group() as group:
            group.start_soon(intake.add, b"c" + HALF)     # The second batch is full too: who brings more waits.
            await anyio.lowlevel.checkpoint()
            assert (taken, hands) in (([], []), ([], [1]))
            leave.set()
        await intake.add(b"d")
        await intake.finish()

    run(act)
    assert taken == [b"a", b"b", b"c", b"d"]
    assert set(hands) == {1}, "two threads took at once"


def test_EVD_09_a_cancelled_reader_loses_nothing_and_takes_nothing_twice() -> None:
    """As a takeover does: the scope around the reader ends while a batch is in hand and the next one is full."""
    entered, leave, taken = threading.Event(), threading.Event(), list[bytes]()

    def take(batch: bytes) -> None:
        entered.set()
        assert leave.wait(20)
        taken.append(batch)

    async def act() -> None:
        intake = Intake(take)
        async with anyio.create_task_group() as group:
            async def read() -> None:
                for number in range(3):
                    await intake.add(bytes([number]) * BATCH_BYTES)

            group.start_soon(read)
            await anyio.to_thread.run_sync(entered.wait)
            group.cancel_scope.cancel()
            leave.set()
        await intake.finish()

    run(act)
    whole = b"".join(taken)
    assert len(whole) in (2 * BATCH_BYTES, 3 * BATCH_BYTES)
    assert whole == b"".join(bytes([number]) * BATCH_BYTES for number in range(len(whole) // BATCH_BYTES))
