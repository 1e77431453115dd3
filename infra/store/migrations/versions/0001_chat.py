"""Profiles, chats, members, messages and dead letters."""

from alembic import op

revision = "0001"
down_revision = None

_UP = """
CREATE TABLE profiles (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    username_key text NOT NULL,
    last_seen_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profiles_username_key_key UNIQUE (username_key)
);

CREATE TABLE chats (
    id uuid PRIMARY KEY,
    user_lo uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    user_hi uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    last_seq bigint NOT NULL DEFAULT 0,
    activity_at timestamptz NOT NULL DEFAULT now(),
    sweep_at timestamptz,
    swept_seq bigint NOT NULL DEFAULT 0,
    CONSTRAINT chats_pair_ordered CHECK (user_lo <= user_hi)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX chats_pair ON chats (user_lo, user_hi);
CREATE INDEX chats_user_hi ON chats (user_hi);
CREATE INDEX chats_sweep ON chats (sweep_at) WHERE sweep_at IS NOT NULL;

CREATE TABLE chat_members (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    delivered_seq bigint NOT NULL DEFAULT 0,
    read_seq bigint NOT NULL DEFAULT 0,
    joined_at timestamptz,
    PRIMARY KEY (chat_id, user_id)
) WITH (fillfactor = 80);
CREATE INDEX chat_members_user ON chat_members (user_id);

CREATE TABLE messages (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    sender_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    text text NOT NULL,
    client_id text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (chat_id, seq)
);
CREATE UNIQUE INDEX messages_once ON messages (sender_id, coalesce(client_id, id::text));

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    event text NOT NULL,
    user_id uuid NOT NULL,
    payload text NOT NULL,
    error text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop the tables."""
    op.execute("DROP TABLE dead_letters, messages, chat_members, chats, profiles")
