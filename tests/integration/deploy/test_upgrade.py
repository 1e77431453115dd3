"""An installation of the last release, whose tables are in `public`, is moved by `bbgram migrate`."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, make_url

from infra.store import migrate
from infra.store.migrate import MigrationError, upgrade
from tests.conftest import ClientFactory, DeploymentFactory
from tests.harness.deployment import user_id_of
from tests.harness.engines import Engines, Store
from tests.harness.supabase import PRIVILEGES
from tests.harness.waiting import eventually
from tests.integration.deploy.conftest import Pooler, ProjectFactory
from tests.integration.deploy.test_supabase import READS, grants

_HERE = Path(__file__).parent
RELEASE = (_HERE / "release_0004.sql").read_text()
POLICIES = (_HERE / "release_0004_policies.sql").read_text()

DATA = """
INSERT INTO profiles (id, username, username_key, last_seen_at)
SELECT md5('user' || n)::uuid, 'User ' || n, 'user ' || n, now() FROM generate_series(1, 1000) n;
INSERT INTO profiles (id, username, username_key)
VALUES ('{alice}', 'alice', 'alice'), ('{bob}', 'bob', 'bob');
INSERT INTO chats (id, user_lo, user_hi, last_seq, sweep_at)
SELECT md5('chat' || n)::uuid, least(lo, hi), greatest(lo, hi), {per_chat}, now() + interval '1 day'
FROM generate_series(1, 1000) n
CROSS JOIN LATERAL (
    SELECT md5('user' || n)::uuid AS lo, md5('user' || n % 1000 + 1)::uuid AS hi
) pair;
INSERT INTO chat_members (chat_id, user_id, delivered_seq, read_seq, joined_at)
SELECT id, user_lo, 5, 3, now() FROM chats UNION ALL SELECT id, user_hi, 1, 0, NULL FROM chats;
INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
SELECT id, seq, gen_random_uuid(), user_lo, user_hi, 'message ' || seq, id || '-' || seq, now()
FROM chats, generate_series(1, {per_chat}) seq;
INSERT INTO devices (id, user_id, channel, address)
SELECT gen_random_uuid(), id, 'fcm', 'token of ' || username FROM profiles;
INSERT INTO undelivered (chat_id, user_id, check_at, notified_seq) SELECT id, user_hi, now(), 2 FROM chats;
INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs, finished_at, outcome)
SELECT gen_random_uuid(), user_hi, ARRAY[id], '{{1}}', '{{2}}', now(), 'sent' FROM chats;
INSERT INTO archived_chats (chat_id, seqs) SELECT id, '{{[1,1]}}' FROM chats LIMIT 10;
INSERT INTO archive_holds (day, until) VALUES ('2026-01-01', 'infinity');
INSERT INTO dead_letters (id, event, user_id, payload, error)
SELECT gen_random_uuid(), 'send_message', id, '{{}}', 'error' FROM profiles LIMIT 50;
"""
MESSAGES = 10_000
TABLES = [
    "profiles", "chats", "chat_members", "messages", "dead_letters", "devices", "undelivered",
    "notifications", "archived_chats", "archive_holds",
]  # fmt: skip
ADDED = (
    "{named_at,deleted_at,to_lo,to_hi,numbered_after,listed_at,is_behind,refused_by,"
    "change,cleared_seq,data,reply_to,edited_at,reactions,unsent_at,to_replace,"
    "messages_from,read_receipts,show_presence,push_texts,shown_delivered_seq,shown_read_seq,muted_until,"
    "lo_box,hi_box,lo_blocked_at,hi_blocked_at,lo_changed_at,hi_changed_at,lo_unread,hi_unread,handled,refused,"
    "language,display_name,avatar_url,kind,system_messages,system_to_lo,system_to_hi}"
)
"""The columns that the last release did not have."""
Address = str


def run(address: Address, sql: str) -> list[Any]:
    """Run SQL as an operator does, with psql."""
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as conn:
        cursor = conn.execute(sql)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def install(address: Address, messages: int) -> dict[str, Any]:
    """Make an installation of the last release. Return what is in it."""
    run(address, RELEASE)
    people = {name: user_id_of(name) for name in ("alice", "bob")}
    run(address, DATA.format(**people, per_chat=messages // 1000))
    return contents(address, "public")


def contents(address: Address, schema: str) -> dict[str, tuple[int, int]]:
    """Return the number of rows of each table, and a checksum over the columns that the last release had."""
    found = {}
    for table in TABLES:
        names = ", ".join(
            row[0]
            for row in run(
                address,
                f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' AND"
                f" table_name = '{table}' AND NOT column_name = ANY('{ADDED}') ORDER BY 1",
            )
        )
        (found[table],) = run(
            address,
            f"SELECT count(*), sum(hashtextextended(ROW({names})::text, 0)) FROM {schema}.{table}",
        )
    return found


def left_in_public(address: Address) -> set[str]:
    rows = run(
        address, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    functions = run(address, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    return {row[0] for row in (*rows, *functions)}


@pytest.fixture
def empty(engines: Engines) -> Iterator[Store]:
    """An empty database, and a Redis."""
    store = engines.new_store(migrated=False)
    yield store
    engines.release(store)


async def test_an_installation_is_moved_while_its_edges_and_clients_stay(
    empty: Store, deploy: DeploymentFactory, client: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = install(empty.database_url, MESSAGES)
    assert before["messages"][0] == MESSAGES
    deployment = deploy()
    deployment.env |= {"BBGRAM_DATABASE_URL": empty.database_url}
    edge = deployment.start_edge()
    alice, bob = [await client(name).connect(edge, wait_for_workers=False) for name in ("alice", "bob")]
    meanwhile = asyncio.create_task(alice.send("bob", "sent while no worker runs", clientId="meanwhile"))
    notes = await asyncio.to_thread(deployment.run, "migrate")
    assert notes.splitlines() == [
        "moved all tables from schema public to schema bbgram",
        "the database is up to date",
    ]
    assert contents(empty.database_url, "bbgram") == before
    assert left_in_public(empty.database_url) == set()
    deployment.start_worker()
    answer = await meanwhile
    # Nobody has waited for more than a few seconds, or lost anything.
    if not answer["success"]:
        assert answer["code"] in {"timeout", "unavailable"}
        assert (await alice.send("bob", "sent while no worker runs", clientId="meanwhile"))["success"]
    await bob.expect("new_message", lambda message: message["text"] == "sent while no worker runs")
    assert (await bob.send("alice", "and back"))["success"]
    await alice.expect("new_message", lambda message: message["text"] == "and back")
    assert run(empty.database_url, "SELECT count(*) FROM bbgram.messages") == [(MESSAGES + 2,)]
    assert run(empty.database_url, "SELECT count(*) FROM bbgram.dead_letters") == [(50,)]
    assert deployment.run("migrate").splitlines() == ["the database is up to date"]


@pytest.mark.parametrize("privileges", PRIVILEGES)
@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_an_installation_with_the_policies_of_the_last_release_is_moved(
    make_project: ProjectFactory, pooler: Pooler, privileges: str, pooled: bool
) -> None:
    project = make_project(privileges)
    project.as_auth(
        "INSERT INTO auth.users (id) SELECT md5('user' || n)::uuid FROM generate_series(1, 1000) n"
        f" UNION ALL VALUES ('{user_id_of('alice')}'::uuid), ('{user_id_of('bob')}')"
    )
    before = install(project.database_url, 2_000)
    project.rows(POLICIES)
    address = pooler(project) if pooled else project.database_url
    assert [note.split()[0] for note in upgrade(address)] == ["moved", "linked"]
    assert contents(address, "bbgram") == before
    assert left_in_public(address) == set()
    assert grants(project.rows) == READS
    user = uuid.UUID(run(address, "SELECT md5('user1')")[0][0])
    assert [len(project.api(f"SELECT id FROM {table}", user)) for table in ("profiles", "messages")] == [3, 4]
    project.delete_user(user)
    assert contents(address, "bbgram")["messages"] == before["messages"]


def test_the_version_table_is_left_to_an_app_that_uses_it_too(empty: Store) -> None:
    install(empty.database_url, 1_000)
    run(empty.database_url, "INSERT INTO public.alembic_version VALUES ('a1b2c3')")
    upgrade(empty.database_url)
    assert run(empty.database_url, "SELECT * FROM public.alembic_version") == [("a1b2c3",)]
    assert left_in_public(empty.database_url) == {"alembic_version"}


def is_waiting(address: Address) -> Callable[[], bool]:
    database = make_url(address).database
    sql = (
        f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
        " AND query LIKE 'LOCK TABLE%'"
    )
    return lambda: bool(run(address, sql))


def test_it_waits_for_tables_that_are_in_use(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = install(empty.database_url, 1_000)
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr(migrate, "_PAUSE_S", 0.1)
    tries = 0
    original = migrate._upgrade

    def count(conn: Connection, schema: str) -> tuple[list[str], bool]:
        nonlocal tries
        tries += 1
        return original(conn, schema)

    monkeypatch.setattr(migrate, "_upgrade", count)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(empty.database_url.replace("+psycopg", "")) as conn:
        conn.execute("UPDATE messages SET text = text WHERE seq = 1")
        done = pool.submit(upgrade, empty.database_url)
        eventually(is_waiting(empty.database_url), "it waits for the lock")
        eventually(lambda: tries > 1, "it tries again")
        conn.rollback()
        assert [note.split()[0] for note in done.result()] == ["moved"]
    assert contents(empty.database_url, "bbgram") == before


def test_it_gives_up_with_one_clear_line_and_leaves_everything_as_it_was(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = install(empty.database_url, 1_000)
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrate, "_PAUSE_S", 0)
    monkeypatch.setattr(migrate, "_TRIES", 3)
    with psycopg.connect(empty.database_url.replace("+psycopg", "")) as conn:
        conn.execute("SELECT FROM profiles")
        with pytest.raises(MigrationError, match=r"^the tables are in use: stop the workers.*again$"):
            upgrade(empty.database_url)
        conn.rollback()
    assert contents(empty.database_url, "public") == before
    assert run(empty.database_url, "SELECT to_regnamespace('bbgram')") == [(None,)]
