"""What users read through the API of a Supabase project: their own, quickly, and nothing else."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from infra.store.migrate import upgrade
from infra.store.profiles import NamedUser, insert_profiles
from tests.harness.engines import Engines
from tests.harness.supabase import SupabaseProject
from tests.harness.worker_bench import WorkerBench
from tests.integration.deploy.test_supabase import OF_POLICIES, READABLE, READS, grants

HIDDEN = {
    "profiles": {
        "username_key", "created_at", "named_at", "deleted_at", "last_seen_at",
        "messages_from", "read_receipts", "show_presence", "push_texts", "handled", "refused",
    },
    "chats": {
        "listed_at", "is_behind", "sweep_at", "swept_seq", "last_to_lo", "last_to_hi", "to_lo", "to_hi",
        "numbered_after", "lo_changed_at", "hi_changed_at", "lo_box", "hi_box",
        "lo_blocked_at", "hi_blocked_at", "lo_unread", "hi_unread", "handled", "refused",
        "system_messages", "system_to_lo", "system_to_hi",
    },
    "chat_members": {"joined_at", "cleared_seq", "shown_delivered_seq", "shown_read_seq", "muted_until"},
    "messages": {"to_lo"},
}  # fmt: skip
"""Columns of the same tables that the socket does not show either, or not to the peer."""


def everything(table: str) -> str:
    """Return the query for what a user may read of a table."""
    return f"SELECT {', '.join(READABLE[table])} FROM {table}"


class Conversations:
    """A project where alice and bob, and carol and dave, have exchanged a message."""

    def __init__(self, project: SupabaseProject) -> None:
        self.project = project
        upgrade(project.database_url)
        self.people = {name: project.sign_up() for name in ("alice", "bob", "carol", "dave")}
        self.bench = WorkerBench(project.store)
        with self.bench.engine.begin() as conn:
            insert_profiles(conn, [NamedUser(str(id), name) for name, id in self.people.items()])
        self.chat_id = self.bench.open_chat(self.people["alice"], "bob")
        self.bench.open_chat(self.people["carol"], "dave")
        self.project.rows(
            "SELECT bbgram.refuse_name(id, 'root', 'not_allowed') FROM bbgram.profiles;"
            "INSERT INTO bbgram.devices (id, user_id, channel, address)"
            " SELECT gen_random_uuid(), id, 'log', username FROM bbgram.profiles"
        )


@pytest.fixture(scope="module")
def talk(engines: Engines) -> Iterator[Conversations]:
    conversations = Conversations(SupabaseProject(engines))
    yield conversations
    conversations.bench.close()
    engines.release(conversations.project.store)


TABLES = [
    "profiles", "chats", "chat_members", "messages", "dead_letters", "devices", "undelivered",
    "notifications", "archived_chats", "archive_holds", "alembic_version", "refused_names", "names_not_taken",
    "changed_messages",
    "reports",
    "job_runs",
    "erasures",
    "outbox", "webhook_endpoints", "webhook_waits",
]  # fmt: skip
CLOSED = sorted(set(TABLES) - READABLE.keys())


def test_these_are_all_tables_and_views(talk: Conversations) -> None:
    rows = talk.project.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'bbgram'::regnamespace AND relkind IN ('r', 'v')"
    )
    assert {row.relname for row in rows} == set(TABLES)


@pytest.mark.parametrize(
    ("table", "seen"), [("profiles", 2), ("chats", 1), ("chat_members", 1), ("messages", 1)]
)
@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dave"])
def test_members_read_their_own_chats_and_nothing_else(
    talk: Conversations, table: str, seen: int, person: str
) -> None:
    assert len(talk.project.api(everything(table), talk.people[person])) == seen


def test_every_column_is_either_readable_or_known_to_be_hidden(talk: Conversations) -> None:
    columns = (
        "SELECT attname FROM pg_attribute"
        " WHERE attrelid = %(t)s::regclass AND attnum > 0 AND NOT attisdropped"
    )
    for table, readable in READABLE.items():
        found = {row.attname for row in talk.project.rows(columns, t=f"bbgram.{table}")}
        assert found == {*readable, *HIDDEN[table]}
        assert not HIDDEN[table] & set(readable)


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table in HIDDEN for column in sorted(HIDDEN[table])]
)
def test_nobody_reads_a_hidden_column(talk: Conversations, table: str, column: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        talk.project.api(f"SELECT {column} FROM {table}", talk.people["alice"])


def test_a_column_of_a_later_release_is_hidden(engines: Engines) -> None:
    project = SupabaseProject(engines, privileges="everywhere")
    upgrade(project.database_url)
    # As an earlier release left it, which opened whole tables.
    project.rows(
        "GRANT SELECT ON bbgram.messages, bbgram.profiles TO authenticated;"
        "COMMENT ON FUNCTION bbgram.reader_id() IS 'earlier'"
    )
    upgrade(project.database_url)
    for table in READABLE:
        project.rows(f"ALTER TABLE bbgram.{table} ADD COLUMN secret text")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            project.api(f"SELECT secret FROM {table}", project.sign_up())
    engines.release(project.store)


EARLIER_LINK = """
CREATE FUNCTION bbgram.silent_people_of_reader() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = bbgram, pg_temp AS 'SELECT jsonb_agg(id) FROM profiles WHERE NOT read_receipts';
GRANT EXECUTE ON FUNCTION bbgram.silent_people_of_reader() TO authenticated;
DROP POLICY members_read_watermarks ON bbgram.chat_members;
CREATE POLICY members_read_watermarks ON bbgram.chat_members FOR SELECT TO authenticated
    USING (NOT coalesce((SELECT bbgram.silent_people_of_reader()) ? user_id::text, false));
COMMENT ON FUNCTION bbgram.reader_id() IS 'earlier'
"""


def test_what_told_who_hides_receipts_is_gone_and_the_apps_own_stays(engines: Engines) -> None:
    project = SupabaseProject(engines)
    project.rows("CREATE FUNCTION public.silent_people_of_reader() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    upgrade(project.database_url)
    project.rows(EARLIER_LINK)
    assert grants(project.rows) != READS
    upgrade(project.database_url)
    assert grants(project.rows) == READS
    found = "SELECT pronamespace::regnamespace::text FROM pg_proc WHERE proname = 'silent_people_of_reader'"
    assert project.rows(found) == [("public",)]
    engines.release(project.store)


@pytest.mark.parametrize("table", sorted(READABLE))
def test_a_stranger_reads_nothing(talk: Conversations, table: str) -> None:
    assert talk.project.api(everything(table), uuid.uuid4()) == []


@pytest.mark.parametrize("by", ["the project", "the app"])
def test_a_deleted_user_reads_nothing_and_peers_keep_their_copy(engines: Engines, by: str) -> None:
    talk = Conversations(SupabaseProject(engines))
    alice, bob = talk.people["alice"], talk.people["bob"]
    if by == "the project":
        talk.project.delete_user(bob)
    else:
        talk.project.rows("DELETE FROM bbgram.profiles WHERE id = %(id)s", id=bob)
    for table in READABLE:
        assert talk.project.api(everything(table), bob) == []
    assert len(talk.project.api(everything("messages"), alice)) == 1
    talk.bench.close()
    engines.release(talk.project.store)


def visible(talk: Conversations, user: uuid.UUID) -> dict[str, list[str]]:
    """Return all that a user gets from the API: what the tables show, and what the functions answer."""
    queries = [*map(everything, READABLE), *(f"SELECT * FROM {name}()" for name in sorted(OF_POLICIES))]
    return {query: sorted(map(str, talk.project.api(query, user))) for query in queries}


@pytest.mark.parametrize("person", ["alice", "bob"])
def test_watermarks_are_those_of_the_reader(talk: Conversations, person: str) -> None:
    user = talk.people[person]
    assert {row.user_id for row in talk.project.api(everything("chat_members"), user)} == {user}
    assert talk.project.api("SELECT FROM chat_members WHERE user_id <> auth.uid()", user) == []


@pytest.mark.parametrize(
    ("hides", "shows"),
    [
        (("block_user", {"username": "alice"}), ("unblock_user", {"username": "alice"})),
        (("update_settings", {"readReceipts": False}), ("update_settings", {"readReceipts": True})),
        (("update_settings", {"messagesFrom": "nobody"}), ("update_settings", {"messagesFrom": "everyone"})),
    ],
    ids=["block", "receipts", "messages"],
)
def test_nobody_reads_who_has_blocked_them_or_hides_receipts(
    talk: Conversations, hides: tuple[str, dict[str, Any]], shows: tuple[str, dict[str, Any]]
) -> None:
    alice, bob = talk.people["alice"], talk.people["bob"]

    def ask(user: uuid.UUID, name: str, payload: dict[str, Any]) -> Any:
        event = talk.bench.event(user, name, payload)
        return talk.bench.ask(event).ack(event)

    talk.bench.open_chat(alice, "bob")
    before = visible(talk, alice)
    his = talk.project.api(everything("chat_members"), bob)
    ask(bob, *hides)
    assert visible(talk, alice) == before
    ask(bob, "mark_as_read", {"chatId": talk.chat_id})
    assert talk.project.api(everything("chat_members"), bob) != his
    assert visible(talk, alice) == before
    ask(bob, *shows)
    assert visible(talk, alice) == before


def test_a_stranger_who_is_blocked_sees_nothing_of_it(talk: Conversations) -> None:
    bob, dave = talk.people["bob"], talk.people["dave"]
    before = visible(talk, dave)
    event = talk.bench.event(bob, "block_user", {"userId": str(dave)})
    assert talk.bench.ask(event).ack(event)["blocked"]
    assert visible(talk, dave) == before


def test_what_a_user_has_cleared_is_hidden_from_them_and_not_from_the_peer(engines: Engines) -> None:
    talk = Conversations(SupabaseProject(engines))
    alice, bob = talk.people["alice"], talk.people["bob"]
    chat_id = talk.bench.open_chat(alice, "bob")

    def clear(user: uuid.UUID, up_to: int) -> None:
        event = talk.bench.event(user, "clear_chat", {"chatId": chat_id, "upTo": up_to})
        assert talk.bench.ask(event).ack(event)["clearedUpTo"] == up_to

    def seen() -> tuple[list[int], list[int]]:
        hers, his = (talk.project.api("SELECT seq FROM messages", user) for user in (alice, bob))
        return sorted(row.seq for row in hers), sorted(row.seq for row in his)

    clear(alice, 1)
    assert seen() == ([2], [1, 2])
    clear(bob, 2)
    assert seen() == ([2], [])
    talk.bench.open_chat(bob, "alice")
    assert seen() == ([2, 3], [3])
    assert talk.project.api("SELECT cleared_of_reader()", alice) == [({chat_id: 1},)]
    talk.bench.close()
    engines.release(talk.project.store)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_others_may_not_even_ask(talk: Conversations, table: str, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        talk.project.api(f"SELECT * FROM bbgram.{table}", role=role)


@pytest.mark.parametrize("table", CLOSED)
def test_everything_else_is_closed_to_everybody(talk: Conversations, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        talk.project.api(f"SELECT * FROM {table}", talk.people["alice"])


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"names_not_taken"}))
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {table}",
        "TRUNCATE {table}",
        "INSERT INTO {table} DEFAULT VALUES",
        "UPDATE {table} SET {column} = DEFAULT",
    ],
)
def test_nobody_writes_through_the_api(talk: Conversations, table: str, statement: str) -> None:
    first = "SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum = 1"
    (column,) = talk.project.rows(first, table=f"bbgram.{table}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        talk.project.api(statement.format(table=table, column=column.attname), talk.people["alice"])


def test_nobody_calls_another_function_through_the_api(talk: Conversations) -> None:
    functions = talk.project.rows(
        "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = 'bbgram'::regnamespace"
    )
    assert len(functions) > 5
    for role in ("anon", "authenticated", "service_role"):
        may = "SELECT has_function_privilege(%(role)s, %(name)s, 'EXECUTE') AS may"
        called = {it.name for it in functions if talk.project.rows(may, role=role, name=it.name)[0].may}
        policies = {f"bbgram.{name}()" for name in OF_POLICIES}
        assert called == (policies if role == "authenticated" else set())


@pytest.fixture(scope="module")
def crowded(engines: Engines) -> Iterator[tuple[SupabaseProject, uuid.UUID]]:
    """A project with 20,000 users and chats, and one of the users, who has 30 of the chats."""
    project = SupabaseProject(engines)
    upgrade(project.database_url)
    project.as_auth(
        "INSERT INTO auth.users (id) SELECT md5('user' || n)::uuid FROM generate_series(1, 20000) n"
    )
    project.rows(
        """
        INSERT INTO bbgram.profiles (id, username)
        SELECT md5('user' || n)::uuid, 'user' || n FROM generate_series(1, 20000) n;
        INSERT INTO bbgram.chats (id, user_lo, user_hi, last_seq)
        SELECT md5('chat' || n)::uuid, least(lo, hi), greatest(lo, hi), 3
        FROM generate_series(1, 20000) n
        CROSS JOIN LATERAL (SELECT
            md5('user' || CASE WHEN n <= 30 THEN 1 ELSE n END)::uuid AS lo,
            md5('user' || n % 20000 + 1)::uuid AS hi
        ) pair;
        INSERT INTO bbgram.chat_members (chat_id, user_id)
        SELECT id, user_lo FROM bbgram.chats UNION SELECT id, user_hi FROM bbgram.chats;
        INSERT INTO bbgram.messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT id, seq, gen_random_uuid(), user_lo, user_hi, 'hello', now()
        FROM bbgram.chats, generate_series(1, 3) seq;
        ANALYZE bbgram.profiles, bbgram.chats, bbgram.chat_members, bbgram.messages
        """
    )
    yield project, uuid.UUID(project.rows("SELECT md5('user1') AS id")[0].id)
    engines.release(project.store)


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from steps(inner)


def run_plan(project: SupabaseProject, query: str, user: uuid.UUID) -> list[dict[str, Any]]:
    """Run a query as a user and return the steps of its plan, with what they did."""
    ((plan,),) = project.api(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", user)
    return list(steps(plan[0]["Plan"]))


def subqueries_per_row(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the subqueries of policies that ran for more than one row."""
    kinds = {"SubPlan", "InitPlan"}
    return [it for it in found if it.get("Parent Relationship") in kinds and it["Actual Loops"] > 1]


@pytest.mark.parametrize(
    ("table", "seen"), [("profiles", 32), ("chats", 31), ("chat_members", 31), ("messages", 93)]
)
@pytest.mark.parametrize("columns", ["everything", "count(*)"])
def test_reads_cost_what_they_return(
    crowded: tuple[SupabaseProject, uuid.UUID], table: str, seen: int, columns: str
) -> None:
    project, user = crowded
    assert len(project.api(everything(table), user)) == seen
    query = everything(table) if columns == "everything" else f"SELECT {columns} FROM {table}"
    found = run_plan(project, query, user)
    assert [
        step for step in found if step["Node Type"] == "Seq Scan" and step["Relation Name"] in READABLE
    ] == []
    assert subqueries_per_row(found) == []


def befriend(project: SupabaseProject, chats: int) -> uuid.UUID:
    """Give a new user chats with as many others, and three messages in each."""
    popular = project.sign_up()
    project.rows(
        f"""
        INSERT INTO bbgram.profiles (id, username) VALUES ('{popular}', '{popular}');
        CREATE TEMP TABLE made AS
        SELECT gen_random_uuid() AS id, id AS peer FROM bbgram.profiles WHERE id <> '{popular}'
        ORDER BY id LIMIT {chats};
        INSERT INTO bbgram.chats (id, user_lo, user_hi, last_seq)
        SELECT id, least('{popular}', peer), greatest('{popular}', peer), 3 FROM made;
        INSERT INTO bbgram.chat_members (chat_id, user_id)
        SELECT id, peer FROM made UNION ALL SELECT id, '{popular}' FROM made;
        INSERT INTO bbgram.messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT id, seq, gen_random_uuid(), '{popular}', peer, 'hello', now()
        FROM made, generate_series(1, 3) seq
        """
    )
    return popular


JOINS = {
    # As PostgREST embeds: to one, to many.
    "SELECT c.id, p.username FROM chats c JOIN profiles p ON p.id IN (c.user_lo, c.user_hi)"
    " WHERE p.id <> auth.uid()": 1,
    "SELECT c.id, lo.username AS lo, hi.username AS hi FROM chats c"
    " LEFT JOIN LATERAL (SELECT username FROM profiles p WHERE p.id = c.user_lo) lo ON true"
    " LEFT JOIN LATERAL (SELECT username FROM profiles p WHERE p.id = c.user_hi) hi ON true": 1,
    "SELECT c.id, m.rows FROM chats c LEFT JOIN LATERAL ("
    "SELECT json_agg(json_build_object('user_id', w.user_id, 'read_seq', w.read_seq)) AS rows"
    " FROM chat_members w WHERE w.chat_id = c.id"
    ") m ON true": 1,
    "SELECT m.text, p.username FROM messages m JOIN profiles p ON p.id = m.sender_id": 3,
    "SELECT m.text, c.id FROM messages m JOIN chats c ON c.id = m.chat_id": 3,
}


@pytest.mark.parametrize("chats", [1_000, 1_001, 10_000])
def test_joins_cost_the_same_for_each_chat(crowded: tuple[SupabaseProject, uuid.UUID], chats: int) -> None:
    project, _ = crowded
    user = befriend(project, chats)
    seen = {"profiles": chats + 1, "chats": chats, "chat_members": chats, "messages": 3 * chats}
    for table, expected in seen.items():
        assert project.api(f"SELECT count(*) FROM {table}", user) == [(expected,)]
    for query, rows in JOINS.items():
        assert len(project.api(query, user)) == rows * chats
        assert subqueries_per_row(run_plan(project, query, user)) == []


def test_cleared_chats_cost_no_more(crowded: tuple[SupabaseProject, uuid.UUID]) -> None:
    project, _ = crowded
    user = befriend(project, 1_000)
    project.rows("UPDATE bbgram.chat_members SET cleared_seq = 2 WHERE user_id = %(user)s", user=user)
    assert project.api("SELECT count(*), min(seq) FROM messages", user) == [(1_000, 3)]
    ((chat_id,), *_) = project.api("SELECT id FROM chats", user)
    for query in ("SELECT text FROM messages", f"SELECT text FROM messages WHERE chat_id = '{chat_id}'"):
        found = run_plan(project, query, user)
        assert "Seq Scan" not in {it["Node Type"] for it in found if it.get("Relation Name") == "messages"}
        assert subqueries_per_row(found) == []
