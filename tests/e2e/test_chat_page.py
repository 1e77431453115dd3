"""People use the chat page of the local stack in a real Chromium (browser/chat.test.mjs)."""

import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local.parts import PAGE
from infra.local.ports import HOST, free_port
from tests.harness.chat_page import run_in_browser, run_node_program
from tests.harness.stack import LocalStack
from tests.integration.local.conftest import check_that_it_stops

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") and "CHROMIUM" not in os.environ,
    reason="the browser runs on Linux on x86-64; CHROMIUM names another one",
)
def test_people_chat_in_a_browser(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "data", free_port())
    try:
        stack.wait_started()
        with served(built_for(stack, tmp_path / "page")) as deployed_page:
            run_in_browser(
                stack, "--test", BBGRAM_DEPLOYED_PAGE=deployed_page, BBGRAM_SCREENSHOTS=str(SCREENSHOTS)
            )
        check_that_it_stops(stack, signal.SIGTERM)
    finally:
        stack.stop()


def built_for(stack: LocalStack, folder: Path) -> Path:
    """Build the page for a deployment at fixed addresses."""
    run_node_program(
        "npm",
        *("run", "build", "--", "--outDir", str(folder), "--logLevel", "warn"),
        folder=PAGE.parent,
        VITE_CHAT_URL=f"http://localhost:{stack.port}",
        VITE_SUPABASE_URL=stack.addresses["BBGRAM_SUPABASE_URL"],
        VITE_SUPABASE_ANON_KEY="any-publishable-key",
    )
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve files from an origin of their own."""
    with ThreadingHTTPServer((HOST, 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
