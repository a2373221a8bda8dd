"""Proof of what two people captured at a door: canonical manifests, two signatures, sealed items, a transparency log, packs.

Pure: knows no web and no database. Names are loaded on first use, so that importing one part never loads the decoders of another.
"""

import importlib
from typing import Final

_MODULE_BY_NAME: Final = {
    name: module
    for module, names in {
        "evidence.canonical": ("canonicalise", "parse_strict", "b64u_encode", "b64u_decode", "sha256_hex"),
        "evidence.errors": ("EvidenceError", "MalformedError"),
    }.items()
    for name in names
}

__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> object:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)


def __dir__() -> list[str]:
    return __all__
