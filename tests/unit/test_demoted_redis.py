"""Clients of Redis leave a server that has become a replica: their address may lead to the new primary."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from infra.local.engines import Valkey
from infra.redis_client import make_async_redis, make_redis
from tests.harness.engines import free_port
from tests.harness.proxy import Proxy
from tests.harness.waiting import until


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Valkey, Valkey]]:
    """Two servers with the same password."""
    servers = (
        Valkey(tmp_path_factory.mktemp("old"), free_port()),
        Valkey(tmp_path_factory.mktemp("new"), free_port()),
    )
    for server in servers:
        server.folder.mkdir()
        (server.folder / "password").write_text("of-both-servers")
        server.prepare()
        server.start()
        server.wait_ready()
    yield servers
    for server in servers:
        server.stop()


class Moving(Proxy):
    """An address that stays while the server behind it changes: for new connections only."""

    def move_to(self, port: int) -> None:
        self._target = port

    @property
    def redis_url(self) -> str:
        return f"redis://:of-both-servers@127.0.0.1:{self.port}/0"


@pytest.fixture
async def address(servers: tuple[Valkey, Valkey]) -> AsyncIterator[Moving]:
    old, _ = servers
    address = Moving(old.port)
    await address.start()
    yield address
    await address.cut()
    with make_redis(old.url, 5) as redis:
        redis.replicaof("NO", "ONE")


async def demote(servers: tuple[Valkey, Valkey], address: Moving) -> None:
    old, new = servers
    async with make_async_redis(old.url, 5) as client:
        await client.replicaof("127.0.0.1", str(free_port()))
    address.move_to(new.port)


async def server_of(client: redis.asyncio.Redis) -> int:
    return int((await client.info("server"))["tcp_port"])


async def waits(server: Valkey) -> bool:
    async with make_async_redis(server.url, 5) as client:
        return any(one["cmd"] == "xread" for one in await client.client_list())


async def wait_for_entry(client: redis.asyncio.Redis) -> Any:
    while not (found := await client.xread({"stream": "0"}, block=200)):
        pass
    return found


async def test_all_connections_to_a_demoted_primary_are_given_up(
    servers: tuple[Valkey, Valkey], address: Moving
) -> None:
    async with make_async_redis(address.redis_url, 5) as client:
        assert {await server_of(client) for _ in range(2)} == {servers[0].port}
        await asyncio.gather(*(client.ping() for _ in range(3)))
        await demote(servers, address)
        assert await server_of(client) == servers[0].port, "nothing was written yet"
        assert await client.set("key", "value")
        asked = await asyncio.gather(*(server_of(client) for _ in range(3)))
        assert {*asked} == {servers[1].port}


async def test_a_blocking_read_moves_too(servers: tuple[Valkey, Valkey], address: Moving) -> None:
    async with make_async_redis(address.redis_url, 5) as client:
        await asyncio.gather(client.ping(), client.ping())
        await demote(servers, address)
        reading = asyncio.create_task(wait_for_entry(client))
        await until(lambda: waits(servers[0]), "it waits at the old primary, which lets it read")
        assert await client.xadd("stream", {"on": "the new primary"})
        async with asyncio.timeout(30):
            assert [name for name, _ in await reading] == [b"stream"]


async def test_a_script_and_a_transaction_are_tried_again(
    servers: tuple[Valkey, Valkey], address: Moving
) -> None:
    async with make_async_redis(address.redis_url, 5) as client:
        script = client.register_script("return redis.call('SET', KEYS[1], 'scripted')")
        await script(["scripted"])
        await demote(servers, address)
        assert await script(["scripted"]) == b"OK"
    async with make_async_redis(address.redis_url, 5) as client:
        pipe = client.pipeline(transaction=True)
        pipe.set("one", 1)
        pipe.set("two", 2)
        assert await pipe.execute() == [True, True]


async def test_a_client_without_asyncio_moves_too(servers: tuple[Valkey, Valkey], address: Moving) -> None:
    with make_redis(address.redis_url, 5) as client:

        def port() -> int:
            return int(client.info("server")["tcp_port"])

        assert await asyncio.to_thread(port) == servers[0].port
        await demote(servers, address)
        assert await asyncio.to_thread(port) == servers[0].port
        assert await asyncio.to_thread(client.set, "key", "value")
        assert await asyncio.to_thread(port) == servers[1].port


async def test_a_replica_without_a_new_primary_is_told(
    servers: tuple[Valkey, Valkey], address: Moving
) -> None:
    await demote(servers, address)
    address.move_to(servers[0].port)
    async with make_async_redis(address.redis_url, 5) as client:
        with pytest.raises(redis.ReadOnlyError):
            await client.set("key", "value")
