"""Connections to Redis have limits of ours, whoever makes them."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from redis import TimeoutError as RedisTimeoutError

from infra.redis_client import KEEPALIVE, make_async_redis, make_redis
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from tests.harness.engines import Store
from workers.app import create_app

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def broker(store: Store) -> Any:
    urls: dict[str, Any] = {"database_url": store.database_url, "redis_url": store.redis_url}
    return create_app(WorkerSettings(**urls), FunctionSettings(**urls)).connection()


def socket_of_client(store: Store) -> socket.socket:
    pool: Any = make_redis(store.redis_url, 3).connection_pool
    copy: socket.socket = pool.get_connection()._sock.dup()
    return copy


def socket_of_async_client(store: Store) -> socket.socket:
    async def connect() -> socket.socket:
        redis = make_async_redis(store.redis_url, 3)
        connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        found: socket.socket = connection._writer.transport.get_extra_info("socket")
        copy = socket.fromfd(found.fileno(), found.family, found.type)
        await connection.disconnect()
        await redis.aclose()
        return copy

    return asyncio.run(connect())


def socket_of_broker(store: Store) -> socket.socket:
    with broker(store) as connection:
        pool = connection.default_channel.client.connection_pool
        copy: socket.socket = pool.get_connection()._sock.dup()
        return copy


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
@pytest.mark.parametrize("connected", [socket_of_client, socket_of_async_client, socket_of_broker])
def test_the_system_notices_a_redis_that_has_vanished(
    bench_store: Store, connected: Callable[[Store], socket.socket]
) -> None:
    with connected(bench_store) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        found = {option: sock.getsockopt(socket.IPPROTO_TCP, option) for option in KEEPALIVE}
    assert found == KEEPALIVE
    assert {socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT} <= found.keys()


def test_a_connection_that_breaks_just_before_it_is_used_is_opened_again(bench_store: Store) -> None:
    async def ask_after_it_broke() -> bool:
        redis = make_async_redis(bench_store.redis_url, 3)
        async with redis.client() as same:
            await same.ping()
            connection: Any = same.connection
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            answer: bool = await same.ping()
            await connection.disconnect()
        await redis.aclose()
        return answer

    assert uvloop.run(ask_after_it_broke())


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Listens, and never answers; the system accepts connections and acknowledges what arrives."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def accepted(listening: socket.socket) -> int:
    """Count the connections that wait to be accepted."""
    listening.setblocking(False)
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_command_that_is_not_answered_is_not_tried_again(silent: socket.socket) -> None:
    address = f"redis://127.0.0.1:{silent.getsockname()[1]}"
    with make_redis(address, 0.2) as redis, pytest.raises(RedisTimeoutError):
        redis.ping()
    assert accepted(silent) == 1


def test_a_command_that_is_not_answered_is_not_tried_again_in_asyncio(silent: socket.socket) -> None:
    async def ping() -> None:
        async with make_async_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}", 0.2) as redis:
            await redis.ping()

    with pytest.raises(RedisTimeoutError):
        asyncio.run(ping())
    assert accepted(silent) == 1
