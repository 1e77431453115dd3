"""Names and rows that move in the app's own table end up in the chat as they are there."""

import uuid
from collections.abc import Iterator

import pytest

from infra.store.migrate import upgrade
from tests.harness.engines import Engines
from tests.harness.supabase import SupabaseProject
from tests.integration.deploy.conftest import ProjectFactory
from tests.integration.deploy.mirror import COPY, IN_THE_CHAT, SCRIPT, differing, mirror, name_of, refused

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
