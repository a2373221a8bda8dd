"""A TCP proxy on loopback that is slow and cuts: connections die at random, in either direction, in the middle of whatever is on its way."""

import random
import selectors
import socket
import struct
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK_BYTES = 16_384


class BadProxy:
    """Passes bytes to a port of this machine. `cuts` counts the connections it killed.

    Args:
        share: How many of the pieces are cut, 0 to 1: a connection lives for a random number of bytes, `piece_bytes / share` in the mean.
        pause_s: How long it rests after each 16 KiB.
    """

    def __init__(self, target: int, *, seed: int, share: float, piece_bytes: int, pause_s: float = 0.0) -> None:
        self._target, self._rate = target, share / piece_bytes
        self._chance = random.Random(seed)
        self._guard = threading.Lock()
        self._rest = threading.Event()
        self._pause_s = pause_s
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.cuts = self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rest.set()
        self._listener.close()

    def aim(self, target: int) -> None:
        """Pass new connections to another port."""
        self._target = target

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return                                # Closed: the test is over.
            with self._guard:
                self.connections += 1
                left = 1 + int(self._chance.expovariate(self._rate))
            threading.Thread(target=self._carry, args=(near, left), daemon=True).start()

    def _carry(self, near: socket.socket, left: int) -> None:
        try:
            far = socket.create_connection((HOST, self._target), timeout=10)
        except OSError:
            near.close()
            return
        with near, far, selectors.DefaultSelector() as both:
            both.register(near, selectors.EVENT_READ, far)
            both.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in both.select(timeout=60):
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    try:
                        chunk = source.recv(min(CHUNK_BYTES, left))
                        if not chunk:
                            return
                        key.data.sendall(chunk)
                    except OSError:
                        return
                    left -= len(chunk)
                    if left <= 0:
                        self._cut(near, far)
                        return
                    if self._pause_s:
                        self._rest.wait(self._pause_s)
                if self._rest.is_set():
                    return

    def _cut(self, *ends: socket.socket) -> None:
        with self._guard:
            self.cuts += 1
        for end in ends:                              # A reset, not a polite end.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
