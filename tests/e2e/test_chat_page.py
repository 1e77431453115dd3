"""People use the chat page of the local stack in a real Chromium (browser/chat.test.mjs)."""

import asyncio
import os
import shutil
from pathlib import Path

from infra.local.parts import PAGE
from infra.local.ports import free_port
from infra.local.tether import tether
from tests.harness.stack import LocalStack

BROWSER = Path(__file__).parent / "browser"
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


async def test_people_chat_in_a_browser(tmp_path: Path) -> None:
    assert PAGE.is_dir(), "run `make test`, or `npm ci && npm run build` in clients/web, first"
    assert (BROWSER / "node_modules").is_dir(), "run `make test`, or `npm ci` in tests/e2e/browser, first"
    stack = LocalStack(tmp_path / "data", free_port())
    try:
        stack.wait_started()
        await _run(page_of(stack))
    finally:
        stack.stop()


def page_of(stack: LocalStack) -> str:
    """Return the address that the stack prints first."""
    lines = stack.log.partition("is running.\n")[2].splitlines()
    words = lines[0].split()
    assert words[:2] == ["open", "this"], stack.log
    return words[-1]


async def _run(page: str) -> None:
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    process = await asyncio.create_subprocess_exec(
        *tether([node, "--test", "--test-reporter=spec"]),
        cwd=BROWSER,
        env={**os.environ, "BBGRAM_PAGE": page, "BBGRAM_SCREENSHOTS": str(SCREENSHOTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(180):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
