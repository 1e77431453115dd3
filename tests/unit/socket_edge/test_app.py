"""An edge as a whole: what it is made of, its health checks, and how it stops."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from redis import RedisError
from redis.asyncio import Redis
from starlette.types import Message
from structlog.testing import capture_logs

from infra.settings.base import SettingsError
from infra.settings.edge import EdgeSettings
from infra.wire import names
from infra.wire.inbox import Answer, InboxEntry
from socket_edge import app as module
from socket_edge.app import Edge, RedisCheck, build_edge
from socket_edge.connection.api import DisconnectReason, Handler
from tests.harness.engines import Store
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connections import connect

NOWHERE = "redis://127.0.0.1:1"
SECRET = "0123456789abcdef0123456789abcdef"


def settings(redis_url: str = NOWHERE, **changes: Any) -> EdgeSettings:
    given: dict[str, Any] = {
        "redis_url": redis_url,
        "supabase_url": "http://127.0.0.1:1",
        "supabase_jwt_secret": SECRET,
        **changes,
    }
    return EdgeSettings.load(None, **given)


@pytest.fixture
async def edge(redis: Redis, store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """An edge that is built but not started, on an empty Redis."""
    monkeypatch.setattr("socket_edge.relay.inbox._BLOCK_MS", 10)
    monkeypatch.setattr(module, "_DRAIN_S", 0.5)
    edge = build_edge(settings(store.redis_url))
    yield edge
    await edge.redis.aclose()
    await edge.queue.aclose()


@asynccontextmanager
async def running(edge: Edge) -> AsyncIterator[None]:
    """Start an edge as a server does, and stop it at the end."""
    incoming, outgoing = asyncio.Queue[Message](), asyncio.Queue[Message]()
    lifespan = asyncio.create_task(_call(edge, incoming, outgoing))
    incoming.put_nowait({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    yield
    incoming.put_nowait({"type": "lifespan.shutdown"})
    assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
    await lifespan


async def _call(edge: Edge, incoming: asyncio.Queue[Message], outgoing: asyncio.Queue[Message]) -> None:
    await edge.asgi()({"type": "lifespan", "asgi": {}, "state": {}}, incoming.get, outgoing.put)


async def get(edge: Edge, path: str) -> tuple[int, dict[str, Any], httpx.Headers]:
    transport = httpx.ASGITransport(edge.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.get(path)
    return answer.status_code, answer.json(), answer.headers


async def until_ready(edge: Edge) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await get(edge, "/readyz"))[0] != 200:
            await asyncio.sleep(0.01)
    return answer[1]


async def test_an_edge_is_built_without_connecting_to_anything() -> None:
    edge = build_edge(settings())
    handler: Handler = edge.server.handler
    assert handler is not None
    assert (len(edge.users), len(edge.requests), edge.inbox.reading) == (0, 0, False)


async def test_every_edge_has_an_id_of_its_own() -> None:
    assert build_edge(settings()).id != build_edge(settings()).id


async def test_the_parts_of_an_edge_that_run_while_it_is_up() -> None:
    parts = [part.__qualname__ for part in build_edge(settings(lanes=3)).background]
    assert len(parts) == len(set(parts))
    assert set(parts) == {
        *(
            "RefusalLog.run",
            "Lanes.expire_requests",
            "Receipts.run",
            "WorkerWatch.run",
            "Heartbeat.run",
            "SocketServer.beat",
            "Inbox.run",
            "Monitor.run",
        ),
        *("EdgePresence.keep_lease", "EdgePresence.keep_registry"),
    }


async def test_the_settings_reach_the_connections() -> None:
    server = build_edge(
        settings(
            transport_bytes=1_234_567,
            send_queue=12,
            send_bytes=345,
            connect_s=6,
            heartbeat_s=7,
            heartbeat_timeout_s=8,
        )
    ).server
    assert (server.send_bounds.max_packets, server.send_bounds.max_bytes, server.connect_s) == (12, 345, 6)
    assert (server.max_payload, server.heartbeat_s, server.heartbeat_timeout_s) == (1_234_567, 7, 8)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"supabase_jwt_secret": "short"}, "BBGRAM_SUPABASE_JWT_SECRET"),
        ({"auth_mode": "remote", "supabase_key": None}, "BBGRAM_SUPABASE_KEY"),
    ],
)
async def test_wrong_settings_name_the_setting(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        build_edge(settings(**changes))


async def test_an_edge_is_healthy_whatever_redis_does() -> None:
    edge = build_edge(settings())
    status, body, headers = await get(edge, "/healthz")
    assert (status, body, headers["connection"]) == (200, {"status": "ok"}, "close")


async def test_an_edge_without_redis_is_not_ready() -> None:
    status, body, _ = await get(build_edge(settings()), "/readyz")
    assert (status, body["status"]) == (503, "unavailable")
    assert "Redis" in body["reason"]


async def test_an_edge_that_does_not_read_its_inbox_is_not_ready(edge: Edge) -> None:
    status, body, _ = await get(edge, "/readyz")
    assert (status, body["status"]) == (503, "unavailable")
    assert "inbox" in body["reason"]


class CountingRedis:
    """Answers pings, or not, when the test lets it."""

    def __init__(self) -> None:
        self.pings = 0
        self.is_up = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ping(self) -> None:
        self.pings += 1
        await self.may_answer.wait()
        if not self.is_up:
            raise RedisError("gone")


async def test_redis_is_asked_at_most_once_a_second_however_many_want_to_know() -> None:
    redis, now = CountingRedis(), [100.0]
    check = RedisCheck(cast(Any, redis), lambda: now[0])
    redis.may_answer.clear()
    asking = [asyncio.create_task(check.is_reachable()) for _ in range(100)]
    await asyncio.sleep(0)
    redis.may_answer.set()
    assert await asyncio.gather(*asking) == [True] * 100
    assert redis.pings == 1
    redis.is_up = False
    now[0] += 0.9
    assert await check.is_reachable()
    now[0] += 0.2
    assert [await check.is_reachable() for _ in range(3)] == [False] * 3
    assert redis.pings == 2
    redis.is_up = True
    now[0] += 1
    assert await check.is_reachable()


async def test_a_request_that_is_cancelled_leaves_the_check_to_the_next() -> None:
    redis = CountingRedis()
    check = RedisCheck(cast(Any, redis))
    redis.may_answer.clear()
    asking = asyncio.create_task(check.is_reachable())
    await asyncio.sleep(0)
    asking.cancel()
    redis.may_answer.set()
    assert await check.is_reachable()


async def test_an_edge_notices_that_redis_is_gone_and_back(edge: Edge) -> None:
    redis, now = CountingRedis(), [100.0]
    checked = replace(edge, redis_check=RedisCheck(cast(Any, redis), lambda: now[0]))
    async with running(checked):
        await until_ready(checked)
        for is_up, status in ((False, 503), (True, 200)):
            redis.is_up = is_up
            now[0] += 1
            assert (await get(checked, "/readyz"))[0] == status


async def test_a_running_edge_is_ready_and_counts_its_sockets(edge: Edge) -> None:
    async with running(edge):
        ready = await until_ready(edge)
        assert (ready["status"], ready["sockets"]) == ("ok", 0)
        _, session = connect("bob")
        edge.users.add(session)
        assert (await until_ready(edge))["sockets"] == 1


@pytest.mark.parametrize("path", ["/socket.io", "/socket.io/"])
async def test_socket_io_answers_under_its_path(edge: Edge, path: str) -> None:
    transport = httpx.ASGITransport(edge.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.get(f"{path}?EIO=4&transport=polling")
    assert answer.text.startswith('0{"sid":')


@pytest.mark.parametrize("path", ["/", "/socket.iox/", "/socket", "/healthz/"])
async def test_any_other_path_is_not_found(edge: Edge, path: str) -> None:
    transport = httpx.ASGITransport(edge.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        assert (await client.get(path)).status_code in {307, 404}


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/icon.svg", "/sw.js", "/assets/index.js", "/dev/config.json"]
)
async def test_an_edge_never_serves_the_chat_page(edge: Edge, path: str) -> None:
    transport = httpx.ASGITransport(edge.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_a_running_edge_is_registered_and_one_that_has_stopped_is_not(edge: Edge, redis: Redis) -> None:
    async with running(edge):
        await until_ready(edge)
        assert await redis.zscore(names.LEASES_KEY, edge.id) is not None
        assert await redis.exists(names.inbox_key(edge.id))
    assert not await redis.exists(names.LEASES_KEY, names.inbox_key(edge.id))


async def test_an_edge_that_cannot_tell_that_users_left_leaves_them_to_the_sweep(
    edge: Edge, redis: Redis
) -> None:
    async with running(edge):
        await until_ready(edge)
        sessions = {name: connect(name)[1] for name in ("bob", "carol")}
        for name, session in sessions.items():
            edge.users.add(session)
            await edge.presence.register(name)
        # No worker hears that bob has left, and carol is still here.
        edge.admission.leave(sessions["bob"], DisconnectReason.SERVER_SHUTDOWN)
    assert await redis.smembers(names.edge_users_key(edge.id)) == {b"bob", b"carol"}
    assert await redis.zscore(names.LEASES_KEY, edge.id) == 0
    assert not await redis.exists(names.inbox_key(edge.id))


async def test_an_edge_that_stops_waits_for_its_requests_and_tasks(edge: Edge) -> None:
    order: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        order.append("task")
        edge.requests.answer(Answer(request.id))

    async with running(edge):
        await until_ready(edge)
        request = edge.requests.open("send_message", "bob", "", b"{}", lambda _: order.append("answer"))
        edge.tasks.start(work())
    assert order == ["task", "answer"]


async def test_an_edge_without_workers_is_ready_and_says_that_none_answers(edge: Edge) -> None:
    async with running(edge):
        ready = await until_ready(edge)
        assert (ready["workers"], ready["reason"]) == (
            "silent",
            "no worker has answered since this edge started",
        )
        edge.workers.note(InboxEntry("batch"))
        ready = await until_ready(edge)
    assert (ready["workers"], ready.get("reason")) == ("answering", None)


async def test_an_edge_does_not_wait_forever_to_stop(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAIN_S", 0.05)
    with capture_logs() as logs:
        async with running(edge):
            await until_ready(edge)
            edge.requests.open("send_message", "bob", "", b"{}", lambda _: None)
    assert [one["requests"] for one in logs if one["event"] == "drain_incomplete"] == [1]


async def test_an_edge_that_stops_still_relays_the_receipts_that_wait(edge: Edge, redis: Redis) -> None:
    async with running(edge):
        await until_ready(edge)
        _, session = connect("bob")
        session.confirmed["chat"].add(1)
        edge.receipts.add("bob", "chat", session.confirmed["chat"], 1)
    bodies = [b64decode(json.loads(entry)["body"]) for entry in await redis.lrange(names.QUEUE, 0, -1)]
    # The edge has also asked whether there are workers.
    assert [b"confirm_delivery" in body for body in bodies].count(True) == 1


async def test_an_edge_releases_what_it_holds_when_it_stops(edge: Edge) -> None:
    class Recorder:
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    authenticator = Recorder()
    async with running(replace(edge, authenticator=cast(Any, authenticator))):
        pass
    assert authenticator.closed


async def test_a_part_that_fails_is_started_again(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket_edge.tasks._PAUSE_S", 0.01)
    started = asyncio.Queue[None]()

    async def part() -> None:
        started.put_nowait(None)
        raise RedisError("not now")

    with capture_logs() as logs:
        async with running(replace(edge, background=(part,))), asyncio.timeout(PATIENCE_S):
            for _ in range(3):
                await started.get()
    assert {one["event"] for one in logs} >= {"edge_started", "part_failed", "edge_stopped"}
