"""People use the chat page of the local stack in a real Chromium (browser/*.test.mjs)."""

import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local.parts import PAGE
from infra.local.ports import HOST, free_port
from tests.harness.chat_page import run_in_browser, run_node_program
from tests.harness.stack import LocalStack
from tests.integration.local.conftest import check_that_it_stops
from tests.integration.signin.service import running_service

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Where pictures go if `SCREENSHOTS` is set: they show nothing to a test, and take a tenth of its time."""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") and "CHROMIUM" not in os.environ,
    reason="the browser runs on Linux on x86-64; CHROMIUM names another one",
)
def test_people_chat_in_a_browser(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "data", free_port())
    try:
        stack.wait_started()
        with ExitStack() as pages:
            deployed = pages.enter_context(served(built_for(stack, tmp_path / "page")))
            elsewhere = [
                pages.enter_context(page_of_a_chat_at(f"http://{host}:{stack.port}", tmp_path / host))
                for host in ("127.0.0.2", "[::1]")
            ]
            run_in_browser(
                stack,
                "--test",
                BBGRAM_DEPLOYED_PAGE=deployed,
                BBGRAM_PAGES_ELSEWHERE=" ".join(elsewhere),
                BBGRAM_SCREENSHOTS=str(SCREENSHOTS) if "SCREENSHOTS" in os.environ else "",
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


@contextmanager
def page_of_a_chat_at(url: str, folder: Path) -> Iterator[str]:
    """Serve the page as a local stack does whose chat has another address."""
    with running_service(folder, "--chat-url", url, "--page", str(PAGE)) as service:
        yield service.url


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
