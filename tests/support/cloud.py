"""An S3 service on loopback for tests: moto's server in a thread of its own, with buckets that nobody else uses."""

import http.client
import logging
from types import TracebackType
from typing import Any, Self

import obstore.store
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


class Cloud:
    """A running service; each bucket is made when it is asked for."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self._made = 0

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """The service's URL."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def make_bucket(self, *, has_lock: bool = False) -> str:
        """Make a bucket, with object lock where asked, and return its name."""
        self._made += 1
        name = f"evidence-{self._made}"
        self.ask("PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"} if has_lock else {})
        return name

    def bucket(self) -> Any:
        """Return a fresh bucket as obstore sees it."""
        return self.open(self.make_bucket())

    def open(self, name: str, prefix: str | None = None) -> Any:
        """Return a bucket that was made, seen below a prefix."""
        return obstore.store.S3Store(
            name, prefix=prefix, endpoint=self.address, region=REGION, access_key_id="test", secret_access_key="test",
            checksum_algorithm="SHA256",
            # A locked bucket of S3 itself is content with the checksum; moto asks for the header that announces it as well.
            client_options={"allow_http": True, "default_headers": {"x-amz-sdk-checksum-algorithm": "SHA256"}}, retry_config={"max_retries": 1})

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """Send one plain request, as an operator's own tool would."""
        host, port = self._server.get_host_and_port()
        connection = http.client.HTTPConnection(host, port, timeout=20)
        try:
            signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
            connection.request(method, path, body, {**signed, **(headers or {})})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 300, (answer.status, said)
            return said
        finally:
            connection.close()
