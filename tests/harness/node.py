"""Runs the tests of the TypeScript client."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

from infra.local.tether import tether

CLIENT: Final = Path(__file__).parents[2] / "clients" / "typescript"


async def run_tool(tool: str, *arguments: str, **env: str) -> None:
    """Run a program of the client's Node.js packages, such as `typescript/bin/tsc`. It must succeed."""
    assert (CLIENT / "node_modules").is_dir(), "run `make test`, or `npm ci` in clients/typescript, first"
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    process = await asyncio.create_subprocess_exec(
        *tether([node, f"node_modules/{tool}", *arguments]),
        cwd=CLIENT,
        env={**os.environ, "NO_COLOR": "1", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


async def vitest(project: str, *arguments: str, **env: str) -> None:
    """Run the client's tests of that kind, `unit` or `edge`."""
    await run_tool("vitest/vitest.mjs", "run", "--project", project, *arguments, **env)
