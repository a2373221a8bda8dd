"""What of a database's schema is ours."""

from typing import Any

_OTHERS = ("spatial_ref_sys", "procrastinate_")


def include_object(_thing: Any, name: str | None, kind: str, _is_reflected: bool, _compare_to: Any) -> bool:  # noqa: FBT001 - alembic's signature.
    """Leave out what PostGIS and procrastinate keep in the same schema."""
    return not (kind == "table" and name is not None and name.startswith(_OTHERS))
