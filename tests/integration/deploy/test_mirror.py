"""The users of the chat follow the app's own table of profiles, whose writes succeed in any case."""

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


def test_names_move_along_in_one_statement(make_project: ProjectFactory, name: Name) -> None:
    app = make_project()
    mirror(app)
    app.rows("ALTER TABLE public.profiles DROP CONSTRAINT profiles_username_key")
    users = [app.sign_up(f"{name('n')}_{number}") for number in range(5)]
    app.rows(
        "UPDATE public.profiles p SET username = %(name)s || '_' || split_part(username, '_', 3)::int + 1"
        " WHERE id = ANY(%(ids)s)",
        ids=users,
        name=name("n"),
    )
    assert [name_of(app, user) for user in users] == [f"{name('n')}_{number + 1}" for number in range(5)]


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
    script = SCRIPT.replace("public.profiles", 'public."People"').replace(
        "OF id, username", 'OF "userId", "Handle"'
    )
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
    statements = [SCRIPT] if how == "editor" else SCRIPT.split(";\n")[:-1]
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
