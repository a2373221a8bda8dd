"""One example for each request body of the OpenAPI documents, made from its schema, so that no example is ever out of date."""

import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

DEPTH_MAX = 12
_BY_FORMAT = {
    "uuid": "0199a000-0000-7000-8000-000000000001", "date": "2026-11-27", "date-time": "2026-11-27T02:00:00Z", "binary": "",
}
# Texts that a pattern may ask for, the plainest first.
_TEXTS = (
    "as agreed", "name", "A-1", "123456", "02100000001", "2026-11-27T02:00:00.000Z", "K5XW6YTBOJUWG2DFORSXG5BA", "0f" * 32, "A" * 43, "zh", "E1",
    "visit.end", "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl", "a", "1",
)


def example_of(schema: Schema, components: Mapping[str, Schema], depth: int = 0) -> Any:
    """Return a value that follows `schema`: its own example, else the least that its bounds allow. Optional members are left out."""
    if "$ref" in schema:
        return example_of(components[str(schema["$ref"]).rsplit("/", 1)[-1]], components, depth + 1)
    if schema.get("examples"):
        return _first(schema["examples"])
    for said in ("const", "default"):
        if schema.get(said) is not None:
            return schema[said]
    if schema.get("enum"):
        return next(one for one in schema["enum"] if one is not None)
    for choice in ("oneOf", "anyOf", "allOf"):
        if schema.get(choice):
            return example_of(next(one for one in schema[choice] if one.get("type") != "null"), components, depth + 1)
    return _by_type(schema, components, depth)


def _by_type(schema: Schema, components: Mapping[str, Schema], depth: int) -> Any:
    kind = schema.get("type", "object")
    match _first([one for one in kind if one != "null"]) if isinstance(kind, list) else kind:
        case "object":
            members = schema.get("properties", {})
            return {name: example_of(members[name], components, depth + 1) for name in schema.get("required", ()) if name in members}
        case "array":
            count = 0 if depth > DEPTH_MAX else max(1, int(schema.get("minItems", 1)))
            return [example_of(schema.get("items", {}), components, depth + 1) for _ in range(count)]
        case "string":
            return _text(schema)
        case "integer" | "number":
            return max(schema.get("minimum", 1), min(1, schema.get("maximum", 1)))
        case "boolean":
            return True
    return None


def _text(schema: Schema) -> str:
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    pattern = re.compile(schema.get("pattern", ""))
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    fitting = (text for text in _TEXTS if pattern.search(text) and len(text) >= least and (most is None or len(text) <= most))
    return next(fitting, "a" * least)


def _first(values: Any) -> Any:
    return next(iter(values.values() if isinstance(values, Mapping) else values))
