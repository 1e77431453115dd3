"""When the local stack says that it runs, a worker answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.local.parts import why_no_message


@contextmanager
def edge(status: int, body: bytes) -> Iterator[int]:
    """Answer every request so; give the port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"status": "ok", "sockets": 0, "workers": "answering"}, None),
        (
            200,
            {"status": "ok", "workers": "silent", "reason": "no worker has answered"},
            "no worker has answered",
        ),
        (200, {"status": "ok", "workers": "unavailable"}, "unavailable"),
        (503, {"status": "unavailable", "reason": "Redis is not reachable"}, "the edge is not ready"),
        (503, {"status": "unavailable", "workers": "answering"}, "the edge is not ready"),
        (200, {"status": "ok", "sockets": 0}, None),
        (200, [], None),
        (200, None, None),
    ],
)
def test_an_edge_tells_whether_a_worker_answers(status: int, body: object, answer: str | None) -> None:
    with edge(status, b"" if body is None else json.dumps(body).encode()) as port:
        assert why_no_message(port, "localhost") == answer
        assert why_no_message(port, "0.0.0.0") == answer


def test_without_an_edge_no_message_can_be_sent() -> None:
    assert why_no_message(1, "localhost") == "the edge is not ready"
