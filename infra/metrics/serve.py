"""Serves the metrics of a process to Prometheus, and tells orchestrators whether it hangs."""

import socket
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from infra.metrics.common import note_part
from infra.metrics.registry import REGISTRY
from infra.pulse import PULSE
from infra.settings.base import SettingsError
from infra.settings.observability import ObservabilitySettings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_metrics: Final = make_wsgi_app(REGISTRY)
_TEXT: Final = [("Content-Type", "text/plain; charset=utf-8")]
_IDLE_S: Final = 30
"""A client that sends no request for this long is cut off, in seconds."""


def serve_metrics(settings: ObservabilitySettings, part: str) -> None:
    """Serve `/metrics` and `/healthz` from a thread, if there is a port for them. Raises SettingsError."""
    note_part(part)
    if settings.metrics_port is None:
        return
    host, port = settings.metrics_host, settings.metrics_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = _Server(family, (host, port))
    except OSError as error:
        raise SettingsError(
            f"Cannot serve metrics on {host}:{port}: {error.strerror}. "
            "Stop what listens there, or choose another BBGRAM_METRICS_PORT: each process needs its own."
        ) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def _answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/metrics":
            answer: Iterable[bytes] = _metrics(environ, start_response)
            return answer
        case "/healthz" if PULSE.is_alive:
            start_response("200 OK", _TEXT)
            return [b"ok\n"]
        case "/healthz":
            start_response("503 Service Unavailable", _TEXT)
            return [b"the process has been busy or stuck for %d s\n" % PULSE.age_s]
        case _:
            start_response("404 Not Found", _TEXT)
            return [b"/metrics and /healthz are here\n"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        super().__init__(address, _SilentHandler)
        self.set_app(_answer)

    def handle_error(self, *_: object) -> None:
        """Do nothing: a client has hung up."""


class _SilentHandler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, *_: object) -> None:
        pass
