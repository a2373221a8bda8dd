"""Index pictures by their look, so that one of any age is found again; filled from what their examinations say.

Only what would be compared is entered: pictures of visits, no forms, no cards, no recordings. The index says nothing that the examination
does not; going down loses nothing.
"""

import json

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "looks"
down_revision = "stamps"
branch_labels = None
depends_on = None

_NOT_COMPARED = ("audio", "declaration_page", "id_back", "id_front", "refusal", "video")
_ROWS_PER_TIME = 1_000


def upgrade() -> None:
    op.create_table(
        "picture_looks",
        sa.Column("item_key", ddl.uuid(), sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), nullable=False),
        sa.Column("phash", ddl.key(16), nullable=False),
        *(sa.Column(f"band_{one}", sa.Integer, nullable=False) for one in range(1, 5)),
        sa.CheckConstraint("length(phash) = 16", name="phash_whole"),
        sa.CheckConstraint(" AND ".join(f"band_{one} BETWEEN 0 AND 65535" for one in range(1, 5)), name="bands_of_16_bits"),
    )
    _fill()
    for one in range(1, 5):
        op.create_index(f"ix_picture_looks_band_{one}", "picture_looks", [f"band_{one}"])
    ddl.append_only("picture_looks")
    ddl.grant_app("picture_looks", append_only=True)


def downgrade() -> None:
    op.drop_table("picture_looks")


def _fill() -> None:
    items = sa.table("items", sa.column("id", sa.Uuid), sa.column("manifest_id", sa.Uuid), sa.column("role"), sa.column("examination"))
    manifests = sa.table("manifests", sa.column("id", sa.Uuid), sa.column("visit_id", sa.Uuid))
    looks = sa.table("picture_looks", sa.column("item_key", sa.Uuid), sa.column("visit_id", sa.Uuid), sa.column("phash"),
                     *(sa.column(f"band_{one}") for one in range(1, 5)))
    query = (sa.select(items.c.id, items.c.examination, manifests.c.visit_id).join(manifests, manifests.c.id == items.c.manifest_id)
             .where(items.c.examination.is_not(None), manifests.c.visit_id.is_not(None), items.c.role.not_in(_NOT_COMPARED))
             .order_by(items.c.id).limit(_ROWS_PER_TIME))
    bind, last = op.get_bind(), None
    while rows := bind.execute(query if last is None else query.where(items.c.id > last)).all():
        last = rows[-1].id
        found = [(row.id, row.visit_id, _phash(row.examination)) for row in rows]
        values = [{"item_key": item_key, "visit_id": visit_id, "phash": phash,
                   **{f"band_{one}": int(phash[4 * one - 4:4 * one], 16) for one in range(1, 5)}} for item_key, visit_id, phash in found if phash]
        if values:
            bind.execute(sa.insert(looks), values)


def _phash(examination: str) -> str:
    """Return the picture's hash, or nothing for what is no picture."""
    try:
        phash = (json.loads(examination).get("photo") or {}).get("phash", "")
        return phash if len(phash) == 16 and int(phash, 16) >= 0 else ""
    except (AttributeError, TypeError, ValueError):
        return ""
