"""A bad line: some uploads are cut in the middle of a piece, the answer to others is lost. What the phone does about it is the point."""

import random
from collections.abc import Iterator

import httpx


class CutStream(httpx.SyncByteStream):
    """Gives a part of the body, then the line is gone."""

    def __init__(self, content: bytes, kept: int) -> None:
        self._content, self._kept = content, kept

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._kept]
        raise httpx.WriteError("the line was cut")


class BadLine(httpx.HTTPTransport):
    """Cuts a share of the uploads' pieces. `cuts` counts them."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._share = share
        self.cuts = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or cut it."""
        if request.method == "PATCH" and self._chance.random() < self._share:
            self.cuts += 1
            content = request.read()
            if self._chance.random() < 0.5:
                request.stream = CutStream(content, len(content) // 2)
                return super().handle_request(request)
            super().handle_request(request).close()
            raise httpx.ReadError("the answer was lost")
        return super().handle_request(request)
