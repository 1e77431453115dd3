"""An upgrade that changes a name we rely on fails here, with a list of everything that changed."""

import asyncio
import importlib
import inspect
import logging
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import engineio
import pytest
import socketio
from engineio.async_socket import AsyncSocket
from picows import WSAutoPingStrategy, WSListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from tests.unit.socket_edge.connection.library_names import LIBRARIES

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SET_BY_US = "set by us"


@pytest.mark.parametrize("library", LIBRARIES)
async def test_every_name_that_we_rely_on_is_what_it_was(library: str) -> None:
    names: Mapping[str, Mapping[str, str]] = LIBRARIES[library]
    changed = [
        f"{owner}.{name}: expected {expected}, found {found}"
        for owner, members in names.items()
        for name, expected in members.items()
        if (found := describe(owner, name, is_ours=expected == SET_BY_US)) != expected
    ]
    assert not changed, f"{library} {version(library)} has changed:\n" + "\n".join(changed)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_library_is_pinned_to_the_version_installed(library: str) -> None:
    requirements = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["edge"]
    assert f"{library}=={version(library)}" in requirements


class FakeTransport(asyncio.Transport):
    """Writes nowhere."""

    def write(self, data: Any) -> None:
        pass

    def pause_reading(self) -> None:
        pass


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing runs it")


def config() -> Config:
    loaded = Config(application, log_config=None, ws_per_message_deflate=False)
    loaded.load()
    return loaded


def websocket_protocol() -> WebSocketsSansIOProtocol:
    """Return a protocol that has read a handshake."""

    class Idle(WebSocketsSansIOProtocol):
        async def run_asgi(self) -> None:
            pass

    protocol = Idle(config(), ServerState(), {})
    protocol.connection_made(FakeTransport())
    protocol.data_received(HANDSHAKE)
    return protocol


def cycle() -> RequestResponseCycle:
    unused = cast(Any, None)
    return RequestResponseCycle(
        scope=unused,
        transport=unused,
        flow=FlowControl(FakeTransport()),
        logger=unused,
        access_logger=unused,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=unused,
    )


def frames_protocol() -> WSProtocol:
    """Return picows's protocol, made with every argument that the handshake gives it."""
    return WSProtocol(
        host_port=None,
        ws_path=None,
        is_client_side=False,
        ws_listener_factory=lambda _: WSListener(),
        logger=logging.getLogger("picows.server"),
        disconnect_on_exception=False,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=0,
        auto_ping_reply_timeout=0,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=False,
        max_frame_size=1_000,
        extra_headers=None,
        read_buffer_init_size=2_048,
    )


INSTANCES: dict[str, Callable[[], Any]] = {
    "engineio.async_server.AsyncServer": lambda: engineio.AsyncServer(async_mode="asgi"),
    "engineio.async_socket.AsyncSocket": lambda: AsyncSocket(engineio.AsyncServer(async_mode="asgi"), "sid"),
    "engineio.packet.Packet": lambda: engineio.packet.Packet(engineio.packet.MESSAGE, "text"),
    "engineio.payload.Payload": engineio.payload.Payload,
    "picows.picows.WSProtocol": frames_protocol,
    "socketio.async_manager.AsyncManager": socketio.AsyncManager,
    "socketio.async_server.AsyncServer": lambda: socketio.AsyncServer(async_mode="asgi"),
    "socketio.packet.Packet": lambda: socketio.packet.Packet(encoded_packet='27["event"]'),
    "uvicorn.config.Config": config,
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol": lambda: HttpToolsProtocol(
        config(), ServerState(), {}
    ),
    "uvicorn.protocols.http.httptools_impl.RequestResponseCycle": cycle,
    "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol": websocket_protocol,
    "websockets.http11.Request": lambda: Request("/", Headers()),
    "websockets.http11.Response": lambda: Response(101, "", Headers()),
    "websockets.server.ServerProtocol": ServerProtocol,
}


def describe(owner: str, name: str, *, is_ours: bool) -> str:
    """Return what a name stands for, as `library_names` writes it."""
    try:
        value = find(owner, name)
    except (AttributeError, ImportError, TypeError) as error:
        return f"nothing ({error})"
    if is_ours:
        return SET_BY_US
    if inspect.isclass(value) and issubclass(value, BaseException):
        return f"exception ({value.__bases__[0].__name__})"
    if inspect.isroutine(value) or inspect.isclass(value):
        return ("async " if inspect.iscoroutinefunction(value) else "") + parameters(value)
    if inspect.isdatadescriptor(value):
        return "property"
    if isinstance(value, asyncio.AbstractEventLoop):
        return "event loop"
    if isinstance(value, int | str) and not owner.endswith("()"):
        return repr(getattr(value, "value", value))
    return type(value).__name__


def find(owner: str, name: str) -> Any:
    if owner.endswith("()"):
        return getattr(INSTANCES[owner.removesuffix("()")](), name)
    parts = owner.split(".")
    for count in range(len(parts), 0, -1):
        try:
            holder: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            holder = getattr(holder, part)
        return inspect.getattr_static(holder, name) if inspect.isclass(holder) else getattr(holder, name)
    raise ImportError(owner)


def parameters(value: Callable[..., Any]) -> str:
    """Return the parameters with their defaults; annotations may change."""
    signature = inspect.signature(value)
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))
