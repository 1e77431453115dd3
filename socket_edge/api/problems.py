"""What a call that has failed is answered with (RFC 9457)."""

import math
from typing import Final

import msgspec
from starlette.responses import Response

from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.server_api import STATUS, Problem

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_AFTER_S: Final = 1
"""When to try again, in seconds, if nobody knows it better."""


class NoSuchMethod(Rejection):
    """The path exists, but not with this method."""

    def __init__(self, allowed: str) -> None:
        super().__init__(ErrorCode.UNKNOWN_EVENT, "This path does not have this method.")
        self.allowed = allowed


def to_problem(failure: Failure) -> Problem:
    """Return a failure as HTTP clients see it."""
    status = STATUS[failure.code]
    retry_after_ms = failure.retry_after_ms
    return Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=failure.message,
        code=failure.code,
        retryable=failure.code.retryable,
        retry_after_ms=msgspec.UNSET if retry_after_ms is None else retry_after_ms,
    )


def to_response(rejection: Rejection) -> Response:
    """Return the answer to a call that is refused, or has failed."""
    failure = rejection.failure()
    problem = to_problem(failure)
    headers = {}
    if isinstance(rejection, NoSuchMethod):
        problem = msgspec.structs.replace(problem, status=405, title="Method Not Allowed")
        headers["Allow"] = rejection.allowed
    if failure.code is ErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if failure.code.retryable:
        wait_ms = failure.retry_after_ms
        headers["Retry-After"] = str(_RETRY_AFTER_S if wait_ms is None else math.ceil(wait_ms / 1000))
    return Response(msgspec.json.encode(problem), problem.status, headers, MEDIA_TYPE)
