"""The app's backend as the hook before sending sees it: a server that decides about messages."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = dict[str, Any]
Decide = Callable[[Message], Any]

ACCEPT = {"action": "accept"}


def accept(_: Message) -> Any:
    """Accept everything."""
    return ACCEPT


class HookEndpoint:
    """Listens on 127.0.0.1, and answers each message with what `decide` returns."""

    def __init__(self) -> None:
        self.decide: Decide = accept
        self.misbehave: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Answers instead, if set."""
        self.asked: list[list[Message]] = []
        """The messages of each request."""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        """Headers, with names in lower case, and bodies."""
        self.connections = 0
        self.released = threading.Event()
        """What `misbehave` may wait for; set at the end."""
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    @property
    def texts(self) -> list[str]:
        """The texts that it was asked about, in order."""
        return [message["text"] for messages in self.asked for message in messages]

    def stop(self) -> None:
        """Release the handlers that wait, and shut down."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                endpoint.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.requests.append(
                    ({name.lower(): value for name, value in self.headers.items()}, body)
                )
                endpoint.asked.append(json.loads(body)["messages"])
                if endpoint.misbehave is not None:
                    endpoint.misbehave(self)
                    return
                answer_with(self, {"results": [endpoint.decide(message) for message in endpoint.asked[-1]]})

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Print nothing: clients may hang up."""


def answer_with(handler: BaseHTTPRequestHandler, answer: Any, *, status: int = 200) -> None:
    """Answer with JSON, or with bytes as they are."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
