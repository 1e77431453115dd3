"""A database with millions of messages, made by SQL: those of a crowd of users, and of a few heavy users."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, text

from infra.store.profiles import NamedUser, insert_profiles
from tests.harness.deployment import user_id_of


class Chats(msgspec.Struct, frozen=True):
    """Chats of a user with peers, in each of which the peer has written so many messages to the user."""

    username: str
    chats: int
    each: int
    is_delivered: bool = True
    is_read: bool = True

    @property
    def messages(self) -> int:
        """Return how many messages there are."""
        return self.chats * self.each


BEHIND: Final = Chats("behind", 500, 200, is_delivered=False, is_read=False)
FEW_CHATS: Final = Chats("few_chats", 50, 2)
MANY_CHATS: Final = Chats("many_chats", 5_000, 2)
FEW_UNREAD: Final = Chats("few_unread", 50, 1, is_read=False)
MANY_UNREAD: Final = Chats("many_unread", 50, 10_000, is_read=False)
HEAVY: Final = (BEHIND, FEW_CHATS, MANY_CHATS, FEW_UNREAD, MANY_UNREAD)

CROWD: Final = 10_000
"""Users of the crowd."""
CROWD_CHATS: Final = 400_000
CROWD_MESSAGES: Final = 5_000_000
"""Twelve or thirteen in each chat."""

_CROWD = """
    INSERT INTO seeded (id, number, chats, one, other, messages, is_mutual, delivered, read)
    SELECT gen_random_uuid(), ahead * :users + one.n, :chats, one.id, other.id,
        :messages / :chats + (ahead * :users + one.n) % 2, true, 1000, 1000
    FROM generate_series(0, :chats / :users - 1) AS ahead
    CROSS JOIN crowd one
    JOIN crowd other ON other.n = (one.n + ahead + 1) % :users
"""
"""Each user has chats with those who come next in order, and writes in turns with them."""
_HEAVY = """
    INSERT INTO seeded (id, number, chats, one, other, messages, is_mutual, delivered, read)
    SELECT gen_random_uuid(), n, :chats, :user, peer.id, :each, false,
        CASE WHEN :is_delivered THEN :each ELSE 0 END, CASE WHEN :is_read THEN :each ELSE 0 END
    FROM unnest(CAST(:peers AS uuid[])) WITH ORDINALITY AS peer (id, n)
"""
_TABLE = """
    CREATE TEMPORARY TABLE seeded (
        id uuid, number int, chats int, one uuid, other uuid, messages int, is_mutual bool,
        delivered int, read int
    ) ON COMMIT DROP
"""
_CROWD_TABLE = """
    CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS
    SELECT id, CAST(row_number() OVER (ORDER BY username) - 1 AS int) AS n
    FROM profiles WHERE username LIKE 'user%'
"""
_AT = "now() - interval '2 days' + (({seq} - 1) * s.chats + s.number) * interval '10 ms'"
"""When a message was sent: the chats of a user take turns. So it is more than a day ago."""
_TO_LO = """
    CASE
        WHEN NOT s.is_mutual THEN CASE WHEN s.one < s.other THEN {seq} ELSE 0 END
        WHEN s.one < s.other THEN {seq} / 2
        ELSE ({seq} + 1) / 2
    END
"""
"""How many messages went to `user_lo` up to this one. In a mutual chat, `one` writes the odd ones."""
_MESSAGES = f"""
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at, to_lo)
    SELECT s.id, seq, gen_random_uuid(),
        CASE WHEN s.is_mutual AND seq % 2 = 1 THEN s.one ELSE s.other END,
        CASE WHEN s.is_mutual AND seq % 2 = 1 THEN s.other ELSE s.one END,
        'A message that is about as long as most messages of people are.',
        {_AT.format(seq="seq")}, {_TO_LO.format(seq="seq")}
    FROM ({{seeded}}) s CROSS JOIN LATERAL generate_series(1, s.messages) AS seq
    {{order}}
"""
_FILL = (
    f"""
    INSERT INTO chats (
        id, user_lo, user_hi, last_seq, activity_at, listed_at, last_to_lo, last_to_hi, to_lo, to_hi,
        lo_unread, hi_unread
    )
    SELECT id, lo, hi, messages, at, at, last_to_lo, last_to_hi, to_lo, messages - to_lo,
        lo = one AND read < messages, hi = one AND read < messages
    FROM (
        SELECT s.*, least(s.one, s.other) AS lo, greatest(s.one, s.other) AS hi,
            {_AT.format(seq="s.messages")} AS at, {_TO_LO.format(seq="s.messages")} AS to_lo,
            CASE WHEN s.one < s.other THEN to_one ELSE to_other END AS last_to_lo,
            CASE WHEN s.one < s.other THEN to_other ELSE to_one END AS last_to_hi
        FROM (
            SELECT *, CASE WHEN is_mutual THEN messages - messages % 2 ELSE messages END AS to_one,
                CASE WHEN is_mutual THEN messages - (messages + 1) % 2 ELSE 0 END AS to_other
            FROM seeded
        ) s
    ) made
    """,
    """
    INSERT INTO chat_members (chat_id, user_id, delivered_seq, read_seq, joined_at)
    SELECT id, one, least(delivered, messages), least(read, messages), now() FROM seeded
    UNION ALL
    SELECT id, other, messages, messages, now() FROM seeded
    """,
    _MESSAGES.format(seeded="SELECT * FROM seeded WHERE is_mutual ORDER BY id", order=""),
    _MESSAGES.format(
        seeded="SELECT * FROM seeded WHERE NOT is_mutual", order="ORDER BY s.one, seq, s.number"
    ),
)
_RESET = (
    "UPDATE chat_members SET delivered_seq = 0 WHERE user_id = :behind AND delivered_seq > 0",
    "UPDATE chat_members SET read_seq = 0 WHERE user_id = ANY(:unread) AND read_seq > 0",
    """
    UPDATE chats SET lo_unread = true
    WHERE user_lo = ANY(:unread) AND NOT lo_unread
    """,
    """
    UPDATE chats SET hi_unread = true
    WHERE user_hi = ANY(:unread) AND NOT hi_unread
    """,
)


def fill(engine: Engine) -> None:
    """Fill the tables of a chat that has the profiles of the crowd and nothing else."""
    peers = _make_profiles(engine, HEAVY)
    with engine.begin() as conn:
        # An index is made sooner than it grows.
        conn.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        ((index,),) = conn.execute(text("SELECT pg_get_indexdef(CAST('messages_once' AS regclass))"))
        conn.execute(text("DROP INDEX messages_once"))
        conn.execute(text(_TABLE))
        conn.execute(text(_CROWD_TABLE))
        conn.execute(text(_CROWD), {"users": CROWD, "chats": CROWD_CHATS, "messages": CROWD_MESSAGES})
        _add(conn, HEAVY, peers)
        conn.execute(text(index))
    settle(engine)


def add(engine: Engine, *heavy: Chats) -> None:
    """Add users with many chats to any database."""
    peers = _make_profiles(engine, heavy)
    with engine.begin() as conn:
        conn.execute(text(_TABLE))
        _add(conn, heavy, peers)


def _make_profiles(engine: Engine, heavy: Sequence[Chats]) -> list[str]:
    """Make the profiles of users and of their peers; return the ids of these."""
    peers = [f"peer{n:05d}" for n in range(max(one.chats for one in heavy))]
    users = [NamedUser(user_id_of(name), name) for name in (*peers, *(one.username for one in heavy))]
    with engine.begin() as conn:
        insert_profiles(conn, users)
    return [user.id for user in users[: len(peers)]]


def _add(conn: Connection, heavy: Sequence[Chats], peers: Sequence[str]) -> None:
    """Fill the tables with the chats that were chosen, and with those of some users."""
    # Foreign keys are not checked.
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    for one in heavy:
        params = {**msgspec.structs.asdict(one), "user": user_id_of(one.username)}
        conn.execute(text(_HEAVY), {**params, "peers": list(peers[: one.chats])})
    for statement in _FILL:
        conn.execute(text(statement))


def settle(engine: Engine) -> None:
    """Do now what Postgres would do later on, in the middle of a measurement."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM (ANALYZE)")
        conn.exec_driver_sql("CHECKPOINT")


def reset(engine: Engine) -> None:
    """Let the heavy users have received and read as little as in the beginning."""
    unread = [user_id_of(heavy.username) for heavy in (FEW_UNREAD, MANY_UNREAD)]
    with engine.begin() as conn:
        for statement in _RESET:
            conn.execute(text(statement), {"behind": user_id_of(BEHIND.username), "unread": unread})
