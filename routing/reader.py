"""Decode instances, plans and travel tables; refuse each bad one with a single line that names the key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from routing.model import RUNNING_SCHEMA, Instance, InstanceError, Plan
from routing.reader_running import check_running_references, refuse_unknown_keys, without_running_keys

BYTES_MAX = 512 * 1024 * 1024
HALF, HALF_ESCAPED = re.compile("[\ud800-\udfff]"), re.compile(r"\\u[dD][89a-fA-F]")

T = TypeVar("T")


def load_instance(source: bytes | str | Mapping[str, Any]) -> Instance:
    """Decode and validate a `fieldday/1` or `fieldday/2` day, as JSON text or as the decoded object.

    In `fieldday/1` every key that it does not define is ignored, also those of `fieldday/2`; `fieldday/2` refuses unknown keys.

    Raises:
        InstanceError: one line, `key.path: what is wrong`. No collectors and no visits are allowed.
    """
    decoded = _decode_json(source) if isinstance(source, bytes | str) else source
    if not isinstance(decoded, Mapping):
        raise InstanceError(f"instance: expected an object, got {type(decoded).__name__}")
    if "schema" not in decoded:
        decoded = {**decoded, "schema": "fieldday/1"}
    if decoded["schema"] == RUNNING_SCHEMA:
        refuse_unknown_keys(decoded)
    else:
        decoded = without_running_keys(decoded)
    instance = _convert(decoded, Instance)
    _check_references(instance)
    check_running_references(instance)
    return instance


def encode_instance(instance: Instance) -> bytes:
    """Return the day as JSON, keys in the order of the model: the same day gives the same bytes.

    A `fieldday/1` day comes without the keys of `fieldday/2`.
    """
    return msgspec.json.encode(instance_object(instance))


def instance_object(instance: Instance) -> dict[str, Any]:
    """Return the day as plain objects, as `load_instance` reads them."""
    decoded: dict[str, Any] = msgspec.to_builtins(instance)
    return decoded if instance.schema == RUNNING_SCHEMA else dict(without_running_keys(decoded))


def load_plan(source: bytes | str | Mapping[str, Any]) -> Plan:
    """Decode a `fieldday-plan/1`, hand-made or solved; what it plans is judged by `check`, not here.

    Raises:
        InstanceError: the file is no plan at all.
    """
    decoded = _decode_json(source) if isinstance(source, bytes | str) else source
    if not isinstance(decoded, Mapping):
        raise InstanceError(f"plan: expected an object, got {type(decoded).__name__}")
    return _convert(decoded, Plan)


def decode_object(source: bytes | str) -> dict[str, Any]:
    """Decode JSON that must be an object, refusing duplicate keys, NaN by key, and files too large."""
    decoded = _decode_json(source)
    if not isinstance(decoded, dict):
        raise InstanceError(f"file: expected an object, got {type(decoded).__name__}")
    return decoded


def _decode_json(source: bytes | str) -> Any:
    if len(source) > BYTES_MAX:
        raise InstanceError(f"file: larger than {BYTES_MAX} bytes")
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
        decoded = json.loads(text, object_pairs_hook=_unique_keys)
        if HALF_ESCAPED.search(text):
            _refuse_halves(decoded, "")
        return decoded
    except InstanceError:
        raise
    except UnicodeDecodeError as error:
        raise InstanceError(f"file: not UTF-8 text at byte {error.start}") from None
    except RecursionError:
        raise InstanceError("file: nested too deeply") from None
    except ValueError as error:
        raise InstanceError(f"file: not JSON: {_one_line(str(error))}") from None


def _refuse_halves(found: Any, where: str) -> None:
    """Refuse half a character (a lone surrogate): JSON can write it, no text can hold it."""
    if isinstance(found, dict):
        for key, one in found.items():
            _refuse_halves(key, where or "file")
            _refuse_halves(one, f"{where}.{key}" if where else key)
    elif isinstance(found, list):
        for index, one in enumerate(found):
            _refuse_halves(one, f"{where}[{index}]")
    elif isinstance(found, str) and HALF.search(found):
        raise InstanceError(f"{where}: holds half a character, a lone surrogate")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InstanceError(f"{_one_line(key)}: the key appears twice in one object")
            seen.add(key)
    return decoded


def _convert(decoded: Mapping[str, Any], wanted: type[T]) -> T:
    try:
        return msgspec.convert(decoded, wanted)
    except msgspec.ValidationError as error:
        raise InstanceError(_named_line(str(error))) from None
    except RecursionError:
        raise InstanceError("file: nested too deeply") from None


def _named_line(message: str) -> str:
    """Turn msgspec's `what - at $.path` into `path.key: what`."""
    what, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    missing = re.match(r"Object missing required field `(.+)`", what)
    if missing:
        path, what = f"{path}.{missing[1]}".lstrip("."), "is missing"
    else:
        own_key = re.match(r"([a-z_]+) must ", what)
        if own_key:
            path = f"{path}.{own_key[1]}".lstrip(".")
    return f"{path or 'instance'}: {_one_line(what)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _check_references(instance: Instance) -> None:
    """Refuse duplicate ids and ids that nobody declares.

    With fewer than two collectors no pair exists, so lists that mention collectors decide nothing and are not looked up.
    """
    locations = _unique_ids("locations", [one.id for one in instance.locations])
    collectors = _unique_ids("collectors", [one.id for one in instance.collectors])
    _unique_ids("banks", [one.id for one in instance.banks])
    _unique_ids("visits", [one.id for one in instance.visits])
    for index, collector in enumerate(instance.collectors):
        _known(f"collectors[{index}].start", collector.start, locations)
        _known(f"collectors[{index}].end", collector.end, locations)
    for index, bank in enumerate(instance.banks):
        _known(f"banks[{index}].location", bank.location, locations)
    for index, visit in enumerate(instance.visits):
        _known(f"visits[{index}].location", visit.location, locations)
    if len(collectors) < 2:
        return
    for index, visit in enumerate(instance.visits):
        _all_known(lambda n, i=index: f"visits[{i}].excluded_collectors[{n}]", visit.excluded_collectors, collectors)  # type: ignore[misc]
    for index, conflict in enumerate(instance.pairing.conflicts):
        _all_known(lambda n, i=index: f"pairing.conflicts[{i}][{n}]", conflict, collectors)  # type: ignore[misc]
    for day_index, day in enumerate(instance.pairing.history):
        for index, pair in enumerate(day.pairs):
            _all_known(lambda n, d=day_index, i=index: f"pairing.history[{d}].pairs[{i}][{n}]", pair, collectors)  # type: ignore[misc]


def _unique_ids(key: str, ids: list[str]) -> frozenset[str]:
    known: set[str] = set()
    for index, one in enumerate(ids):
        if one in known:
            raise InstanceError(f"{key}[{index}].id: {one[:60]!r} appears twice")
        known.add(one)
    return frozenset(known)


def _known(key: str, wanted: str, known: frozenset[str]) -> None:
    if wanted not in known:
        raise InstanceError(f"{key}: unknown id {wanted[:60]!r}")


def _all_known(key: Callable[[int], str], wanted: Iterable[str], known: frozenset[str]) -> None:
    for n, one in enumerate(wanted):
        if one not in known:
            raise InstanceError(f"{key(n)}: unknown id {one[:60]!r}")
