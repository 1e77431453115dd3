"""Prints how long frames of the chat page take in short and long chats: `make frames`."""

import tempfile
from pathlib import Path

from infra.local.ports import free_port
from tests.harness.chat_page import run_in_browser
from tests.harness.stack import LocalStack


def main() -> None:
    """Start a local stack, and let `tests/e2e/browser/frames.mjs` measure."""
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder) / "data", free_port())
        try:
            print(run_in_browser(stack.wait_started(), "frames.mjs"), end="")
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
