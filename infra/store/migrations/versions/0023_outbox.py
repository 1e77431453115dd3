"""Keeps what webhooks are to tell until it was told."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Create the tables. Rows of the outbox are deleted soon, so it is vacuumed more often than others."""
    op.execute(
        """
        CREATE TABLE outbox (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            endpoint text NOT NULL,
            id text NOT NULL,
            event text NOT NULL,
            about uuid NOT NULL,
            body text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            dead_at timestamptz,
            error text
        ) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
        CREATE INDEX outbox_next ON outbox (endpoint, number) WHERE dead_at IS NULL;
        CREATE INDEX outbox_dead ON outbox (dead_at) WHERE dead_at IS NOT NULL;

        CREATE TABLE webhook_endpoints (
            name text PRIMARY KEY,
            tries bigint NOT NULL DEFAULT 0,
            caution bigint NOT NULL DEFAULT 0,
            failing_since timestamptz,
            error text,
            next_at timestamptz NOT NULL DEFAULT now(),
            claim uuid,
            claimed_until timestamptz
        );

        CREATE TABLE webhook_waits (
            endpoint text NOT NULL,
            about uuid NOT NULL,
            tries bigint NOT NULL,
            since timestamptz NOT NULL DEFAULT now(),
            next_at timestamptz NOT NULL,
            PRIMARY KEY (endpoint, about)
        );
        """
    )


def downgrade() -> None:
    """Remove them, with what was not told."""
    op.execute("DROP TABLE webhook_waits; DROP TABLE webhook_endpoints; DROP TABLE outbox")
