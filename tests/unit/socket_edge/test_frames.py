from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.frames import FrameGuard

Passed = Callable[..., Any]


async def passed(frame: dict[str, Any]) -> Message:
    """Return what the application gets of a websocket message."""
    got: list[Message] = []

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        got.append(await receive())

    async def receive() -> Message:
        return {"type": "websocket.receive", **frame}

    async def send(_: Message) -> None:
        raise AssertionError("nothing is to be sent")

    await FrameGuard(application, 10)({"type": "websocket"}, receive, send)
    return got[0]


@pytest.mark.parametrize("text", ['42["sync",{}]', "40", "41", '451-["sync",{}]', "2probe", "3", "5"])
async def test_a_frame_passes(text: str) -> None:
    assert (await passed({"text": text}))["text"] == text


@pytest.mark.parametrize("text", ["4[[[[", '4{"a":1}', "4true", '4"2[]"', "4null", "4 2[]"])
async def test_json_that_engineio_would_parse_is_cut_off(text: str) -> None:
    assert (await passed({"text": text}))["text"] == "4"


async def test_other_kinds_carry_no_data() -> None:
    assert (await passed({"text": "3[[[["}))["text"] == "3"


@pytest.mark.parametrize("text", ["", "x", "9", "b!!!", "²"])
async def test_what_is_no_frame_ends_the_connection(text: str) -> None:
    assert (await passed({"text": text}))["type"] == "websocket.disconnect"


async def test_binary_passes() -> None:
    assert (await passed({"bytes": b"x", "text": None}))["bytes"] == b"x"


async def status_of(length: bytes) -> int | None:
    """Return what is answered to a request of that length; None when the application gets it."""
    answered: list[int] = []

    async def application(_: Scope, __: Receive, ___: Send) -> None:
        return

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        answered.append(message.get("status", 0))

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", length)]}
    await FrameGuard(application, 10)(scope, receive, send)
    return answered[0] if answered else None


@pytest.mark.parametrize(("length", "status"), [(b"0", None), (b"10", None), (b"11", 413), (b"x", None)])
async def test_a_body_over_the_limit_is_refused(length: bytes, status: int | None) -> None:
    assert await status_of(length) == status
