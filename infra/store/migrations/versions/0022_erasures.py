"""Whose data was erased, and how far that has come."""

from alembic import op

revision = "0022"
down_revision = "0020"


def upgrade() -> None:
    """Add the table. It refers to no other one: it outlives profiles that are removed for good."""
    op.execute(
        """
        CREATE TABLE erasures (
            user_id uuid PRIMARY KEY,
            mode text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            step text NOT NULL,
            place text,
            counts jsonb NOT NULL DEFAULT '{}',
            finished_at timestamptz,
            archive_settled boolean NOT NULL DEFAULT false
        );
        CREATE INDEX erasures_unsettled ON erasures (user_id) WHERE NOT archive_settled
        """
    )


def downgrade() -> None:
    """Remove the table."""
    op.execute("DROP TABLE erasures")
