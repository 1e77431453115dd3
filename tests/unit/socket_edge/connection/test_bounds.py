import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.frames import BodyGuard, well_formed
from socket_edge.websocket import STRANGER_BYTES


@pytest.mark.parametrize("text", ['42["sync",{}]', "40", "41", '451-["sync",{}]', "2probe", "3", "5"])
def test_a_frame_passes(text: str) -> None:
    assert well_formed(text) == text


@pytest.mark.parametrize("text", ["4[[[[", '4{"a":1}', "4true", '4"2[]"', "4null", "4 2[]"])
def test_json_that_engineio_would_parse_is_cut_off(text: str) -> None:
    assert well_formed(text) == "4"


def test_other_kinds_carry_no_data() -> None:
    assert well_formed("3[[[[") == "3"


@pytest.mark.parametrize("text", ["", "x", "9", "b!!!", "²"])
def test_what_is_no_frame_is_told_apart(text: str) -> None:
    assert well_formed(text) is None


PASSED = 200
"""What the application behind the guard answers here."""


async def answers(
    *headers: tuple[bytes, bytes], first: str = "http.request", query: bytes = b"", limit: int = 10
) -> list[int]:
    """Return what is answered to a request with these headers."""
    answered: list[int] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"status": PASSED})

    async def receive() -> Message:
        return {"type": first, "body": b""}

    async def send(message: Message) -> None:
        if "status" in message:
            answered.append(message["status"])

    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": query}
    await BodyGuard(application, limit, lambda sid: sid == "known")(scope, receive, send)
    return answered


@pytest.mark.parametrize(
    ("length", "status"), [(b"0", PASSED), (b"10", PASSED), (b"11", 413), (b"x", PASSED)]
)
async def test_a_body_over_the_limit_is_refused(length: bytes, status: int) -> None:
    assert await answers((b"content-length", length)) == [status]


@pytest.mark.parametrize(
    ("query", "status"), [(b"sid=known", PASSED), (b"sid=stranger", 413), (b"sid=", 413), (b"", 413)]
)
async def test_without_a_sign_in_a_body_is_small(query: bytes, status: int) -> None:
    size = str(STRANGER_BYTES + 1).encode()
    assert await answers((b"content-length", size), query=query, limit=2 * STRANGER_BYTES) == [status]


@pytest.mark.parametrize(("value", "status"), [(b"websocket", 400), (b"WebSocket", 400), (b"h2c", PASSED)])
async def test_an_upgrade_to_a_websocket_that_comes_as_a_request_is_refused(
    value: bytes, status: int
) -> None:
    assert await answers((b"connection", b"upgrade"), (b"upgrade", value)) == [status]


async def test_a_client_that_is_gone_is_not_answered() -> None:
    assert await answers(first="http.disconnect") == []
