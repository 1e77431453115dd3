"""The users of the chat follow the app's own table of profiles, whose writes succeed in any case."""

import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.store.migrate import upgrade
from tests.conftest import Name
from tests.harness.engines import Engines
from tests.harness.supabase import SupabaseProject
from tests.integration.deploy.conftest import ProjectFactory

SCRIPT = Path("infra/deploy/supabase/mirror_profiles.sql").read_text()


@pytest.fixture(scope="module")
def app(engines: Engines) -> Iterator[SupabaseProject]:
    """A project with the quick-start's table, which the chat mirrors."""
    project = SupabaseProject(engines)
    mirror(project)
    yield project
    engines.release(project.store)


def mirror(project: SupabaseProject) -> None:
    project.start_app()
    upgrade(project.database_url)
    project.rows(SCRIPT)


def rename(project: SupabaseProject, user_id: uuid.UUID, name: str | None) -> None:
    """Rename a user as the app does: as the user, through the API."""
    sql = "UPDATE public.profiles SET username = %(name)s WHERE id = %(id)s RETURNING username"
    assert project.api(sql, user_id, name=name, id=user_id) == [(name,)]


def name_of(project: SupabaseProject, user_id: uuid.UUID) -> str | None:
    """Return a user's name in the chat; None if they have no profile."""
    rows = project.rows(
        "SELECT username FROM bbgram.profiles WHERE id = %(id)s AND deleted_at IS NULL", id=user_id
    )
    return rows[0].username if rows else None


def refused(project: SupabaseProject, user_id: uuid.UUID) -> tuple[str, str, uuid.UUID | None] | None:
    """Return the name that a user did not get, why, and who has it."""
    rows = project.rows(
        "SELECT username, reason, taken_by FROM bbgram.names_not_taken WHERE user_id = %(id)s", id=user_id
    )
    return tuple(rows[0]) if rows else None


def test_nobody_is_in_the_chat_before_they_have_chosen_a_name(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up()
    assert name_of(app, user) is None
    assert refused(app, user) is None
    rename(app, user, name("zoe"))
    assert name_of(app, user) == name("zoe")


RENAMES = {
    "another name": "{}_2",
    "another case": "{}".upper(),
    "another width": "\uff3a\uff4f\uff45{}",
    "an accent": "Zo\u00eb {}",
    "the same": "zoe {}",
}


@pytest.mark.parametrize("pattern", RENAMES.values(), ids=RENAMES)
def test_a_rename_in_the_app_is_one_in_the_chat(app: SupabaseProject, name: Name, pattern: str) -> None:
    user = app.sign_up(f"zoe {name('')}")
    rename(app, user, pattern.format(name("")))
    assert name_of(app, user) == pattern.format(name(""))
    assert refused(app, user) is None


def test_names_that_differ_in_case_only_are_one_name(app: SupabaseProject, name: Name) -> None:
    first, second = app.sign_up(name("zoe")), app.sign_up(name("ZOE"))
    assert name_of(app, first) == name("zoe")
    assert name_of(app, second) is None
    assert refused(app, second) == (name("ZOE"), "taken", first)


REFUSED = {
    "too long": "x" * 65,
    "a control character": "zoe\u0007{}",
    "reversed text": "zoe\u202e{}",
    "invisible": "\u200b\u200c\u200d\u2060",
    "a stack of marks": "z\u0301\u0302\u0303\u0304\u0305o{}",
    "what stands for the deleted": "deleted  USER",
    "blank": "\u2800\u2800\u2800{}",
    "no name any more": None,
}


@pytest.mark.parametrize("wanted", REFUSED.values(), ids=REFUSED)
def test_a_name_that_is_not_allowed_leaves_the_old_one(
    app: SupabaseProject, name: Name, wanted: str | None
) -> None:
    user = app.sign_up(name("zoe"))
    wanted = wanted and wanted.format(name(""))
    rename(app, user, wanted)
    assert name_of(app, user) == name("zoe")
    assert refused(app, user) == (wanted or "", "not_allowed", None)
    rename(app, user, name("allowed"))
    assert name_of(app, user) == name("allowed")
    assert refused(app, user) is None


@pytest.mark.parametrize("how", ["renamed", "left", "deleted"])
def test_a_name_that_becomes_free_goes_to_whoever_waits_longest(
    app: SupabaseProject, name: Name, how: str
) -> None:
    holder, waiting, later = (app.sign_up(name(word)) for word in ("zoe", "Zoe", "ZOE"))
    if how == "renamed":
        rename(app, holder, name("other"))
    elif how == "left":
        app.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=holder)
    else:
        app.delete_user(holder)
    assert name_of(app, waiting) == name("Zoe")
    assert refused(app, waiting) is None
    assert refused(app, later) == (name("ZOE"), "taken", waiting)


def test_who_leaves_the_app_is_deleted_in_the_chat_and_may_come_back(
    app: SupabaseProject, name: Name
) -> None:
    user = app.sign_up(name("zoe"))
    app.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=user)
    assert name_of(app, user) is None
    app.api(
        "INSERT INTO public.profiles (id, username) VALUES (auth.uid(), %(name)s)", user, name=name("Zoe")
    )
    assert name_of(app, user) == name("Zoe")


def test_a_user_is_deleted_everywhere_or_nowhere(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with app.session() as conn:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user,))
        began = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            app.delete_user(user)
        # Postgres gives up after 2 s.
        assert time.monotonic() - began < 3
    assert app.rows("SELECT username FROM public.profiles WHERE id = %(id)s", id=user) == [(name("zoe"),)]
    assert name_of(app, user) == name("zoe")
    app.delete_user(user)
    assert name_of(app, user) is None


def test_a_user_who_is_deleted_softly_keeps_the_name(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    app.as_auth("UPDATE auth.users SET deleted_at = now(), email = NULL WHERE id = %(id)s", id=user)
    assert name_of(app, user) == name("zoe")


def test_a_row_that_gets_another_id_is_another_user(app: SupabaseProject, name: Name) -> None:
    user, other = app.sign_up(name("zoe")), app.sign_up()
    app.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=other)
    app.rows("UPDATE public.profiles SET id = %(new)s WHERE id = %(old)s", old=user, new=other)
    assert name_of(app, user) is None
    assert name_of(app, other) == name("zoe")


def test_many_rows_at_once(app: SupabaseProject, name: Name) -> None:
    users = [app.sign_up(f"{name('n')}_{number}") for number in range(30)]
    app.rows("UPDATE public.profiles SET username = username || '_new' WHERE id = ANY(%(ids)s)", ids=users)
    assert [name_of(app, user) for user in users] == [f"{name('n')}_{number}_new" for number in range(30)]
    app.rows("DELETE FROM public.profiles WHERE id = ANY(%(ids)s)", ids=users)
    assert {name_of(app, user) for user in users} == {None}


ANNA, BERT, CARL = (uuid.UUID(int=number) for number in (1, 2, 3))
TOO_LONG = "x" * 65
MOVES = {
    "swapped through NULL": (
        "UPDATE public.profiles SET username = NULL WHERE username = 'anna'",
        "UPDATE public.profiles SET username = 'anna' WHERE username = 'bert'",
        "UPDATE public.profiles SET username = 'bert' WHERE username IS NULL",
    ),
    "swapped in one statement": (
        "UPDATE public.profiles SET username = CASE username WHEN 'anna' THEN 'bert' ELSE 'anna' END"
        " WHERE username IN ('anna', 'bert')",
    ),
    "a circle": (
        "UPDATE public.profiles SET username ="
        " CASE username WHEN 'anna' THEN 'bert' WHEN 'bert' THEN 'carl' ELSE 'anna' END",
    ),
    "a row up": (
        "UPDATE public.profiles SET username ="
        " CASE username WHEN 'anna' THEN 'bert' WHEN 'bert' THEN 'carl' ELSE 'dora' END",
    ),
    "a row down": (
        "UPDATE public.profiles SET username ="
        " CASE username WHEN 'carl' THEN 'bert' WHEN 'bert' THEN 'anna' ELSE 'dora' END",
    ),
    "there and back": (
        "UPDATE public.profiles SET username = 'dora' WHERE username = 'anna'",
        "UPDATE public.profiles SET username = 'anna' WHERE username = 'dora'",
    ),
    "handed on and followed": (
        "UPDATE public.profiles SET username = 'dora' WHERE username = 'anna'",
        "UPDATE public.profiles SET username = 'Anna' WHERE username = 'bert'",
        "UPDATE public.profiles SET username = 'BERT' WHERE username = 'carl'",
    ),
    "deleted and claimed": (
        "DELETE FROM public.profiles WHERE username = 'anna'",
        "UPDATE public.profiles SET username = 'anna' WHERE username = 'bert'",
    ),
    "claimed before it is deleted": (
        "UPDATE public.profiles SET username = 'ANNA' WHERE username = 'bert'",
        "DELETE FROM public.profiles WHERE username = 'anna'",
    ),
}


@pytest.fixture(scope="module")
def moving(engines: Engines) -> Iterator[SupabaseProject]:
    """A mirrored project whose names are unique at the end of a transaction only."""
    project = SupabaseProject(engines)
    mirror(project)
    project.rows(
        "ALTER TABLE public.profiles DROP CONSTRAINT profiles_username_key,"
        " ADD UNIQUE (username) DEFERRABLE INITIALLY DEFERRED"
    )
    for user in (ANNA, BERT, CARL):
        project.sign_up(user_id=user)
    yield project
    engines.release(project.store)


def start_with_three_names(project: SupabaseProject) -> None:
    project.rows("DELETE FROM public.profiles; SELECT bbgram.remove_profile(id) FROM bbgram.profiles")
    for user, name in ((ANNA, "anna"), (BERT, "bert"), (CARL, "carl")):
        project.rows("INSERT INTO public.profiles (id, username) VALUES (%(id)s, %(n)s)", id=user, n=name)


@pytest.mark.parametrize("together", [True, False], ids=["one transaction", "each its own"])
@pytest.mark.parametrize("statements", MOVES.values(), ids=MOVES)
def test_names_move_as_in_the_app(
    moving: SupabaseProject, statements: tuple[str, ...], together: bool
) -> None:
    start_with_three_names(moving)
    for statement in ["; ".join(statements)] if together else statements:
        moving.rows(statement)
    assert moving.rows(IN_THE_CHAT) == moving.rows("SELECT id, username FROM public.profiles ORDER BY id")
    assert moving.rows("SELECT * FROM bbgram.refused_names") == []


IN_THE_CHAT = "SELECT id, username FROM bbgram.profiles WHERE deleted_at IS NULL ORDER BY id"


@pytest.mark.parametrize("given_up_for", [TOO_LONG, None, "Bert"], ids=["not allowed", "none", "taken"])
def test_a_name_that_somebody_else_has_in_the_app_is_theirs(
    moving: SupabaseProject, given_up_for: str | None
) -> None:
    start_with_three_names(moving)
    moving.rows(
        "INSERT INTO bbgram.devices (id, user_id, channel, address)"
        " VALUES (gen_random_uuid(), %(id)s, 'fcm', 'token')",
        id=ANNA,
    )
    moving.rows("UPDATE public.profiles SET username = %(n)s WHERE id = %(id)s", id=ANNA, n=given_up_for)
    assert name_of(moving, ANNA) == "anna"
    moving.rows("UPDATE public.profiles SET username = 'Anna' WHERE id = %(id)s", id=CARL)
    assert [name_of(moving, user) for user in (ANNA, BERT, CARL)] == [None, "bert", "Anna"]
    assert (refused(moving, ANNA) or ("",))[0] == (given_up_for or "")
    assert refused(moving, CARL) is None
    moving.rows("UPDATE public.profiles SET username = 'new' WHERE id = %(id)s", id=ANNA)
    assert name_of(moving, ANNA) == "new"
    assert moving.rows("SELECT address FROM bbgram.devices WHERE user_id = %(id)s", id=ANNA) == [("token",)]


def test_a_user_who_lost_a_name_gets_the_one_they_wait_for(moving: SupabaseProject) -> None:
    start_with_three_names(moving)
    moving.rows("UPDATE public.profiles SET username = 'BERT' WHERE id = %(id)s", id=ANNA)
    moving.rows("UPDATE public.profiles SET username = 'anna' WHERE id = %(id)s", id=CARL)
    assert name_of(moving, ANNA) is None
    moving.rows("UPDATE public.profiles SET username = 'dora' WHERE id = %(id)s", id=BERT)
    assert name_of(moving, ANNA) == "BERT"


def test_a_user_whom_the_app_does_not_know_keeps_the_name(moving: SupabaseProject) -> None:
    start_with_three_names(moving)
    support = moving.sign_up()
    moving.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=support)
    moving.rows("SELECT bbgram.put_profile(%(id)s, 'support')", id=support)
    moving.rows("UPDATE public.profiles SET username = 'Support' WHERE id = %(id)s", id=ANNA)
    assert name_of(moving, support) == "support"
    assert refused(moving, ANNA) == ("Support", "taken", support)
    assert ("missing", 1) in moving.rows(COPY)
    assert name_of(moving, support) == "support"


COPY = "SELECT * FROM bbgram.mirror_profiles('public.profiles', 'id', 'username')"


def test_many_names_move_along_in_one_statement(moving: SupabaseProject) -> None:
    moving.rows("DELETE FROM public.profiles; SELECT bbgram.remove_profile(id) FROM bbgram.profiles")
    count = 500
    moving.as_auth(
        "INSERT INTO auth.users (id) SELECT gen_random_uuid() FROM generate_series(1, %(count)s)", count=count
    )
    moving.rows(
        "UPDATE public.profiles p SET username = 'no_' || number"
        " FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM public.profiles) numbered"
        " WHERE numbered.id = p.id"
    )
    for step in (1, -1):
        moving.rows(
            "UPDATE public.profiles SET username = 'no_' || substr(username, 4)::int + %(step)s", step=step
        )
        assert differing(moving) == []
    assert len(moving.rows(IN_THE_CHAT)) == count


REPLACED = {
    "deleted and inserted": (
        "DELETE FROM public.people WHERE id = '{id}';"
        " INSERT INTO public.people (id, region, username) VALUES ('{id}', 'eu', 'anna')"
    ),
    "moved to another partition": "UPDATE public.people SET region = 'us' WHERE id = '{id}'",
    "moved and renamed": "UPDATE public.people SET region = 'us', username = 'anna' WHERE id = '{id}'",
    "another id and back": (
        "UPDATE public.people SET id = gen_random_uuid() WHERE id = '{id}';"
        " UPDATE public.people SET id = '{id}'"
    ),
}


@pytest.mark.parametrize("kind", ["plain", "partitioned"])
@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_a_row_that_is_replaced_is_no_deleted_user(
    make_project: ProjectFactory, replace: str, kind: str
) -> None:
    project = make_project()
    upgrade(project.database_url)
    project.rows(
        "CREATE TABLE public.people (id uuid, region text, username text, PRIMARY KEY (id, region))"
        + (" PARTITION BY LIST (region)" if kind == "partitioned" else "")
    )
    if kind == "partitioned":
        for region in ("eu", "us"):
            project.rows(
                f"CREATE TABLE public.people_{region} PARTITION OF public.people FOR VALUES IN ('{region}')"
            )
    for _ in range(2):
        project.rows(SCRIPT.replace("public.profiles", "public.people"))
    user = project.sign_up()
    project.rows("INSERT INTO public.people VALUES (%(id)s, 'eu', 'old')", id=user)
    project.rows(
        "INSERT INTO bbgram.devices (id, user_id, channel, address)"
        " VALUES (gen_random_uuid(), %(id)s, 'fcm', 'token')",
        id=user,
    )
    project.rows(replace.format(id=user))
    assert project.rows(IN_THE_CHAT) == project.rows("SELECT id, username FROM public.people")
    assert project.rows("SELECT address FROM bbgram.devices") == [("token",)]
    project.rows("DELETE FROM public.people")
    assert name_of(project, user) is None
    assert project.rows("SELECT address FROM bbgram.devices") == []


DERIVED = {
    "a trigger": """
        CREATE FUNCTION public.derive() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN NEW.username := lower(NEW.first); RETURN NEW; END';
        CREATE TABLE public.people (id uuid PRIMARY KEY, first text, username text);
        CREATE TRIGGER derive BEFORE INSERT OR UPDATE ON public.people
            FOR EACH ROW EXECUTE FUNCTION public.derive()
    """,
    "a generated column": """
        CREATE TABLE public.people (
            id uuid PRIMARY KEY, first text, username text GENERATED ALWAYS AS (lower(first)) STORED
        )
    """,
}


@pytest.mark.parametrize("table", DERIVED.values(), ids=DERIVED)
def test_a_name_that_the_app_derives_is_mirrored(make_project: ProjectFactory, table: str) -> None:
    project = make_project()
    upgrade(project.database_url)
    project.rows(table)
    project.rows(SCRIPT.replace("public.profiles", "public.people"))
    user = project.sign_up()
    project.rows("INSERT INTO public.people (id, first) VALUES (%(id)s, 'ANNA')", id=user)
    assert name_of(project, user) == "anna"
    project.rows("UPDATE public.people SET first = 'Bert'")
    assert name_of(project, user) == "bert"


def test_another_user_is_not_renamed(app: SupabaseProject, name: Name) -> None:
    user, other = app.sign_up(name("zoe")), app.sign_up(name("yan"))
    sql = "UPDATE public.profiles SET username = 'stolen' WHERE id = %(id)s RETURNING id"
    assert app.api(sql, other, id=user) == []
    assert name_of(app, user) == name("zoe")


def test_a_name_can_come_with_the_sign_up(make_project: ProjectFactory) -> None:
    project = make_project()
    mirror(project)
    project.rows(
        """
        CREATE OR REPLACE FUNCTION public.handle_new_user() RETURNS trigger SET search_path = '' AS $$
        BEGIN
            INSERT INTO public.profiles (id, username)
            VALUES (new.id, new.raw_user_meta_data ->> 'username');
            RETURN new;
        END
        $$ LANGUAGE plpgsql SECURITY DEFINER
        """
    )
    first, second, third = (project.sign_up(meta={"username": it}) for it in ("zoe", "Zoe", "\u2800" * 3))
    assert name_of(project, first) == "zoe"
    assert refused(project, second) == ("Zoe", "taken", first)
    assert refused(project, third) == ("\u2800" * 3, "not_allowed", None)


@pytest.mark.parametrize("kind", ["uuid", "text", "varchar(36)"])
def test_other_tables_and_columns_do_as_well(make_project: ProjectFactory, kind: str) -> None:
    project = make_project()
    upgrade(project.database_url)
    project.rows(f'CREATE TABLE public."People" ("userId" {kind} PRIMARY KEY, "Handle" varchar(99))')
    early, late = project.sign_up(), project.sign_up()
    project.rows('INSERT INTO public."People" VALUES (%(id)s, %(name)s)', id=early, name="early")
    script = SCRIPT.replace("public.profiles", 'public."People"')
    project.rows(script.replace("'id'", "'userId'").replace("'username'", "'Handle'"))
    project.rows('INSERT INTO public."People" VALUES (%(id)s, %(name)s)', id=late, name="late")
    assert [name_of(project, early), name_of(project, late)] == ["early", "late"]


def test_a_row_that_the_chat_holds_delays_the_app_by_half_a_second(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with app.session() as conn:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user,))
        began = time.monotonic()
        rename(app, user, name("new"))
        assert time.monotonic() - began < 1
    assert name_of(app, user) == name("zoe")
    wanted, reason, _ = refused(app, user) or ("", "", None)
    assert (wanted, "lock timeout" in reason) == (name("new"), True)
    app.rows(SCRIPT)
    assert name_of(app, user) == name("new")
    assert refused(app, user) is None


@pytest.mark.parametrize("claimed", [False, True], ids=["free", "claimed by another"])
def test_a_deletion_that_failed_is_repaired(make_project: ProjectFactory, claimed: bool) -> None:
    app = make_project()
    mirror(app)
    user = app.sign_up("zoe")
    with app.session() as conn:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user,))
        app.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=user)
    assert name_of(app, user) == "zoe"
    assert "lock timeout" in (refused(app, user) or ("", ""))[1]
    other = app.sign_up("Zoe") if claimed else None
    assert ("deleted", 1) in app.rows(COPY)
    assert name_of(app, user) is None
    assert app.rows("SELECT * FROM bbgram.names_not_taken") == []
    if other:
        assert name_of(app, other) == "Zoe"
    assert "deleted" not in {row.outcome for row in app.rows(COPY)}


@pytest.mark.parametrize("name", ["zoe", None], ids=["back", "back without a name"])
def test_who_is_back_after_a_deletion_that_failed_is_not_deleted(
    make_project: ProjectFactory, name: str | None
) -> None:
    app = make_project()
    mirror(app)
    user = app.sign_up("zoe")
    with app.session() as conn:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user,))
        app.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=user)
    app.rows("INSERT INTO public.profiles (id, username) VALUES (%(id)s, %(n)s)", id=user, n=name)
    app.rows(SCRIPT)
    assert name_of(app, user) == "zoe"


def test_users_missing_after_a_truncate_are_deleted_when_asked(make_project: ProjectFactory) -> None:
    app = make_project()
    mirror(app)
    users = [app.sign_up(name) for name in ("zoe", "yan", "xia")]
    app.rows("TRUNCATE public.profiles")
    app.rows("INSERT INTO public.profiles (id, username) VALUES (%(id)s, 'xia')", id=users[2])
    assert app.rows(COPY) == [("missing", 2), ("ok", 1)]
    assert [name_of(app, user) for user in users] == ["zoe", "yan", "xia"]
    assert app.rows(COPY.replace(")", ", delete_missing => true)")) == [("deleted", 2), ("ok", 1)]
    assert [name_of(app, user) for user in users] == [None, None, "xia"]


def test_ids_that_are_no_user_ids_are_counted(make_project: ProjectFactory) -> None:
    app = make_project()
    upgrade(app.database_url)
    app.rows("CREATE TABLE public.profiles (id text PRIMARY KEY, username text)")
    user, upper = app.sign_up(), app.sign_up()
    app.rows(
        "INSERT INTO public.profiles VALUES ('system', 'system'), (%(id)s, 'zoe'), (%(upper)s, 'yan')",
        id=user,
        upper=str(upper).upper(),
    )
    app.rows(SCRIPT)
    assert app.rows(COPY) == [("not_a_uuid", 1), ("ok", 2)]
    app.rows("INSERT INTO public.profiles VALUES ('', 'nobody')")
    app.rows("UPDATE public.profiles SET username = 'renamed' WHERE id = 'system'")
    app.rows("DELETE FROM public.profiles WHERE id = 'system'")
    assert [name_of(app, user), name_of(app, upper)] == ["zoe", "yan"]
    app.rows("DELETE FROM public.profiles")
    assert [name_of(app, user), name_of(app, upper)] == [None, None]


def test_rows_that_the_chat_may_not_see_are_no_deleted_users(make_project: ProjectFactory) -> None:
    """The tables of the chat belong to a role without rights in the app's table."""
    app = make_project()
    mirror(app)
    user = app.sign_up("zoe")
    app.superuser(
        "ALTER FUNCTION bbgram.mirror_profile OWNER TO supabase_auth_admin;"
        "GRANT USAGE ON SCHEMA bbgram, public TO supabase_auth_admin;"
        "GRANT ALL ON ALL TABLES IN SCHEMA bbgram TO supabase_auth_admin;"
        "GRANT ALL ON ALL FUNCTIONS IN SCHEMA bbgram TO supabase_auth_admin;"
        "GRANT SELECT ON public.profiles TO supabase_auth_admin;"
        "ALTER TABLE bbgram.profiles DISABLE ROW LEVEL SECURITY;"
        "ALTER TABLE bbgram.refused_names DISABLE ROW LEVEL SECURITY;"
        'DROP POLICY "Public profiles are viewable by everyone." ON public.profiles'
    )
    app.rows("UPDATE public.profiles SET username = 'new' WHERE id = %(id)s", id=user)
    assert name_of(app, user) == "zoe"
    assert "row-level security" in (refused(app, user) or ("", ""))[1]


def test_a_commit_that_waits_for_the_chat_takes_half_a_second(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with app.session() as conn, app.session() as writer:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user,))
        writer.execute("UPDATE public.profiles SET username = %s WHERE id = %s", (name("new"), user))
        assert writer.execute("SHOW lock_timeout").fetchall() == [("0",)]
        began = time.monotonic()
        writer.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert time.monotonic() - began < 1


BREAKS = {
    "dropped": "DROP SCHEMA bbgram CASCADE",
    "renamed": "ALTER SCHEMA bbgram RENAME TO gone",
    "no profiles": "DROP TABLE bbgram.profiles CASCADE",
    "no list of refused names": "DROP TABLE bbgram.refused_names CASCADE",
    "no function": "DROP FUNCTION bbgram.put_profile, bbgram.refuse_name",
    "a refusing trigger": "CREATE FUNCTION bbgram.refuse() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RAISE $$no$$; END';"
    "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON bbgram.profiles"
    " FOR EACH ROW EXECUTE FUNCTION bbgram.refuse()",
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_the_app_goes_on_when_the_chat_is_broken(make_project: ProjectFactory, broken: str) -> None:
    project = make_project()
    mirror(project)
    user, leaver = project.sign_up("zoe"), project.sign_up("yan")
    project.rows(broken)
    rename(project, user, "new")
    project.sign_up("another")
    project.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=leaver)
    rows = project.rows("SELECT username FROM public.profiles ORDER BY username")
    assert [row.username for row in rows] == ["another", "new"]


USERS = 10_000


@pytest.mark.parametrize("how", ["psql", "editor"])
def test_users_who_are_there_already_are_taken_while_others_rename_themselves(
    make_project: ProjectFactory, how: str
) -> None:
    project = make_project()
    project.start_app()
    upgrade(project.database_url)
    project.as_auth(
        "INSERT INTO auth.users (id) SELECT gen_random_uuid() FROM generate_series(1, %(n)s)", n=USERS
    )
    project.rows(
        "UPDATE public.profiles p SET username = 'user' || n"
        " FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM public.profiles) numbered"
        " WHERE numbered.id = p.id"
    )
    ids = [row.id for row in project.rows("SELECT id FROM public.profiles ORDER BY random() LIMIT 40")]
    # psql runs one statement after the other, the editor all of them in one transaction.
    statements = [SCRIPT] if how == "editor" else re.split(r"(?<=;)\n\n", SCRIPT)
    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(lambda: [project.rows(statement) for statement in statements])
        for number, user in enumerate(ids):
            project.rows(
                "UPDATE public.profiles SET username = %(name)s WHERE id = %(id)s",
                id=user,
                name=f"new{number}",
            )
        done.result()
    assert differing(project) == []
    before = project.rows("SELECT * FROM bbgram.profiles ORDER BY id")
    assert len(before) == USERS
    project.rows(SCRIPT)
    assert project.rows("SELECT * FROM bbgram.profiles ORDER BY id") == before


def differing(project: SupabaseProject) -> list[object]:
    return project.rows(
        "SELECT app.username, chat.username AS chat FROM public.profiles app"
        " LEFT JOIN bbgram.profiles chat USING (id)"
        " WHERE chat.username IS DISTINCT FROM app.username"
    )


def test_nobody_but_the_owner_puts_profiles(app: SupabaseProject) -> None:
    for call in ("put_profile(auth.uid(), 'me')", "mirror_profiles('public.profiles', 'id', 'username')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.api(f"SELECT bbgram.{call}", app.sign_up())


def test_a_profile_of_somebody_who_is_no_user_is_not_renamed_in_silence(make_project: ProjectFactory) -> None:
    project = make_project()
    upgrade(project.database_url)
    user = project.sign_up()
    put = "SELECT bbgram.put_profile(%(id)s, %(name)s)"
    assert project.rows(put, id=user, name="zoe") == [("ok",)]
    # As in a chat that is older than its link to the project.
    project.superuser(f"SET session_replication_role = replica; DELETE FROM auth.users WHERE id = '{user}'")
    assert project.rows(put, id=user, name="new") == [("no_such_user",)]
    assert name_of(project, user) == "zoe"
