"""The programs of README.md and docs/clients.md, run as they are written there."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from infra.local.tether import tether
from tests.harness.deployment import Deployment, make_token, with_profile
from tests.harness.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
JS = Path(__file__).parent / "js"
EXPIRED = "refused, The access token has expired."


def program(page: str, language: str, holding: str) -> str:
    """Return the first program of a page that holds a text."""
    programs: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return next(one for one in programs if holding in one)


SCRIPTS = {
    "chat.mjs": program("README.md", "js", "function open("),
    "away.mjs": program("README.md", "js", "Are you there?"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the programs, in which the official client is installed."""
    assert (JS / "node_modules").is_dir(), "run `make test`, or `npm ci` in tests/e2e/js, first"
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "chat.py").write_text(program("docs/clients.md", "python", "send_message"))
    return tmp_path


async def run(*command: str, **env: str) -> tuple[int | None, list[str]]:
    """Run a program to its end; return its exit code and the lines that it printed, errors included."""
    process = await asyncio.create_subprocess_exec(
        *tether(command),
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode().splitlines()


async def run_script(folder: Path, script: str, **env: str) -> tuple[int | None, list[str]]:
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    return await run(node, str(folder / script), **env)


async def test_two_people_chat_as_the_readme_says(two_edges: Deployment, folder: Path) -> None:
    people = {"ALICE": make_token("alice"), "BOB": make_token("bob")}
    for username in ("alice", "bob"):
        with_profile(two_edges, username)  # as `bbgram token` does
    code, lines = await run_script(folder, "chat.mjs", CHAT_URL=two_edges.edges[0].url, **people)
    assert code == 0, lines
    printed = "\n".join(sorted(lines))
    assert re.search(r"^alice: stored as number \d+$", printed, re.MULTILINE), printed
    assert 'bob: alice writes "Hello, how are you?"' in lines
    assert re.search(r"^alice: delivered up to \d+$", printed, re.MULTILINE), printed
    code, lines = await run_script(folder, "away.mjs", CHAT_URL=two_edges.edges[0].url, **people)
    assert code == 0, lines
    assert [line for line in lines if line.startswith("alice: stored as number ")] == lines


@pytest.mark.parametrize("script", SCRIPTS)
async def test_an_expired_token_is_one_line(two_edges: Deployment, folder: Path, script: str) -> None:
    people = {"ALICE": make_token("alice", ttl_s=-60), "BOB": make_token("bob")}
    code, lines = await run_script(folder, script, CHAT_URL=two_edges.edges[0].url, **people)
    assert code == 1
    assert [line for line in lines if not line.startswith("bob:")] == [f"alice: {EXPIRED}"]


async def test_an_expired_token_of_the_recipient_is_one_line(two_edges: Deployment, folder: Path) -> None:
    people = {"ALICE": make_token("alice"), "BOB": make_token("bob", ttl_s=-60)}
    code, lines = await run_script(folder, "chat.mjs", CHAT_URL=two_edges.edges[0].url, **people)
    assert code == 1
    assert [line for line in lines if not line.startswith("alice:")] == [f"bob: {EXPIRED}"]


async def test_the_python_program_sends_receives_and_acks(two_edges: Deployment, folder: Path) -> None:
    env = {"CHAT_URL": two_edges.edges[0].url, "TOKEN": make_token("carol"), "TO": "carol"}
    code, lines = await run(sys.executable, str(folder / "chat.py"), **env)
    assert code == 0, lines
    assert any(re.fullmatch(r"stored as number \d+", line) for line in lines), lines
    to_carol = {"CHAT_URL": env["CHAT_URL"], "TOKEN": make_token("dave"), "TO": "carol"}
    assert (await run(sys.executable, str(folder / "chat.py"), **to_carol))[0] == 0
    _, lines = await run(sys.executable, str(folder / "chat.py"), **env)
    assert 'dave writes "Hello from Python"' in lines
    _, lines = await run(sys.executable, str(folder / "chat.py"), **env)
    assert 'dave writes "Hello from Python"' not in lines


async def test_the_python_program_says_why_it_was_refused(two_edges: Deployment, folder: Path) -> None:
    env = {"CHAT_URL": two_edges.edges[0].url, "TOKEN": make_token("carol", ttl_s=-60), "TO": "carol"}
    assert await run(sys.executable, str(folder / "chat.py"), **env) == (0, ["refused: token_expired"])


def test_there_is_a_program_for_each_language_of_the_table() -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    table = page.partition("| --- |")[2].partition("\n\n")[0]
    languages = re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)
    named = [language for row in languages for language in row.split(", ")]
    assert named == ["Python", "Java", "Kotlin", "Swift", "Dart", "Go", "Rust", "C++"]
    for language in named:
        section = page.partition(f"\n## {language}\n")[2].partition("\n## ")[0]
        for needed in ("send_message", "new_message", "token", "refused"):
            assert needed in section, (language, needed)
