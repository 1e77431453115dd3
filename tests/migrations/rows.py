"""A database at an older revision, with as many messages as a test wants."""

from alembic import command
from sqlalchemy import Engine, text

from infra.settings.store import SCHEMA
from infra.store.folding import refresh_functions
from infra.store.migrate import _config, _script

_PER_CHAT = 20
_PROFILES = """
    INSERT INTO profiles (id, username, username_key)
    SELECT md5('user' || n)::uuid, 'user' || n, 'user' || n FROM generate_series(1, :users) n
"""
_CHATS = """
    INSERT INTO chats (id, user_lo, user_hi, last_seq, activity_at)
    SELECT md5('chat' || n)::uuid, least(a, b), greatest(a, b), :per_chat, now() - interval '1 day'
    FROM generate_series(0, :chats - 1) n,
        LATERAL (
            SELECT md5('user' || 1 + n % :users)::uuid AS a,
                md5('user' || 1 + (n % :users + 1 + n / :users) % :users)::uuid AS b
        ) pair
"""
_MEMBERS = """
    INSERT INTO chat_members (chat_id, user_id, delivered_seq, read_seq, joined_at)
    SELECT id, member, last_seq, last_seq, now() FROM chats, unnest(ARRAY[user_lo, user_hi]) member
"""
_MESSAGES = """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
    SELECT id, seq, gen_random_uuid(), user_lo, user_hi, repeat('message ', 8), now() - interval '1 day'
    FROM chats, generate_series(1, :per_chat) seq
"""


def revisions() -> list[str]:
    """Return all revisions, the oldest first."""
    return [script.revision for script in _script().walk_revisions()][::-1]


def make_database(engine: Engine, revision: str) -> None:
    """Make the tables of a revision, in a schema of their own as all are now."""
    with engine.begin() as conn:
        conn.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        refresh_functions(conn, SCHEMA)
        command.upgrade(_config(conn, SCHEMA), revision)


def users_of(messages: int) -> int:
    """Return how many users there are: `user1` and so on, each in chats with the next five."""
    return messages // _PER_CHAT // 5


def add_rows(engine: Engine, messages: int) -> None:
    """Fill the tables of revision 0001."""
    sizes = {"users": users_of(messages), "chats": messages // _PER_CHAT, "per_chat": _PER_CHAT}
    with engine.begin() as conn:
        for sql in (_PROFILES, _CHATS, _MEMBERS, _MESSAGES):
            statement = text(sql)
            conn.execute(statement, {name: sizes[name] for name in statement.compile().params})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE")
