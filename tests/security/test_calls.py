"""Whatever comes to the server API is answered, and what is not valid reaches no worker."""

import json
import re
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import httpx
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from infra.settings.api_keys import make_key
from infra.wire.inbox import Answer
from infra.wire.registry import COMMANDS
from infra.wire.server_api import CALLS, STATUS, Scope
from socket_edge.api.calls import Calls
from socket_edge.api.keys import ApiKeys
from socket_edge.api.server import ServerApi
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.relay.lanes import Lanes

KEY, KNOWN = make_key("backend", list(Scope))
ID = "019b0000-0000-7000-8000-00000000000a"
STATUSES = {*STATUS.values(), 405}

ids = st.sampled_from(
    [ID, ID.upper(), ID.replace("-", ""), "x", "%00", "..", "%2e%2e", "-1", "9" * 30, "\N{SNOWMAN}"]
)
paths = st.one_of(
    st.sampled_from([call.path for call in CALLS.values()]).flatmap(
        lambda path: st.tuples(ids, ids, ids).map(lambda some: _filled(path, some))
    ),
    st.text(st.characters(exclude_categories=["C"], exclude_characters="?#\\[]"), max_size=30).map(
        "/v1/{}".format
    ),
)
queries = st.dictionaries(
    st.sampled_from(["box", "cursor", "limit", "before", "after", "withClosed", "x"]),
    st.sampled_from(["", "1", "-1", "inbox", "null", "[]", "9" * 40, "\0", "\N{SNOWMAN}"]),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | ids,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
fields = st.sampled_from(["from", "to", "text", "data", "replyTo", "username", "messages", "x"])
messages = st.dictionaries(fields, values, max_size=6)
bodies = st.one_of(
    st.binary(max_size=100),
    messages.map(lambda one: json.dumps(one).encode()),
    st.lists(messages, max_size=3).map(lambda some: json.dumps({"messages": some}).encode()),
    st.integers(1, 3_000).map(lambda depth: b'{"data":' * depth),
)


def _filled(path: str, some: tuple[str, ...]) -> str:
    for name, value in zip(re.findall(r"\{\w+\}", path), some, strict=False):
        path = path.replace(name, value)
    return path


class StrictLanes:
    """Accepts only what a worker would decode, from a user with a valid id."""

    def __len__(self) -> int:
        return 2

    def relay(
        self, lane: int, name: str, user_id: str, payload: bytes, settle: Callable[[Answer], None]
    ) -> None:
        assert lane in range(2)
        assert str(UUID(user_id)) == user_id
        msgspec.json.decode(payload, type=COMMANDS[name].payload, strict=True)
        settle(Answer("1", msgspec.Raw(b'{"message":{},"success":true}')))


async def _ask(key: str, method: str, path: str, **options: Any) -> httpx.Response:
    calls = Calls(cast("Lanes", StrictLanes()), 1_000)
    api = ServerApi(ApiKeys([KNOWN]), calls, TokenBucket(0, 1), 10_000)
    headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://edge") as http:
        return await http.request(method, path, headers=headers, **options)


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]), paths, queries, bodies)
async def test_any_call_with_a_key_succeeds_or_is_a_problem(
    method: str, path: str, query: dict[str, str], body: bytes
) -> None:
    answer = await _ask(KEY, method, path, params=query, content=body)
    if answer.status_code >= 400:
        assert answer.status_code in STATUSES - {500, 401, 503, 504}
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    else:
        assert answer.status_code in (200, 201)


@given(paths, bodies, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
async def test_no_call_without_a_key_is_relayed(path: str, body: bytes, key: str) -> None:
    answer = await _ask(key, "POST", path, content=body)
    assert answer.status_code == 401


@given(bodies, st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=80))
async def test_any_idempotency_key_is_taken_or_refused(body: bytes, key: str) -> None:
    answer = await _ask(
        KEY, "POST", "/v1/messages", content=body, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code in (200, 201, 400, 413)
