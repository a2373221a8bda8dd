"""Keep each signed fix by person, so that a journey is judged by all of a person's fixes and not only by its neighbours.

Filled from the statements that are here: the fix of the phone that captured, a Chinese datum taken as 1 km less exact; where witnesses stood is entered
from now on. The table says nothing that the statements do not; going down loses nothing.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "person_fixes"
down_revision = "fraud_follow_ups"
branch_labels = None
depends_on = None

TABLE = "person_fixes"
_ROWS_PER_TIME = 1_000
_KILOMETRE_CM = 100_000
_ACCURACY_CM_MAX = 1_000_000_000


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), primary_key=True),
        sa.Column("device", ddl.key(43), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("role", ddl.choice(), nullable=False),
        sa.Column("judged_us", sa.BigInteger(), nullable=False),
        sa.Column("lower_us", sa.BigInteger()),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("upper_us", "lat_e7", "lon_e7", "accuracy_cm")),
        ddl.known("role", ("capturer", "witness")),
        sa.CheckConstraint("lat_e7 BETWEEN -900000000 AND 900000000 AND lon_e7 BETWEEN -1800000000 AND 1800000000", name="on_earth"),
        sa.CheckConstraint("accuracy_cm BETWEEN 0 AND 1000000000", name="accuracy_bounded"),
    )
    _fill()
    op.create_index(f"ix_{TABLE}_staff_id_judged_us", TABLE, ["staff_id", "judged_us"])
    ddl.append_only(TABLE)
    ddl.grant_app(TABLE, append_only=True)


def downgrade() -> None:
    op.drop_table(TABLE)


def _fill() -> None:
    times = ("judged_at", "captured_lower_at", "captured_upper_at")
    manifests = sa.table(
        "manifests", sa.column("id", sa.Uuid), sa.column("payload", sa.LargeBinary), sa.column("device"), sa.column("staff_id", sa.Uuid),
        *(sa.column(name) for name in times))
    fixes = sa.table(
        TABLE, sa.column("manifest_id", sa.Uuid), sa.column("device"), sa.column("staff_id", sa.Uuid),
        *(sa.column(name) for name in ("role", "judged_us", "lower_us", "upper_us", "lat_e7", "lon_e7", "accuracy_cm")))
    query, bind, last = sa.select(manifests).order_by(manifests.c.id).limit(_ROWS_PER_TIME), op.get_bind(), None
    while rows := bind.execute(query if last is None else query.where(manifests.c.id > last)).all():
        last = rows[-1].id
        found = [(row, _position(row.payload)) for row in rows]
        values = [
            {"manifest_id": row.id, "device": row.device, "staff_id": row.staff_id, "role": "capturer",
             **dict(zip(("judged_us", "lower_us", "upper_us"), (_us(getattr(row, name)) for name in times), strict=True)), **position}
            for row, position in found if position]
        if values:
            bind.execute(sa.insert(fixes), values)


def _position(payload: bytes) -> dict[str, int]:
    """Return a statement's position, or nothing for one without."""
    try:
        stated: dict[str, Any] = json.loads(bytes(payload))["position"]
        accuracy = stated["accuracy_cm"] + (_KILOMETRE_CM if stated["datum"] == "gcj02" else 0)
        return {"lat_e7": stated["lat_e7"], "lon_e7": stated["lon_e7"], "accuracy_cm": min(accuracy, _ACCURACY_CM_MAX)}
    except (KeyError, TypeError, ValueError):
        return {}


def _us(at: datetime | int | None) -> int | None:
    return at if at is None or isinstance(at, int) else (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
