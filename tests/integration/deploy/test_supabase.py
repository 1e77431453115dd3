"""The Supabase script, on a database with Supabase's users, API roles and `auth.uid()`."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from infra.store.engine import make_engine
from infra.store.profiles import ensure_profile
from tests.harness.engines import Engines

SCRIPT = Path("infra/deploy/supabase/policies.sql").read_text()
TABLES = ["profiles", "chats", "chat_members", "messages"]
SUPABASE = """
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN CREATE ROLE anon; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated') THEN
        CREATE ROLE authenticated;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA auth, public TO anon, authenticated;
GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated;
"""
ALICE, BOB, CAROL, DAVE = (uuid.UUID(int=number) for number in range(1, 5))
Read = Callable[..., int]


@pytest.fixture(scope="module")
def supabase(engines: Engines) -> Iterator[Engine]:
    """Make a Supabase-like database where alice and bob, and carol and dave, have a chat each."""
    store = engines.new_store()
    engine = make_engine(store.database_url)
    with engine.begin() as conn:
        conn.exec_driver_sql(SUPABASE)
        for person in (ALICE, BOB, CAROL, DAVE):
            conn.execute(text("INSERT INTO auth.users VALUES (:id)"), {"id": person})
    for number, person in enumerate((ALICE, BOB, CAROL, DAVE)):
        ensure_profile(store.database_url, str(person), f"person{number}")
    for _ in range(2):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql(SCRIPT)
    with engine.begin() as conn:
        for lo, hi in ((ALICE, BOB), (CAROL, DAVE)):
            params = {"chat": uuid.uuid4(), "lo": lo, "hi": hi}
            conn.execute(text("INSERT INTO chats (id, user_lo, user_hi) VALUES (:chat, :lo, :hi)"), params)
            conn.execute(
                text("INSERT INTO chat_members (chat_id, user_id) VALUES (:chat, :lo), (:chat, :hi)"), params
            )
            conn.execute(
                text(
                    "INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at) "
                    "VALUES (:chat, 1, gen_random_uuid(), :lo, :hi, 'hello', now())"
                ),
                params,
            )
    yield engine
    engine.dispose()
    engines.release(store)


@pytest.fixture
def rows_seen(supabase: Engine) -> Read:
    """Return a function that counts the rows of a table that a user sees through the API."""

    def count(table: str, person: uuid.UUID | None, role: str = "authenticated") -> int:
        with supabase.connect() as conn:
            conn.execute(
                text("SELECT set_config('request.jwt.claim.sub', :sub, true)"), {"sub": str(person or "")}
            )
            conn.exec_driver_sql(f"SET LOCAL ROLE {role}")
            return int(conn.exec_driver_sql(f"SELECT count(*) FROM public.{table}").scalar_one())

    return count


@pytest.mark.parametrize(
    ("table", "seen"), [("profiles", 2), ("chats", 1), ("chat_members", 2), ("messages", 1)]
)
@pytest.mark.parametrize("person", [ALICE, BOB, CAROL, DAVE])
def test_members_read_their_own_chats_and_nothing_else(
    rows_seen: Read, table: str, seen: int, person: uuid.UUID
) -> None:
    assert rows_seen(table, person) == seen


@pytest.mark.parametrize("table", TABLES)
def test_a_stranger_reads_nothing(rows_seen: Read, table: str) -> None:
    assert rows_seen(table, uuid.uuid4()) == 0


@pytest.mark.parametrize("table", [*TABLES, "dead_letters", "alembic_version"])
def test_anonymous_users_may_not_even_ask(rows_seen: Read, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        rows_seen(table, None, role="anon")


@pytest.mark.parametrize("table", ["dead_letters", "alembic_version"])
def test_internal_tables_are_closed_to_everybody(rows_seen: Read, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        rows_seen(table, ALICE)


@pytest.mark.parametrize("statement", ["DELETE FROM messages", "UPDATE chats SET last_seq = 9"])
def test_nobody_writes_through_the_api(supabase: Engine, statement: str) -> None:
    with supabase.connect() as conn:
        conn.exec_driver_sql("SET LOCAL ROLE authenticated")
        with pytest.raises(ProgrammingError, match="permission denied"):
            conn.exec_driver_sql(statement)


def test_deleting_a_user_deletes_everything_of_theirs(supabase: Engine) -> None:
    with supabase.connect() as conn:
        conn.execute(text("DELETE FROM auth.users WHERE id = :id"), {"id": DAVE})
        left = conn.exec_driver_sql("SELECT count(*) FROM messages").scalar_one()
        conn.rollback()
    assert left == 1
