import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.frames import BodyGuard, well_formed


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
    await BodyGuard(application, 10)(scope, receive, send)
    return answered[0] if answered else None


@pytest.mark.parametrize(("length", "status"), [(b"0", None), (b"10", None), (b"11", 413), (b"x", None)])
async def test_a_body_over_the_limit_is_refused(length: bytes, status: int | None) -> None:
    assert await status_of(length) == status
