"""A backend that calls the server API of an edge."""

from collections.abc import Sequence
from typing import Any, Final

import httpx

from infra.settings.api_keys import ApiKey, make_key
from infra.wire.server_api import Scope
from tests.harness.deployment import ANSWERED_S, Edge

KEY, _KNOWN = make_key("backend", list(Scope))
"""A key with all scopes."""
READ_KEY, _READ_KNOWN = make_key("reader", [Scope.READ])
"""A key that may read only."""
_KEYS: Final[Sequence[ApiKey]] = (_KNOWN, _READ_KNOWN)
API_KEYS: Final = ",".join(map(str, _KEYS))
"""Setting of an edge that knows them."""


class Backend:
    """Makes calls with one key."""

    def __init__(self, edge: Edge, key: str = KEY) -> None:
        self._edge = edge
        self._headers = {"Authorization": f"Bearer {key}"}

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a call."""
        headers = {**self._headers, **options.pop("headers", {})}
        async with httpx.AsyncClient(verify=False, timeout=ANSWERED_S) as http:
            return await http.request(method, f"{self._edge.url}{path}", headers=headers, **options)

    async def send(self, body: Any, key: str = "") -> httpx.Response:
        """Send messages, with a key that makes it safe to repeat."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.call("POST", "/v1/messages", json=body, headers=headers)


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    """Check that a call was answered with a problem, and with this one."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["type"] == "about:blank"
    assert ("retry-after" in answer.headers) == problem["retryable"]
    return True
