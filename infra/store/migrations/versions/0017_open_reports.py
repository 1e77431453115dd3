"""Finds open reports without looking at closed ones, for the alert that somebody should look at them."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX reports_open ON reports (created_at) WHERE closed_at IS NULL")


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP INDEX reports_open")
