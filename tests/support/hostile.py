"""Envelopes that must not be taken for a statement of ours: mutations of good ones, by whoever holds no key and by whoever holds one."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from evidence.canonical import b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.es256 import sign_bytes
from evidence.keys import PrivateKey

P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ALGS: tuple[Any, ...] = (
    "none", "None", "HS256", "RS256", "PS256", "ES384", "ES512", "ES256K", "EdDSA", "es256", "ES256 ", "", None, 1, [], {}, ["ES256"])
NOWHERE_LEGAL: tuple[Any, ...] = (1.5, 2**53, -(2**53), "\0", "e\u0301", "\ufdd0", [[]], {"a": {"b": 1}}, True, "x" * 5_000)
"""Values that no member of a manifest may hold, whatever its type; members that are booleans are left out for `True`."""
Hostile = tuple[str, bytes]


def protected_of(member: dict[str, Any]) -> dict[str, Any]:
    """Return a signature's protected header."""
    return dict(parse_strict(b64u_decode(member["protected"])))


def signed(payload: bytes, header: Any, key: PrivateKey) -> dict[str, str]:
    """Sign a payload under any header."""
    protected = b64u_encode(json.dumps(header, separators=(",", ":"), sort_keys=True).encode())
    body = f"{protected}.{b64u_encode(payload)}".encode("ascii")
    return {"protected": protected, "signature": b64u_encode(sign_bytes(body, key))}


def malleated(raw: bytes) -> bytes:
    """Return the envelope with each (r, s) as (r, n - s): ECDSA cannot tell them apart."""
    envelope: Any = parse_strict(raw)
    for member in envelope["signatures"]:
        signature = b64u_decode(member["signature"])
        other = P256_N - int.from_bytes(signature[32:], "big")
        member["signature"] = b64u_encode(signature[:32] + other.to_bytes(32, "big"))
    return canonicalise(envelope)


def hostile_envelopes(raw: bytes, key: PrivateKey) -> Iterator[Hostile]:
    """Yield named mutations of one good envelope whose first signature is by `key`. None of them may be accepted."""
    yield from _flipped(raw)
    yield from _reshaped(raw)
    yield from _reheaded(raw, key)
    yield from _resigned(raw)
    yield from _rewritten(raw, key)


def hostile_bodies(raw: bytes, name: str, body: bytes, key: PrivateKey) -> Iterator[Hostile]:
    """Put a piece of hostile JSON wherever an envelope has JSON: as a whole, as payload, as header; signed where that is possible."""
    envelope: Any = parse_strict(raw)
    header = protected_of(envelope["signatures"][0])
    yield f"{name} as the envelope", body
    if body:
        yield f"{name} as the payload", canonicalise({"payload": b64u_encode(body), "signatures": [signed(body, header, key)]})  # type: ignore[list-item]
    protected = b64u_encode(body)
    signature = b64u_encode(sign_bytes(f"{protected}.{envelope['payload']}".encode(), key))
    yield f"{name} as the header", canonicalise({**envelope, "signatures": [{"protected": protected, "signature": signature}]})


def _flipped(raw: bytes) -> Iterator[Hostile]:
    for at in range(len(raw)):
        yield f"byte {at} changed", raw[:at] + bytes([raw[at] ^ (1 << at % 7)]) + raw[at + 1:]
    for at in range(0, len(raw), 37):
        yield f"cut at {at}", raw[:at]
        yield f"byte {at} doubled", raw[:at + 1] + raw[at:]
    for extra in (b"\0", b"{}", b",", raw):
        yield "something after it", raw + extra


def _reshaped(raw: bytes) -> Iterator[Hostile]:
    envelope: Any = parse_strict(raw)
    (first, *_), payload = envelope["signatures"], envelope["payload"]
    changes: dict[str, Any] = {
        "no payload": {"signatures": [first]}, "no signatures": {"payload": payload}, "empty signatures": {**envelope, "signatures": []},
        "signature twice": {**envelope, "signatures": [first, first]}, "three signatures": {**envelope, "signatures": [first] * 3},
        "flattened": {"payload": payload, **first}, "general and flattened": {**envelope, **first}, "compact": f"{first['protected']}.{payload}.x",
        "list": [envelope], "text": json.dumps(envelope), "signatures as object": {**envelope, "signatures": {"0": first}},
        "payload null": {**envelope, "payload": None}, "payload empty": {**envelope, "payload": ""},
        "payload list": {**envelope, "payload": [payload]},
        "detached": {"payload": "", "signatures": envelope["signatures"]}, "signature null": {**envelope, "signatures": [None]},
    }
    for name in ("header", "b64", "crit", "kid", "jwk", "jku", "x5c", "x5u", "x5t", "alg", "unknown"):
        changes[f"envelope with {name}"] = {**envelope, name: {"kid": "x"}}
        changes[f"unprotected {name}"] = {**envelope, "signatures": [{**first, name: {"kid": protected_of(first)["kid"]}}]}
    for name in ("protected", "signature"):
        changes[f"no {name}"] = {**envelope, "signatures": [{one: first[one] for one in first if one != name}]}
        for value in (None, 1, [], {}, "", " ", "=", first[name] + "=", first[name] + "\n", " " + first[name], first[name][:-1], "é" + first[name]):
            changes[f"{name} {value!r:.40}"] = {**envelope, "signatures": [{**first, name: value}]}
    for name, value in changes.items():
        yield name, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    yield "duplicate payload", raw.replace(b'{"payload":', b'{"payload":"e30","payload":', 1)
    yield "duplicate signatures", raw.replace(b'"signatures":', b'"signatures":[],"signatures":', 1)
    yield "byte order mark", b"\xef\xbb\xbf" + raw
    yield "UTF-16", raw.decode().encode("utf-16")
    yield "padded payload", raw.replace(f'"{payload}"'.encode(), f'"{payload}="'.encode())
    ordinary = base64.b64encode(b64u_decode(payload)).decode()
    if ordinary != payload:
        yield "ordinary base64", raw.replace(f'"{payload}"'.encode(), f'"{ordinary}"'.encode())


def _reheaded(raw: bytes, key: PrivateKey) -> Iterator[Hostile]:
    """Change the protected header and sign it again with the real key: only the strict profile stands in the way."""
    envelope: Any = parse_strict(raw)
    payload, header = b64u_decode(envelope["payload"]), protected_of(envelope["signatures"][0])
    headers: dict[str, Any] = {f"alg {alg!r}": {**header, "alg": alg} for alg in ALGS}
    headers |= {f"no {name}": {one: header[one] for one in header if one != name} for name in header}
    headers |= {f"header with {name}": {**header, name: value} for name, value in (
        ("crit", ["b64"]), ("b64", False), ("b64", True), ("jwk", {}), ("jku", "https://attacker.example"), ("x5c", []), ("x5u", "x"), ("cty", "x"),
        ("zip", "DEF"), ("nonce", "1"), ("url", "x"), ("exp", 1))}
    headers |= {f"kid {kid!r:.20}": {**header, "kid": kid} for kid in (
        "", None, 1, [], "a" * 43, "../../etc/passwd", "' OR 1=1 --", header["kid"] + "=")}
    headers |= {f"typ {typ!r}": {**header, "typ": typ} for typ in ("JWT", "", None, "visit-evidence+JWS", "evidence-receipt+jws", 1)}
    for name, legal in header["ev"].items():
        headers[f"ev without {name}"] = {**header, "ev": {one: header["ev"][one] for one in header["ev"] if one != name}}
        for value in (*NOWHERE_LEGAL, -1, "capturer ", "9999-99-99T00:00:00.000Z"):
            if value != legal:
                headers[f"ev {name} {value!r:.20}"] = {**header, "ev": {**header["ev"], name: value}}
    headers["ev with kid"] = {**header, "ev": {**header["ev"], "kid": header["kid"]}}
    headers["ev list"] = {**header, "ev": [header["ev"]]}
    for name, changed in headers.items():
        yield name, canonicalise({"payload": envelope["payload"], "signatures": [signed(payload, changed, key)]})  # type: ignore[list-item]


def _resigned(raw: bytes) -> Iterator[Hostile]:
    """Signatures that are none, of every shape."""
    envelope: Any = parse_strict(raw)
    first = envelope["signatures"][0]
    good = b64u_decode(first["signature"])
    r, s = good[:32], good[32:]
    order = P256_N.to_bytes(32, "big")
    bad = {
        "zero": bytes(64), "r zero": bytes(32) + s, "s zero": r + bytes(32), "r is n": order + s, "s is n": r + order, "swapped": s + r,
        "ones": b"\xff" * 64, "short": good[:-1], "long": good + b"\0", "empty": b"", "r again": r + r,
        "der": b"\x30\x44\x02\x20" + r + b"\x02\x20" + s,
    }
    bad |= {f"bit {bit}": (int.from_bytes(good, "big") ^ (1 << bit)).to_bytes(64, "big") for bit in range(0, 512, 5)}
    for name, signature in bad.items():
        yield f"signature {name}", canonicalise({**envelope, "signatures": [{**first, "signature": b64u_encode(signature)}]})


def _rewritten(raw: bytes, key: PrivateKey) -> Iterator[Hostile]:
    """Change one member of the payload: unsigned with any value, and signed with values that are legal nowhere."""
    envelope: Any = parse_strict(raw)
    payload = b64u_decode(envelope["payload"])
    header = protected_of(envelope["signatures"][0])
    for path, legal in _members(json.loads(payload), ()):
        for value in (None, 0, "", "x", *NOWHERE_LEGAL):
            if value == legal or (value is True and isinstance(legal, bool)):
                continue
            changed = json.dumps(_put(json.loads(payload), path, value), separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
            name = f"{'/'.join(map(str, path))} {value!r:.20}"
            yield f"unsigned {name}", canonicalise({**envelope, "payload": b64u_encode(changed)})
            if any(value is one for one in NOWHERE_LEGAL):
                yield f"signed {name}", canonicalise({"payload": b64u_encode(changed), "signatures": [signed(changed, header, key)]})  # type: ignore[list-item]
        without = json.dumps(_put(json.loads(payload), path, _GONE), separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        yield f"unsigned without {path}", canonicalise({**envelope, "payload": b64u_encode(without)})
    for spelled in (payload + b" ", payload.replace(b":", b": ", 1), payload.replace(b'"schema"', b'"\\u0073chema"'), b"\n" + payload):
        yield "signed in another spelling", canonicalise({"payload": b64u_encode(spelled), "signatures": [signed(spelled, header, key)]})  # type: ignore[list-item]


class _Gone:
    pass


_GONE = _Gone()


def _members(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield (*path, name), child
        yield from _members(child, (*path, name))


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    at = document
    for name in path[:-1]:
        at = at[name]
    if value is _GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document
