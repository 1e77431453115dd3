from typing import Any

import pytest

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.limits.origins import Origins


def scope(origin: str | None, host: str = "chat.example") -> dict[str, Any]:
    headers = [(b"host", host.encode())]
    return {"headers": headers if origin is None else [*headers, (b"origin", origin.encode())]}


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ((), None),
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
def test_an_allowed_origin_may_connect(allowed: tuple[str, ...], origin: str | None) -> None:
    Origins(allowed).check(scope(origin))


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
        Origins(("https://app.example",)).check(scope(origin))
    assert rejection.value.code is ErrorCode.FORBIDDEN_ORIGIN


def test_the_host_of_another_port_is_another_origin() -> None:
    with pytest.raises(Rejection):
        Origins(()).check(scope("http://localhost:3001", host="localhost:3000"))
