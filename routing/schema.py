"""The JSON Schema of `fieldday/2`, made from the model; its copy `fieldday-2.schema.json` is for people and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from routing.model import RUNNING_SCHEMA, Instance

SCHEMA_FILE = Path(__file__).with_name("fieldday-2.schema.json")


def instance_schema() -> dict[str, Any]:
    """Return the schema. What a schema cannot say (ids that are declared, times in order) `load_instance` checks."""
    schema = msgspec.json.schema(Instance)
    structs = [one for one in schema["$defs"].values() if one.get("type") == "object"]
    for struct in structs:
        struct["additionalProperties"] = False
    day = schema["$defs"]["Instance"]
    day["properties"]["schema"] = {"const": RUNNING_SCHEMA}
    day["properties"] |= {"generator": {}, "units": {}, "notes": {}}
    day["required"] = [*day["required"], "schema"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": RUNNING_SCHEMA, **schema}


def encode_schema() -> bytes:
    """Return the text of the file."""
    return msgspec.json.format(msgspec.json.encode(instance_schema(), order="sorted"), indent=1) + b"\n"
