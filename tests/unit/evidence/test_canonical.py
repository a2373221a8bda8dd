"""Strict JSON and its one spelling."""

import base64
import json
from contextlib import suppress

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from evidence.canonical import BYTES_MAX, DEPTH_MAX, b64u_decode, b64u_encode, canonicalise, is_canonical, parse_strict, parse_value
from evidence.errors import MalformedError
from tests.unit.evidence.samples import FOLDER, sample, sample_json

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn", "Mn", "Mc", "Lo", "Lm"], exclude_characters="\x00"), max_size=8).filter(str.isascii)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3),
    max_leaves=10)


@pytest.mark.parametrize("raw, pointer", [
    (b'{"a":1,"a":1}', "/a"), (b'{"x":[{"y/z":1,"y/z":2}]}', "/x/0/y~1z"), (b'{"a":1.0}', "/a"), (b'{"a":1e2}', "/a"), (b'{"a":NaN}', "/a"),
    (b'{"a":-Infinity}', "/a"), (b'{"a":9007199254740992}', "/a"), (b'{"a":-9007199254740992}', "/a"), (b'{"a":' + b"9" * 9_000 + b"}", "/a"),
    ('{"a":"e\u0301"}'.encode(), "/a"), (b'{"a":"\\u0000"}', "/a"), (b'{"a":"\\ud800"}', ""), (b'{"\\ud800":1}', ""),
    ('{"a":"\uffff"}'.encode(), "/a"),
    (b"\xef\xbb\xbf{}", ""), (b'{"a":"\xff"}', ""), (b"[]", ""), (b"1", ""), (b'"x"', ""), (b"", ""), (b"{", ""), (b'{"a":1}{}', ""),
    (b"{'a':1}", ""),
    (b'{"a":[' * (DEPTH_MAX + 1) + b"]}" * (DEPTH_MAX + 1), "/a/0" * (DEPTH_MAX // 2)), (b"[" * 50_000, ""),
    (b'{"a":"' + b"x" * BYTES_MAX + b'"}', ""),
])
def test_outside_the_subset_is_refused_with_a_pointer(raw: bytes, pointer: str) -> None:
    with pytest.raises(MalformedError) as refusal:
        parse_strict(raw)
    assert refusal.value.pointer == pointer
    assert (refusal.value.problem, refusal.value.status) == ("malformed-envelope", 400)


@pytest.mark.parametrize("value", [1.5, 2**53, "e\u0301", {"a": b"x"}, {1: "x"}, object(), float("nan"), "\ud800"])
def test_what_cannot_be_spelled_is_refused_on_the_way_out(value: object) -> None:
    with pytest.raises(MalformedError):
        canonicalise(value)  # type: ignore[arg-type]


@given(VALUES)
def test_canonical_bytes_come_back(value: object) -> None:
    raw = canonicalise(value)  # type: ignore[arg-type]
    assert parse_value(raw) == value
    assert is_canonical(raw)
    assert not is_canonical(b" " + raw)


@given(st.binary(max_size=200))
def test_no_bytes_give_another_exception(raw: bytes) -> None:
    with suppress(MalformedError):
        assert isinstance(parse_strict(raw), dict)


def test_base64url_has_one_spelling() -> None:
    for text in ("QQ==", "QR", "Q", "Q+", "Q/8", "QQ\n", " QQ", "é"):
        with pytest.raises(MalformedError):
            b64u_decode(text)
    assert b64u_decode("QQ") == b"A"
    assert b64u_decode(b64u_encode(bytes(range(256)))) == bytes(range(256))


def test_published_jcs_vectors_are_reproduced() -> None:
    seen = 0
    for vector in sample_json("jcs/rfc8785_vectors.json"):
        given_bytes, canonical = base64.b64decode(vector["input_b64"]), base64.b64decode(vector["canonical_b64"])
        assert rfc8785.dumps(json.loads(given_bytes)) == canonical
        if not any(isinstance(number, float) for number in _numbers(json.loads(given_bytes))):
            assert canonicalise(parse_value(given_bytes)) == canonical
        else:
            with pytest.raises(MalformedError, match="float"):
                parse_value(given_bytes)
        seen += 1
    assert seen


def _numbers(value: object) -> list[object]:
    if isinstance(value, dict):
        return [number for member in value.values() for number in _numbers(member)]
    if isinstance(value, list):
        return [number for member in value for number in _numbers(member)]
    return [value]


def _parsed_or_reason(raw: bytes) -> tuple[object, str]:
    try:
        return parse_value(raw, bytes_max=1_000_000), ""
    except MalformedError as refusal:
        return None, refusal.reason


BEYOND_OUR_SUBSET = ("floats are not allowed", "duplicate key", "noncharacter", "beyond 2^53")


def test_published_hostile_json_is_answered() -> None:
    """`n_` is refused; `y_` parses or lies, for a reason we name, outside the I-JSON subset; `i_` does either."""
    sample("json-hostile")
    answers: dict[str, int] = {"y": 0, "n": 0, "i": 0}
    for path in sorted((FOLDER / "json-hostile").iterdir()):
        raw = path.read_bytes()
        parsed, reason = _parsed_or_reason(raw)
        if reason:
            assert path.name[0] != "y" or any(one in reason for one in BEYOND_OUR_SUBSET), path.name
        else:
            assert path.name[0] != "n", path.name
            assert parsed == json.loads(raw)
        answers[path.name[0]] += 1
    assert all(answers.values())
