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

READABLE = {"profiles", "chats", "chat_members", "messages"}
"""What signed-in users may read, as far as it is theirs."""


class Conversations:
    """A project where alice and bob, and carol and dave, have exchanged a message."""

    def __init__(self, project: SupabaseProject) -> None:
        self.project = project
        upgrade(project.database_url)
        self.people = {name: project.sign_up() for name in ("alice", "bob", "carol", "dave")}
        self.bench = WorkerBench(project.store)
        with self.bench.engine.begin() as conn:
            insert_profiles(conn, [NamedUser(str(id), name) for name, id in self.people.items()])
        self.bench.open_chat(self.people["alice"], "bob")
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
]  # fmt: skip
CLOSED = sorted(set(TABLES) - READABLE)


def test_these_are_all_tables_and_views(talk: Conversations) -> None:
    rows = talk.project.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'bbgram'::regnamespace AND relkind IN ('r', 'v')"
    )
    assert {row.relname for row in rows} == set(TABLES)


@pytest.mark.parametrize(
    ("table", "seen"), [("profiles", 2), ("chats", 1), ("chat_members", 2), ("messages", 1)]
)
@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dave"])
def test_members_read_their_own_chats_and_nothing_else(
    talk: Conversations, table: str, seen: int, person: str
) -> None:
    assert len(talk.project.api(f"SELECT * FROM {table}", talk.people[person])) == seen


@pytest.mark.parametrize("table", sorted(READABLE))
def test_a_stranger_reads_nothing(talk: Conversations, table: str) -> None:
    assert talk.project.api(f"SELECT * FROM {table}", uuid.uuid4()) == []


@pytest.mark.parametrize("by", ["the project", "the app"])
def test_a_deleted_user_reads_nothing_and_peers_keep_their_copy(engines: Engines, by: str) -> None:
    talk = Conversations(SupabaseProject(engines))
    alice, bob = talk.people["alice"], talk.people["bob"]
    if by == "the project":
        talk.project.delete_user(bob)
    else:
        talk.project.rows("DELETE FROM bbgram.profiles WHERE id = %(id)s", id=bob)
    for table in READABLE:
        assert talk.project.api(f"SELECT * FROM {table}", bob) == []
    assert len(talk.project.api("SELECT * FROM messages", alice)) == 1
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


OF_POLICIES = {"bbgram.reader_id()", "bbgram.people_of_reader()"}
"""Functions that the policies call. They return ids that the caller may read anyway."""


def test_nobody_calls_another_function_through_the_api(talk: Conversations) -> None:
    functions = talk.project.rows(
        "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = 'bbgram'::regnamespace"
    )
    assert len(functions) > 5
    for role in ("anon", "authenticated", "service_role"):
        may = "SELECT has_function_privilege(%(role)s, %(name)s, 'EXECUTE') AS may"
        called = {it.name for it in functions if talk.project.rows(may, role=role, name=it.name)[0].may}
        assert called == (OF_POLICIES if role == "authenticated" else set())


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
    ("table", "seen"), [("profiles", 32), ("chats", 31), ("chat_members", 62), ("messages", 93)]
)
@pytest.mark.parametrize("query", ["SELECT * FROM {}", "SELECT count(*) FROM {}"])
def test_reads_cost_what_they_return(
    crowded: tuple[SupabaseProject, uuid.UUID], table: str, seen: int, query: str
) -> None:
    project, user = crowded
    assert len(project.api(f"SELECT * FROM {table}", user)) == seen
    found = run_plan(project, query.format(table), user)
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
    "SELECT c.id, m.rows FROM chats c"
    " LEFT JOIN LATERAL (SELECT json_agg(w) AS rows FROM chat_members w WHERE w.chat_id = c.id) m ON true": 1,
    "SELECT m.text, p.username FROM messages m JOIN profiles p ON p.id = m.sender_id": 3,
    "SELECT m.text, c.id FROM messages m JOIN chats c ON c.id = m.chat_id": 3,
}


@pytest.mark.parametrize("chats", [1_000, 1_001, 10_000])
def test_joins_cost_the_same_for_each_chat(crowded: tuple[SupabaseProject, uuid.UUID], chats: int) -> None:
    project, _ = crowded
    user = befriend(project, chats)
    seen = {"profiles": chats + 1, "chats": chats, "chat_members": 2 * chats, "messages": 3 * chats}
    for table, expected in seen.items():
        assert project.api(f"SELECT count(*) FROM {table}", user) == [(expected,)]
    for query, rows in JOINS.items():
        assert len(project.api(query, user)) == rows * chats
        assert subqueries_per_row(run_plan(project, query, user)) == []
