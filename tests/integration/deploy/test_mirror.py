"""The users of the chat follow the app's own table of profiles."""

import psycopg
import pytest

from infra.store.migrate import upgrade
from tests.conftest import Name
from tests.harness.supabase import SupabaseProject
from tests.integration.deploy.conftest import ProjectFactory
from tests.integration.deploy.mirror import SCRIPT, mirror, name_of, refused, rename


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
    "accents as separate characters": "e\u0301" * 50 + "{}",
    "a joiner": "\u0dc1\u0dca\u200d\u0dbb\u0dd3 {}",
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
    "a joiner in Latin": "z\u200doe {}",
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


def test_nobody_but_the_owner_puts_profiles(app: SupabaseProject) -> None:
    for call in ("put_profile(auth.uid(), 'me')", "mirror_profiles('public.profiles', 'id', 'username')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.api(f"SELECT bbgram.{call}", app.sign_up())
