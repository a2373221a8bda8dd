"""Travel times that a plan was made with: their provider and data with the plan, a road network's matrix beside it.

Plans made before were all made with great-circle travel, which their instance holds; their `travel` stays NULL.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "travel"
down_revision = "replans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "travel_matrices",
        sa.Column("digest", ddl.key(64), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("kept_at", ddl.instant(), nullable=False),
    )
    ddl.append_only("travel_matrices")
    ddl.grant_app("travel_matrices", append_only=True)
    with ddl.rebuild_table("plans") as plans:
        plans.add_column(sa.Column("travel", ddl.canonical_json()))


def downgrade() -> None:
    with ddl.rebuild_table("plans") as plans:
        plans.drop_column("travel")
    op.drop_table("travel_matrices")
