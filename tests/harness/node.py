"""Runs programs of Node.js."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

from infra.local.tether import tether

_LONGEST_S: Final = 300
CLIENT: Final = Path(__file__).parents[2] / "clients" / "typescript"


async def run_tool(tool: str, *arguments: str, **env: str) -> None:
    """Run a program of the client's Node.js packages, such as `typescript/bin/tsc`. It must succeed."""
    await run_node(CLIENT, f"node_modules/{tool}", *arguments, NO_COLOR="1", **env)


async def run_node(folder: Path, *arguments: str, **env: str) -> str:
    """Run a script in a folder with Node.js packages, which must succeed in time; return what it printed."""
    assert (folder / "node_modules").is_dir(), f"run `make test`, or `npm ci` in {folder}, first"
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    process = await asyncio.create_subprocess_exec(
        *tether([node, *arguments]),
        cwd=folder,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def vitest(project: str, *arguments: str, **env: str) -> None:
    """Run the client's tests of that kind, `unit` or `edge`."""
    await run_tool("vitest/vitest.mjs", "run", "--project", project, *arguments, **env)
