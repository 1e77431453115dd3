"""`make smoke`: starts the local stack as people do, sends one message, stops it.

Needs nothing but the packages of requirements.txt, so that it tries exactly what they install.
"""

import sys
import tempfile
from pathlib import Path
from queue import Queue

import socketio

from infra.local.ports import free_port
from tests.harness.stack import LocalStack, bbgram

_ANSWER_S = 15.0


def main() -> None:
    """Raise AssertionError with the log of the stack if anything fails."""
    with tempfile.TemporaryDirectory(prefix="bbgram-smoke-") as name:
        Path(name).chmod(0o755)  # Postgres of root runs as another user
        stack = LocalStack(Path(name) / "data", free_port())
        try:
            stack.wait_started()
            _send(stack)
        finally:
            code = stack.stop()
        assert code == 0, f"the stack ended with exit code {code}:\n{stack.log}"
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}: the local stack has started, delivered a message and stopped")


def _send(stack: LocalStack) -> None:
    """Have alice send bob a message, and wait until both know."""
    alice, bob = (_connect(stack, name) for name in ("alice", "bob"))
    received: Queue[str] = Queue()
    bob.on("new_message", lambda message: received.put(message["text"]))
    try:
        ack = alice.call("send_message", {"username": "bob", "text": "hello"}, timeout=_ANSWER_S)
        assert ack["success"], f"{ack}\n{stack.log}"
        assert received.get(timeout=_ANSWER_S) == "hello"
    finally:
        alice.disconnect()
        bob.disconnect()


def _connect(stack: LocalStack, username: str) -> socketio.Client:
    made = bbgram("token", username, env=stack.env, forked=False)
    assert made.returncode == 0, made.stderr
    client = socketio.Client()
    client.connect(
        f"http://localhost:{stack.port}",
        auth={"token": made.stdout.strip()},
        transports=["polling"],
        wait_timeout=60,
    )
    return client


if __name__ == "__main__":
    main()
