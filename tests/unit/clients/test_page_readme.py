"""The commands in the README of the chat page (clients/web), run in a copy of both folders."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import httpx
import pytest

from infra.local.parts import PAGE
from infra.local.ports import free_port
from infra.local.tether import tether
from tests.harness.node import CLIENT
from tests.harness.waiting import eventually

WEB: Final = PAGE.parent
BUILD, CHANGE, BEGIN = re.findall(r"```sh\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages, as installed, that a test may change."""
    folder = tmp_path_factory.mktemp("readme") / "checkout"
    for package in (WEB, CLIENT):
        assert (package / "node_modules").is_dir(), f"run `make test`, or `npm ci` in {package}, first"
        copy = folder / "clients" / package.name
        shutil.copytree(
            package, copy, symlinks=True, ignore=lambda at, _: ["dist"] if at == str(package) else []
        )
    return folder


def run(commands: str, folder: Path) -> None:
    """Run the lines of a block. The packages are there already, and nothing is downloaded."""
    lines = commands.replace("npm ci", "true")
    result = subprocess.run(
        tether(["/bin/sh", "-ec", lines]),
        cwd=folder,
        env={**os.environ, "npm_config_offline": "true", "npm_config_audit": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_page_is_built_for_a_deployment(checkout: Path) -> None:
    web = checkout / "clients" / "web"
    run(BUILD, web)
    assert "https://chat.example.com wss://chat.example.com" in (web / "dist" / "index.html").read_text()


def test_the_page_is_changed_with_a_server_that_reloads_it(checkout: Path) -> None:
    web, port = checkout / "clients" / "web", free_port()
    commands = re.findall(r"^npm (?!ci).*?(?=  )", CHANGE, re.MULTILINE)
    assert commands == ["npm run dev", "npm run check", "npm test"]
    for command in commands[1:]:
        run(command, web)
    words = ["/bin/sh", "-c", f"exec {commands[0]} -- --port {port} --strictPort"]
    with subprocess.Popen(tether(words), cwd=web, stdout=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: "/src/main.tsx" in _get(f"http://127.0.0.1:{port}"), "the page is served", 30)
            assert "createRoot" in _get(f"http://127.0.0.1:{port}/src/main.tsx")
        finally:
            server.terminate()


def test_an_app_begins_with_a_copy_and_the_packed_client(checkout: Path) -> None:
    run(BEGIN, checkout)
    app = checkout.parent / "my-chat"
    for part in (
        r" *alias: \[.*?\],\n(?= *dedupe)",
        r"/\*\*[^/]*/\nconst source = .*?;\n",
        r"import \{ fileURLToPath.*?\n",
    ):
        remove(app / "vite.config.ts", part)
    remove(app / "tsconfig.json", r',\n *"paths": \{.*?\}')
    shutil.rmtree(checkout / "clients" / "typescript" / "src")
    run("npm run check", app)
    run(BUILD, app)
    assert (app / "dist" / "index.html").is_file()


def remove(file: Path, pattern: str) -> None:
    text, count = re.subn(pattern, "", file.read_text(), count=1, flags=re.DOTALL)
    assert count == 1, file
    file.write_text(text)


def _get(url: str) -> str:
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return ""
