"""Wires an edge together: settings in, an ASGI application out."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
import uuid_utils
from redis import RedisError
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.collector import tune_collector
from infra.observability import observe
from infra.processes import Announcer
from infra.redis_client import make_async_redis
from infra.settings.edge import EdgeSettings
from infra.version import VERSION
from infra.wire.clock import RedisClock
from infra.wire.inbox import InboxEntry
from infra.wire.server_api import PREFIX
from socket_edge.api.calls import Calls
from socket_edge.api.keys import ApiKeys
from socket_edge.api.server import ServerApi
from socket_edge.auth import Authenticator, create_authenticator
from socket_edge.auth.refusal_log import RefusalLog
from socket_edge.chat.admission import Admission
from socket_edge.chat.events import ClientEvents
from socket_edge.chat.handler import ChatHandler
from socket_edge.chat.heartbeat import Heartbeat
from socket_edge.chat.presence import EdgePresence
from socket_edge.chat.session import ConnectedUsers
from socket_edge.connection.bounds import KeepAlive, SendBounds
from socket_edge.connection.listen import serve as serve_app
from socket_edge.connection.socketio import SocketServer
from socket_edge.delivery.catch_up import CatchUps
from socket_edge.delivery.deliver import Delivery
from socket_edge.delivery.receipts import Receipts
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.origins import Origins
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.limits.users import UserLimiter
from socket_edge.monitor import Monitor
from socket_edge.relay.dispatch import Dispatcher
from socket_edge.relay.inbox import Inbox
from socket_edge.relay.lanes import Lane, LaneLimits, Lanes
from socket_edge.relay.pending import PendingRequests
from socket_edge.relay.workers import WorkerWatch
from socket_edge.tasks import Tasks, keep_running, stop

log = structlog.get_logger(__name__)

_SOCKET_IO: Final = "/socket.io/"
_REDIS_TIMEOUT_S: Final = 5.0
_QUEUE_TIMEOUT_S: Final = 2.0
"""A batch that Redis does not accept within this time is tried again."""
_LANE_BYTES: Final = 32_000_000
"""Bytes of events that may wait in a lane before clients get `busy`."""
_BATCH_EVENTS: Final = 500
_BATCH_BYTES: Final = 1_000_000
_RECEIPT_LINGER_S: Final = 0.1
"""Minimum time for which delivery receipts are collected, in seconds."""
_CHECK_S: Final = 1.0
"""How long health checks reuse the last answer of Redis, in seconds."""
_DRAIN_S: Final = 2.0
"""How long shutdown waits for the requests of closed connections, in seconds."""


class RedisCheck:
    """Tells whether Redis answers. Asks it at most once a second, however often this is called."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._asking = asyncio.Lock()
        self._is_reachable = False
        self._valid_until = -math.inf

    async def is_reachable(self) -> bool:
        """Tell whether Redis has just answered."""
        async with self._asking:
            if self._clock() >= self._valid_until:
                self._is_reachable = await self._ping()
                self._valid_until = self._clock() + _CHECK_S
            return self._is_reachable

    async def _ping(self) -> bool:
        try:
            await self._redis.ping()
        except (RedisError, OSError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge: the parts that run while it is up, and the resources that it releases at the end."""

    id: str
    server: SocketServer
    api: ServerApi | None
    """None without API keys."""
    users: ConnectedUsers
    inbox: Inbox
    presence: EdgePresence
    admission: Admission
    receipts: Receipts
    requests: PendingRequests
    workers: WorkerWatch
    tasks: Tasks
    sending: Tasks
    """The lanes that are sending."""
    dispatcher: Dispatcher
    authenticator: Authenticator
    redis: Redis
    redis_check: RedisCheck
    queue: Redis
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    """Coroutines that run until the edge shuts down."""

    def asgi(self, while_up: AbstractContextManager[Any] | None = None) -> ASGIApp:
        """Return the application: Socket.IO, `/v1`, health checks. It holds `while_up` while it is up."""
        routes = [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            with while_up or nullcontext():
                async with self._running():
                    yield

        health = Starlette(routes=routes, lifespan=lifespan)
        socket_io, api = self.server.asgi(), self.api

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # Starlette's routing would account for a tenth of a connection's cost.
            if scope["type"] != "lifespan" and f"{scope['path']}/".startswith(_SOCKET_IO):
                await socket_io(scope, receive, send)
            elif api is not None and scope["type"] == "http" and scope["path"].startswith(PREFIX):
                await api(scope, receive, send)
            else:
                await health(scope, receive, send)

        return KeepAlive(app, _SOCKET_IO)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        log.info("edge_started", edge=self.id, version=VERSION)
        running = [asyncio.create_task(keep_running(part)) for part in self.background]
        yield
        self.server.end_all()
        self.receipts.flush()
        await self._drain()
        await stop(running)
        await self.sending.stop()
        await self.presence.withdraw(self.admission.unannounced)
        await self.authenticator.aclose()
        await self.queue.aclose()
        await self.redis.aclose()
        log.info("edge_stopped", edge=self.id)

    async def _drain(self) -> None:
        """Wait for what closed connections left behind: sends, and broadcasts that users went offline."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self.tasks.wait()
                await self.requests.wait_settled()
        except TimeoutError:
            log.warning("drain_incomplete", requests=len(self.requests))

    async def _healthz(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _: Request) -> JSONResponse:
        if self.server.is_draining:
            return JSONResponse({"status": "unavailable", "reason": "the edge is shutting down"}, 503)
        if not await self.redis_check.is_reachable():
            return JSONResponse({"status": "unavailable", "reason": "Redis is not reachable"}, 503)
        if not self.inbox.reading:
            return JSONResponse({"status": "unavailable", "reason": "the inbox is not being read"}, 503)
        ready = {"status": "ok", "sockets": len(self.users), "workers": self.workers.state}
        reason = self.workers.reason
        # Other edges would have the same workers, so this is no reason to route clients elsewhere.
        return JSONResponse(ready if reason is None else {**ready, "reason": reason})


def build_edge(settings: EdgeSettings) -> Edge:
    """Make an edge. It connects when its application starts. Raises SettingsError."""
    edge_id, prefix = uuid_utils.uuid7().hex, settings.redis_prefix
    redis = make_async_redis(settings.redis_url, _REDIS_TIMEOUT_S)
    queue = make_async_redis(settings.redis_url, _QUEUE_TIMEOUT_S)
    clock = RedisClock()
    tasks = Tasks()
    users = ConnectedUsers()
    authenticator = create_authenticator(settings)
    refusals = RefusalLog()
    limiter = UserLimiter(
        events=TokenBucket(settings.rate_events, settings.rate_events_burst),
        size=TokenBucket(settings.rate_bytes, settings.rate_bytes_burst),
        sign_ins=TokenBucket(settings.rate_sign_ins, settings.rate_sign_ins_burst),
    )
    origins = Origins(settings.origins)
    server = _make_server(settings, origins)

    requests = PendingRequests(settings.deadline_s, clock)
    dispatcher = Dispatcher(queue, prefix)
    sending = Tasks()
    receipt_lane, client_lanes = _make_lanes(settings, edge_id, dispatcher, requests, sending)
    lanes = Lanes(client_lanes, receipt_lane, requests)
    receipts = Receipts(lanes, _RECEIPT_LINGER_S)
    delivery = Delivery(users, requests, lanes, receipts)

    def take(entry: InboxEntry) -> None:
        workers.note(entry)
        delivery.take(entry)

    inbox = Inbox(redis, edge_id, clock, take, prefix)
    workers = WorkerWatch(edge_id, dispatcher.send, inbox.wait_created)
    catch_ups = CatchUps(users, lanes, delivery, tasks, settings.page_ack_s)

    presence = EdgePresence(
        redis,
        edge_id,
        users,
        inbox,
        settings.lease_s,
        settings.lease_refresh_s,
        clock,
        catch_ups.restart,
        prefix,
    )
    admission = Admission(
        authenticator,
        origins,
        limiter,
        users,
        presence,
        lanes,
        catch_ups,
        tasks,
        settings.sockets_per_user,
        refusals,
    )
    events = ClientEvents(authenticator, limiter, lanes, delivery, settings.payload_bytes, refusals)
    server.handler = ChatHandler(admission, events, delivery, limiter)
    named_lanes = {"receipts": receipt_lane, **{str(place): lane for place, lane in enumerate(client_lanes)}}
    monitor = Monitor(users, named_lanes, inbox, presence, workers)
    heartbeat = Heartbeat(users, settings.ping_s, settings.token_grace_s)

    background = (
        server.beat,
        inbox.run,
        presence.keep_lease,
        presence.keep_registry,
        workers.run,
        lanes.expire_requests,
        receipts.run,
        heartbeat.run,
        refusals.run,
        monitor.run,
    )
    return Edge(
        id=edge_id,
        server=server,
        api=_make_api(settings, lanes),
        users=users,
        inbox=inbox,
        presence=presence,
        admission=admission,
        receipts=receipts,
        requests=requests,
        workers=workers,
        tasks=tasks,
        sending=sending,
        dispatcher=dispatcher,
        authenticator=authenticator,
        redis=redis,
        redis_check=RedisCheck(redis),
        queue=queue,
        background=background,
    )


def serve(settings: EdgeSettings) -> None:
    """Run one edge until SIGTERM. Raises SettingsError."""
    observe(settings, "edge")
    edge = build_edge(settings)
    tune_collector()
    app = edge.asgi(Announcer(settings.redis_url, "edge", settings.redis_prefix))
    drain = partial(edge.server.drain, settings.drain_s)
    serve_app(app, settings, drain, edge.server.shut_down_polls, edge.server.request_timed_out)


def _make_server(settings: EdgeSettings, origins: Origins) -> SocketServer:
    connects = TokenBucket(settings.rate_connects, settings.rate_connects_burst)
    return SocketServer(
        addresses=Addresses(connects, settings.sockets_per_address),
        origins=origins,
        send_bounds=SendBounds(settings.send_queue, settings.send_bytes),
        frame_bytes=settings.transport_bytes,
        connect_s=settings.connect_s,
        heartbeat_s=settings.heartbeat_s,
        heartbeat_timeout_s=settings.heartbeat_timeout_s,
    )


def _make_api(settings: EdgeSettings, lanes: Lanes) -> ServerApi | None:
    if not settings.api_keys:
        return None
    calls = Calls(lanes, settings.payload_bytes)
    limit = TokenBucket(settings.rate_api, settings.rate_api_burst)
    return ServerApi(ApiKeys(settings.api_keys), calls, limit, settings.transport_bytes)


def _make_lanes(
    settings: EdgeSettings,
    edge_id: str,
    dispatcher: Dispatcher,
    requests: PendingRequests,
    sending: Tasks,
) -> tuple[Lane, list[Lane]]:
    """Return the lane for receipts, and those for client events."""
    limits = LaneLimits(
        settings.lane_queue,
        _LANE_BYTES,
        _BATCH_EVENTS,
        _BATCH_BYTES,
        settings.redispatch_s,
        settings.deadline_s / 2,
    )
    make = partial(Lane, edge_id, dispatcher.send, requests, limits, sending)
    # Receipts come many at a time, and nobody waits for them.
    return make(eager=False), [make(eager=True) for _ in range(settings.lanes)]
