"""Wires the edge together: settings in, a Starlette application out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uuid_utils
import uvicorn
from redis import ConnectionError as RedisConnectionError
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from socketio import ASGIApp
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp as ASGIApplication
from starlette.types import Receive, Scope, Send

from infra.collector import tune_collector
from infra.logs import configure_logs
from infra.settings.edge import EdgeSettings
from infra.wire.clock import RedisClock
from socket_edge.auth import create_authenticator
from socket_edge.chat import Chat
from socket_edge.delivery.catch_up import CatchUps
from socket_edge.delivery.deliver import Delivery
from socket_edge.delivery.receipts import Receipts
from socket_edge.frames import BodyGuard
from socket_edge.heartbeat import Heartbeat
from socket_edge.http import Http, KeepAlive
from socket_edge.limits.addresses import Addresses, AddressGuard
from socket_edge.limits.origins import Origins
from socket_edge.limits.quota import FLOOD, Quota
from socket_edge.limits.rate import Rate
from socket_edge.listen import listen
from socket_edge.presence import Presence
from socket_edge.relay.dispatch import Dispatcher
from socket_edge.relay.inbox import Inbox
from socket_edge.relay.lanes import Lane, LaneLimits, Lanes
from socket_edge.relay.requests import OpenRequests
from socket_edge.sessions import ConnectedUsers
from socket_edge.tasks import keep_running, stop
from socket_edge.transport import Transport
from socket_edge.websocket import Handshake, SendLimits

log = structlog.get_logger(__name__)

_SOCKET_IO = "/socket.io/"
_REDIS_TIMEOUT_S = 5.0
_QUEUE_TIMEOUT_S = 2.0
"""A batch that Redis does not take in this time is tried again."""
_BATCH_EVENTS = 500
_BATCH_BYTES = 1_000_000
_RECEIPT_LINGER_S = 0.1
"""How long delivery receipts are collected, at least."""
_CLOSE_S = 5
"""How long open connections may take to close."""
_DRAIN_S = 2.0
"""How long what they left behind may take to be handled."""


def create_app(settings: EdgeSettings) -> ASGIApplication:
    """Return the application of one edge. Connects when it is started; raises SettingsError."""
    edge_id = uuid_utils.uuid7().hex
    redis = _make_redis(settings, _REDIS_TIMEOUT_S)
    queue = _make_redis(settings, _QUEUE_TIMEOUT_S)
    addresses = Addresses(
        Rate(settings.rate_connects, settings.rate_connects_burst), settings.sockets_per_address
    )
    events = Rate(settings.rate_events, settings.rate_events_burst)
    quota = Quota(
        events=events,
        size=Rate(settings.rate_bytes, settings.rate_bytes_burst),
        sign_ins=Rate(settings.rate_sign_ins, settings.rate_sign_ins_burst),
    )
    transport = Transport(
        addresses=addresses,
        frames=events.times(FLOOD),
        frame_bytes=settings.transport_bytes,
        send_limits=SendLimits(settings.send_queue, settings.send_bytes),
        connect_s=settings.connect_s,
        heartbeat_s=settings.heartbeat_s,
        heartbeat_timeout_s=settings.heartbeat_timeout_s,
    )
    authenticator = create_authenticator(settings)
    users = ConnectedUsers()
    clock = RedisClock()
    requests = OpenRequests(settings.deadline_s, clock)
    dispatcher = Dispatcher(queue)

    limits = LaneLimits(
        settings.lane_queue,
        settings.lane_bytes,
        _BATCH_EVENTS,
        _BATCH_BYTES,
        settings.redispatch_s,
    )
    receipt_lane, *client_lanes = (
        Lane(edge_id, dispatcher.send, requests, limits) for _ in range(settings.lanes + 1)
    )
    lanes = Lanes(client_lanes, receipt_lane, requests)
    receipts = Receipts(lanes, requests, _RECEIPT_LINGER_S)
    delivery = Delivery(transport, users, requests, lanes, receipts)
    inbox = Inbox(redis, edge_id, delivery.take)
    catch_ups = CatchUps(lanes, requests, delivery, settings.page_ack_s)

    async def resync(since: float) -> None:
        await chat.resync(since)

    presence = Presence(
        redis, edge_id, users, inbox, settings.lease_s, settings.lease_refresh_s, clock, resync
    )
    chat = Chat(
        transport,
        authenticator,
        Origins(settings.origins),
        users,
        presence,
        requests,
        lanes,
        delivery,
        catch_ups,
        quota,
        settings.payload_bytes,
        settings.sockets_per_user,
    )
    transport.attach_handler(chat)
    heartbeat = Heartbeat(transport, users, settings.ping_s, settings.token_grace_s)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        log.info("edge_started", edge=edge_id)
        parts = (
            transport.beat,
            inbox.run,
            presence.keep_lease,
            presence.keep_registry,
            *(lane.run for lane in (receipt_lane, *client_lanes)),
            lanes.expire,
            receipts.run,
            heartbeat.run,
        )
        running = [asyncio.create_task(keep_running(part)) for part in parts]
        yield
        receipts.flush()
        await chat.drain(_DRAIN_S)
        await stop(running)
        await presence.withdraw()
        dispatcher.close()
        await authenticator.aclose()
        await queue.aclose()
        await redis.aclose()
        log.info("edge_stopped", edge=edge_id)

    async def healthz(_: HttpRequest) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: HttpRequest) -> JSONResponse:
        try:
            await redis.ping()
        except (RedisError, OSError):
            return JSONResponse({"status": "unavailable", "reason": "Redis is not reachable"}, 503)
        if not inbox.reading:
            return JSONResponse({"status": "unavailable", "reason": "the inbox is not being read"}, 503)
        return JSONResponse({"status": "ok", "sockets": len(users)})

    health = Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)], lifespan=lifespan)
    socket_io = BodyGuard(ASGIApp(transport, socketio_path=None), settings.transport_bytes, transport.knows)
    guarded = AddressGuard(socket_io, addresses)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette would take a tenth of what a connection costs, to find out the same.
        is_socket_io = scope["type"] != "lifespan" and f"{scope['path']}/".startswith(_SOCKET_IO)
        await (guarded if is_socket_io else health)(scope, receive, send)

    return KeepAlive(app, _SOCKET_IO)


def _make_redis(settings: EdgeSettings, timeout_s: float) -> Redis:
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # A connection that has broken meanwhile is made anew. A time-out is not waited for twice.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )


def serve(settings: EdgeSettings) -> None:
    """Run one edge until SIGTERM."""
    configure_logs(as_json=settings.log_json)
    config = uvicorn.Config(
        create_app(settings),
        http=Http.within(settings.connect_s),
        ws=Handshake,
        ws_max_size=settings.transport_bytes,
        ws_per_message_deflate=False,
        # Engine.IO has a heartbeat of its own.
        ws_ping_interval=None,
        timeout_graceful_shutdown=_CLOSE_S,
        access_log=False,
        log_config=None,
        log_level="warning",
    )
    silent_s = settings.heartbeat_s + settings.heartbeat_timeout_s
    tune_collector()
    uvicorn.Server(config).run(sockets=listen(settings.host, settings.port, silent_s))
