"""Remembers which times of a scheduled job have been taken, so that no two runs take the same one."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the table."""
    op.execute(
        """
        CREATE TABLE job_runs (
            name text PRIMARY KEY,
            schedule text NOT NULL,
            seen_until timestamptz NOT NULL,
            due_at timestamptz,
            began_at timestamptz,
            ended_at timestamptz,
            failed boolean NOT NULL DEFAULT false
        )
        """
    )


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP TABLE job_runs")
