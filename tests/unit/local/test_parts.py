"""When the local stack says that it runs, a worker answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.local.parts import workers_answer


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
        (200, {"status": "ok", "sockets": 0, "workers": "answering"}, True),
        (200, {"status": "ok", "sockets": 0, "workers": "silent", "reason": "no worker has answered"}, False),
        (503, {"status": "unavailable", "reason": "Redis is not reachable"}, False),
        (503, {"status": "unavailable", "workers": "answering"}, False),
        (200, {"status": "ok", "sockets": 0}, True),
        (200, [], True),
        (200, None, True),
    ],
)
def test_an_edge_tells_whether_a_worker_answers(status: int, body: object, answer: bool) -> None:
    with edge(status, b"" if body is None else json.dumps(body).encode()) as port:
        assert workers_answer(port, "localhost") is answer
        assert workers_answer(port, "0.0.0.0") is answer


def test_without_an_edge_no_worker_answers() -> None:
    assert not workers_answer(1, "localhost")
