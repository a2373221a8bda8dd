"""The whole schema, for comparing it with the migrations. Only migrations' tooling and tests ask for it.

The slices lie above this one; their modules are named, not imported, because nobody below may depend on them.
"""

from importlib import import_module
from importlib.util import find_spec

from sqlalchemy import MetaData

from backend.db.base import Base

SLICES = (
    "keys",
    "audit",
    "submissions",
    "staff",
    "policies",
    "banks",
    "exhibits",
    "cases",
    "offers",
    "contacts",
    "disputes",
    "requests",
    "plans",
    "visits",
    "cash",
    "archive",
    "jobs",
)


def load_metadata() -> MetaData:
    """Import every slice's tables and return the metadata they fill."""
    for slice_name in SLICES:
        if find_spec(f"backend.{slice_name}") is not None and find_spec(f"backend.{slice_name}.tables") is not None:
            import_module(f"backend.{slice_name}.tables")
    return Base.metadata
