"""One place decides what JSON is: everything odd is refused, nothing crashes."""

from pathlib import Path

import pytest

from backend.core.problems import MalformedRequest
from backend.web.body import strict_json

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "evidence-samples" / "json-hostile"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[1,]",
        b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b'{"a":10000000000000000000000}', b'{"a":9007199254740993}',
        b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":"\\ud800"}', b'"\xff"', b"\xef\xbb\xbf{}",
        b"[" * 100_000, b'{"a":' * 80 + b"1" + b"}" * 80, b"{} x",
    ],
)
def test_odd_json_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        strict_json(raw)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"a":1.5}', b'{"a":9007199254740991}', '{"名":"㐂𠮷"}'.encode(), b"null", b'"x"'])
def test_sound_json_is_read(raw: bytes) -> None:
    strict_json(raw)


@pytest.mark.parametrize("prefix", ["n_", "i_", "y_"])
def test_the_torture_suite_gives_an_answer_to_every_file(prefix: str) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("evidence-samples are not beside this checkout")
    for path in sorted(SAMPLES.glob(f"{prefix}*.json")):
        try:
            strict_json(path.read_bytes())
        except MalformedRequest:
            # Duplicate keys and NUL characters are sound JSON and refused here on purpose.
            assert prefix != "y_" or "dup" in path.name or "null" in path.name or "surrogate" in path.name.lower(), path.name
        else:
            assert prefix != "n_", path.name
