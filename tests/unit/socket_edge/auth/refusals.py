"""Asserts that a token is refused."""

import pytest

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.auth import Authenticator


async def refusal(authenticator: Authenticator, token: str) -> Rejection:
    """Return the rejection of `token`; it must be one line that does not reveal the token."""
    with pytest.raises(Rejection) as caught:
        await authenticator.authenticate(token)
    error = caught.value
    assert error.message == str(error)
    assert "\n" not in error.message
    assert not token or str(token) not in error.message
    assert error.failure().code is error.code
    return error


async def refusal_code(authenticator: Authenticator, token: str) -> ErrorCode:
    """Return the code with which `token` is refused."""
    return (await refusal(authenticator, token)).code
