"""The commands in the README of the chat page (clients/web), run in a copy of both folders."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import httpx

from infra.local.parts import PAGE
from infra.local.ports import free_port
from infra.local.tether import tether
from tests.harness.node import CLIENT
from tests.harness.waiting import eventually

WEB: Final = PAGE.parent
BUILD, CHANGE, BEGIN = re.findall(r"```sh\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)


def test_the_commands_in_the_readme_of_the_page_work(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for package in (WEB, CLIENT):
        assert (package / "node_modules").is_dir(), f"run `make test`, or `npm ci` in {package}, first"
        copy(package, checkout / "clients" / package.name)
    build_for_a_deployment(checkout / "clients" / "web")
    change(checkout / "clients" / "web")
    begin_an_app(checkout)


def copy(package: Path, to: Path) -> None:
    """Copy a package with what is installed, without what is built."""

    def left_out(at: str, _: object) -> list[str]:
        return ["dist", "node_modules"] if at == str(package) else []

    shutil.copytree(package, to, ignore=left_out)
    # Nothing writes into these 200 MB of files, so links to them will do, unless they are on another disk.
    shutil.copytree(package / "node_modules", to / "node_modules", symlinks=True, copy_function=link)


def link(file: str, to: str) -> None:
    try:
        os.link(file, to)
    except OSError:
        shutil.copy2(file, to)


def run(commands: str, folder: Path) -> None:
    """Run the lines of a block. The packages are there already; npm may look up what versions there are."""
    lines = commands.replace("npm ci", "true")
    result = subprocess.run(
        tether(["/bin/sh", "-ec", lines]),
        cwd=folder,
        env={**os.environ, "npm_config_prefer_offline": "true", "npm_config_audit": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def build_for_a_deployment(web: Path) -> None:
    """Build it, with the settings that the README shows."""
    run(BUILD, web)
    assert "https://chat.example.com wss://chat.example.com" in (web / "dist" / "index.html").read_text()


def change(web: Path) -> None:
    """Check and test it, and have it served while it is changed."""
    port = free_port()
    commands = re.findall(r"^npm (?!ci).*?(?=  )", CHANGE, re.MULTILINE)
    assert commands == ["npm run dev", "npm run check", "npm test"]
    for command in commands[1:]:
        run(command, web)
    words = ["/bin/sh", "-c", f"exec {commands[0]} -- --port {port} --strictPort"]
    with subprocess.Popen(
        tether(words), cwd=web, stdout=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            eventually(lambda: "/src/main.tsx" in _get(f"http://127.0.0.1:{port}"), "the page is served")
            assert "createRoot" in _get(f"http://127.0.0.1:{port}/src/main.tsx")
        finally:
            # npm passes no signal on to the server that it has started.
            os.killpg(server.pid, signal.SIGTERM)


def begin_an_app(checkout: Path) -> None:
    """Copy it, with the packed client instead of its source."""
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
        return httpx.get(url, verify=False).text
    except httpx.TransportError:
        return ""
