"""Prepare the database: PostGIS, the application's role, the functions behind the triggers.

There are no rows yet. The extension and the role outlive a downgrade: others may use them.
"""

from backend.db.migrations import ddl

revision = "foundation"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl.execute(postgresql="CREATE EXTENSION IF NOT EXISTS postgis")
    ddl.create_app_role()
    ddl.grant_app_read("alembic_version")
    ddl.install_trigger_functions()


def downgrade() -> None:
    ddl.remove_trigger_functions()
