"""The app's own writes succeed whatever the chat does, and the chat catches up."""

import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from infra.store.migrate import upgrade
from tests.conftest import Name
from tests.harness.supabase import SupabaseProject
from tests.integration.deploy.conftest import ProjectFactory
from tests.integration.deploy.mirror import (
    COPY,
    SCRIPT,
    differing,
    fail_to_delete,
    held,
    mirror,
    name_of,
    refused,
    rename,
)


def lock_timeout_of(app: SupabaseProject, function: str) -> str:
    """Return how long a function of the chat waits for a lock; without that, it would wait for ever."""
    settings = "SELECT unnest(proconfig) FROM pg_proc WHERE proname = %(function)s"
    found = dict(row[0].split("=", 1) for row in app.rows(settings, function=function))
    return str(found["lock_timeout"])


def test_a_user_is_deleted_everywhere_or_nowhere(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with held(app, user), pytest.raises(psycopg.errors.LockNotAvailable):
        app.delete_user(user)
    assert lock_timeout_of(app, "delete_profile_of_user") == "2s"
    assert app.rows("SELECT username FROM public.profiles WHERE id = %(id)s", id=user) == [(name("zoe"),)]
    assert name_of(app, user) == name("zoe")
    app.delete_user(user)
    assert name_of(app, user) is None


def test_a_row_that_the_chat_holds_delays_the_app_by_half_a_second(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with held(app, user):
        rename(app, user, name("new"))
    assert lock_timeout_of(app, "mirror_profile") == "500ms"
    assert name_of(app, user) == name("zoe")
    wanted, reason, _ = refused(app, user) or ("", "", None)
    assert (wanted, "lock timeout" in reason) == (name("new"), True)
    app.rows(SCRIPT)
    assert name_of(app, user) == name("new")
    assert refused(app, user) is None


def test_a_commit_that_waits_for_the_chat_takes_half_a_second(app: SupabaseProject, name: Name) -> None:
    user = app.sign_up(name("zoe"))
    with held(app, user), app.session() as writer:
        writer.execute("UPDATE public.profiles SET username = %s WHERE id = %s", (name("new"), user))
        assert writer.execute("SHOW lock_timeout").fetchall() == [("0",)]
        writer.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert lock_timeout_of(app, "mirror_profile") == "500ms"


@pytest.mark.parametrize("claimed", [False, True], ids=["free", "claimed by another"])
def test_a_deletion_that_failed_is_repaired(make_project: ProjectFactory, claimed: bool) -> None:
    app = make_project()
    mirror(app)
    user = app.sign_up("zoe")
    fail_to_delete(app, user)
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
    fail_to_delete(app, user)
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


USERS = 3_000


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
