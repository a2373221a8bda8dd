"""A phone's connection that can be cut at a chosen request: the server is killed in the middle of it, or a moment after it was sent."""

import threading
from collections.abc import Callable, Iterator

import httpx

Kill = Callable[[], None]


class Cut:
    """When to kill: during the first request of `method` to a path that starts with `path`, half-way through its body or `delay_s` after it."""

    def __init__(self, method: str, path: str, kill: Kill, *, delay_s: float | None) -> None:
        self.method, self.path, self.kill, self.delay_s = method, path, kill, delay_s
        self.is_begun = False
        self._timer: threading.Timer | None = None

    def is_due(self, request: httpx.Request) -> bool:
        """Tell whether this request is the one."""
        return not self.is_begun and request.method == self.method and request.url.path.startswith(self.path)

    def shorten(self, content: bytes) -> Iterator[bytes]:
        """Yield the body, and kill half-way or some time after its end."""
        self.is_begun = True
        if self.delay_s is None:
            yield content[:len(content) // 2]
            self.kill()
            yield content[len(content) // 2:]
            return
        self._timer = threading.Timer(self.delay_s, self.kill)
        yield content
        self._timer.start()

    def join(self) -> None:
        """Wait until the kill is done."""
        if self._timer is not None:
            self._timer.join()


class CutTransport(httpx.BaseTransport):
    """Sends as usual until a cut is due. Notes the offsets that the server acknowledged, and demands that none is ever taken back."""

    def __init__(self) -> None:
        self._wire = httpx.HTTPTransport()
        self.cut: Cut | None = None
        self.acknowledged: dict[str, int] = {}
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        self.requests += 1
        if self.cut is not None and self.cut.is_due(request):
            request = httpx.Request(
                request.method, request.url, headers=request.headers, content=self.cut.shorten(request.read()), extensions=request.extensions)
        answer = self._wire.handle_request(request)
        offset = answer.headers.get("upload-offset")
        if answer.is_success and offset is not None:
            known = self.acknowledged.get(request.url.path, 0)
            assert int(offset) >= known, f"{request.url.path}: {known} bytes were acknowledged, {offset} are left"
            self.acknowledged[request.url.path] = int(offset)
        return answer

    def close(self) -> None:
        """Close every connection."""
        self._wire.close()
