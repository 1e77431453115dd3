"""Lets a function go on with erasures that are not finished, and finds what is a user's without reading all.

The indexes are on tables of events that failed and of reports, which are small: what is written to them
meanwhile waits for a moment.
"""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.execute(
        """
        ALTER TABLE erasures
            ADD COLUMN next_at timestamptz NOT NULL DEFAULT now(),
            ADD COLUMN manifest jsonb;
        CREATE INDEX erasures_open ON erasures (next_at) WHERE finished_at IS NULL;
        CREATE INDEX dead_letters_user ON dead_letters (user_id, id);
        CREATE INDEX reports_reported ON reports (reported_id, id)
        """
    )


def downgrade() -> None:
    """Remove them."""
    op.execute(
        """
        DROP INDEX reports_reported;
        DROP INDEX dead_letters_user;
        DROP INDEX erasures_open;
        ALTER TABLE erasures DROP COLUMN manifest, DROP COLUMN next_at
        """
    )
