import pytest

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.limits.origins import Origins

HOST = "chat.example"


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ((), ""),
        ((), "https://chat.example"),
        ((), "http://CHAT.example"),
        (("https://app.example",), "https://app.example"),
        (("https://app.example/",), "https://app.example"),
        (("https://App.example",), "https://app.EXAMPLE"),
        (("https://app.example", "http://localhost:5173"), "http://localhost:5173"),
        (("*",), "https://anything.example"),
        (("*",), "null"),
    ],
)
def test_an_allowed_origin_may_connect(allowed: tuple[str, ...], origin: str) -> None:
    Origins(allowed).check(origin, HOST)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://sub.app.example",
        "null",
        "chat.example",
        "app.example",
        "http://[",
        "http://[::1",
    ],
)
def test_any_other_origin_is_forbidden(origin: str) -> None:
    with pytest.raises(Rejection) as rejection:
        Origins(("https://app.example",)).check(origin, HOST)
    assert rejection.value.code is ErrorCode.FORBIDDEN_ORIGIN


def test_the_host_of_another_port_is_another_origin() -> None:
    with pytest.raises(Rejection):
        Origins(()).check("http://localhost:3001", "localhost:3000")
