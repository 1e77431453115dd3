"""Devices, notifications, and the state of offline delivery and of the archive."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UP = """
CREATE TABLE devices (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    channel text NOT NULL,
    address text NOT NULL,
    p256dh text,
    auth text,
    endpoint text,
    time_zone text,
    registered_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT devices_user_id_channel_address_key UNIQUE (user_id, channel, address)
);
CREATE UNIQUE INDEX devices_one_owner ON devices (channel, address)
    WHERE channel IN ('fcm', 'apns', 'webpush');
CREATE INDEX devices_age ON devices (registered_at);

CREATE TABLE undelivered (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    check_at timestamptz,
    notified_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (chat_id, user_id)
);
CREATE INDEX undelivered_check ON undelivered (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX undelivered_user ON undelivered (user_id);

CREATE TABLE notifications (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    chat_ids uuid[] NOT NULL,
    first_seqs bigint[] NOT NULL,
    last_seqs bigint[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz NOT NULL DEFAULT now(),
    tries bigint NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    sent_to uuid[] NOT NULL DEFAULT '{}',
    finished_at timestamptz,
    outcome text
);
CREATE INDEX notifications_user ON notifications (user_id, created_at);
CREATE INDEX notifications_open ON notifications (next_at) WHERE finished_at IS NULL;
CREATE INDEX notifications_age ON notifications (created_at);

CREATE TABLE archived_chats (
    chat_id uuid PRIMARY KEY REFERENCES chats (id) ON DELETE CASCADE,
    seqs int8multirange NOT NULL
);

CREATE TABLE archive_holds (
    day date PRIMARY KEY,
    until timestamptz NOT NULL
);

CREATE INDEX dead_letters_age ON dead_letters (created_at);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop the tables. Archived messages stay in the archive, but nothing refers to them any more."""
    op.execute("DROP INDEX dead_letters_age")
    op.execute("DROP TABLE archive_holds, archived_chats, notifications, undelivered, devices")
