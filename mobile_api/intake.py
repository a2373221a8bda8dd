"""The bytes of one PATCH on their way in: while one batch is sealed, hashed and written in a thread, the next one is received."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import anyio
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, InternalServerException

from backend.core.problems import Problem
from backend.exhibits.locks import HeldLock

LOGGER = structlog.get_logger("fieldvisit.uploads")
BATCH_BYTES: Final = 1_048_576
IDLE_BYTES: Final = BATCH_BYTES // 4
"""Enough for a thread that would wait for a whole batch; less would only wake it more often."""
WATCH_S: Final = 0.2


class Intake:
    """Hands batches to `take` in threads, one after another in their order: one at most is in hand there while another fills here."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._filling: list[bytes] = []
        self._bytes = 0
        self._in_hand: asyncio.Future[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Take a chunk; waits only when a batch is full and the one before is still in hand. Raises what `take` raised.

        A thread with nothing in hand gets less than a full batch: it works while the next bytes come.
        """
        self._filling.append(chunk)
        self._bytes += len(chunk)
        if self._bytes >= BATCH_BYTES or (self._bytes >= IDLE_BYTES and self._is_idle):
            await self._hand_over()

    async def finish(self) -> None:
        """Hand over what waits and return when all of it was taken. Raises what `take` raised."""
        await self._hand_over()
        await self._taken()

    async def drop(self) -> None:
        """Wait for what is in hand, however it ends, and forget the rest."""
        self._filling = []
        with suppress(Exception):
            await self._taken()

    @property
    def _is_idle(self) -> bool:
        return self._in_hand is None or self._in_hand.done()

    async def _hand_over(self) -> None:
        await self._taken()
        # Let go of the bytes first: a takeover that comes now must not see them taken twice.
        batch, self._filling, self._bytes = self._filling, [], 0
        if batch:
            # Of the loop's own threads: no scope that is cancelled here reaches a thread that already writes.
            self._in_hand = asyncio.get_running_loop().run_in_executor(None, self._take_all, batch)

    async def _taken(self) -> None:
        if self._in_hand is None:
            return
        with anyio.CancelScope(shield=True):
            await asyncio.wait((self._in_hand,))
        in_hand, self._in_hand = self._in_hand, None
        in_hand.result()

    def _take_all(self, batch: list[bytes]) -> None:
        for chunk in batch:                          # Each as it came: joined, every byte would be copied once more.
            self._take(chunk)


async def receive(request: Request[Any, Any, Any], take: Callable[[bytes], None], lock: HeldLock, upload_id: UUID) -> bool:
    """Hand the stream to `take`; False when the client went away or somebody took the upload over: what came was taken all the same.

    Raises:
        Problem, HTTPException: the request is refused; nothing is in hand any more.
    """
    intake, is_whole = Intake(take), False
    refusal: Exception | None = None
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, lock, group.cancel_scope)
            try:
                async for chunk in request.stream():
                    await intake.add(chunk)
                is_whole = True
            except InternalServerException:
                LOGGER.info("upload cut", upload=str(upload_id))
            except (Problem, HTTPException) as error:
                refusal = error                  # Raised below: a task group would wrap it.
            group.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        with anyio.CancelScope(shield=True):
            await intake.finish()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await intake.drop()                  # Nobody may cut, close or let go of the lock under a thread that writes.
        raise
    return is_whole


async def _watch(lock: HeldLock, scope: anyio.CancelScope) -> None:
    while not lock.is_wanted:
        await anyio.sleep(WATCH_S)
    scope.cancel()
