"""Create the list of jobs that were given up, and on PostgreSQL the tables, types and functions of procrastinate.

They are new; no rows exist yet. The SQL is procrastinate 3.10's own (MIT licence), kept here as it was: a later release of it brings its changes
in a revision of its own. SQLite has no such tables, for there the queue is threads of the server.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "jobs"
down_revision = "cosignatures"
branch_labels = None
depends_on = None

SCHEMA = Path(__file__).parents[1] / "procrastinate_3_10.sql"
TABLES = ("procrastinate_events", "procrastinate_periodic_defers", "procrastinate_jobs", "procrastinate_workers")
SEQUENCES = ("procrastinate_jobs_id_seq", "procrastinate_periodic_defers_id_seq", "procrastinate_events_id_seq")
TYPES = ("procrastinate_job_to_defer_v1", "procrastinate_job_event_type", "procrastinate_job_status")


def upgrade() -> None:
    op.create_table(
        "given_up_jobs",
        sa.Column("task", ddl.key(64), primary_key=True),
        sa.Column("subject_id", ddl.uuid(), primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failure", ddl.key(64), nullable=False),
        sa.Column("given_up_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("attempts > 0", name="attempts_positive"),
    )
    ddl.grant_app("given_up_jobs")
    if ddl.is_postgresql():
        # Many statements at once: past SQLAlchemy, which would prepare them, but on its connection and in its transaction.
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(SCHEMA.read_bytes())
        for table in TABLES:
            ddl.grant_app(table)
        for sequence in SEQUENCES:
            ddl.execute(postgresql=(
                f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ddl.APP_ROLE}') "
                f"THEN GRANT USAGE ON SEQUENCE {sequence} TO {ddl.APP_ROLE}; END IF; END $$"
            ))


def downgrade() -> None:
    ddl.execute(postgresql=f"DROP TABLE {', '.join(TABLES)} CASCADE")
    ddl.execute(postgresql="""
        DO $$
        DECLARE
            one regprocedure;
        BEGIN
            FOR one IN
                SELECT oid::regprocedure FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace AND starts_with(proname, 'procrastinate_')
            LOOP
                EXECUTE 'DROP FUNCTION ' || one;
            END LOOP;
        END $$
    """)
    ddl.execute(postgresql=f"DROP TYPE {', '.join(TYPES)}")
    op.drop_table("given_up_jobs")
