"""A Redis with Sentinels: all parts find the primary through them, and find the new one after a failover."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import TimeoutError as RedisTimeoutError

from infra.redis_client import make_redis
from tests.conftest import ClientFactory, Name
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines, Store
from tests.harness.forks import run
from tests.harness.proxy import Proxy
from tests.harness.sentinel import PRIMARY, SENTINEL_PASSWORD, SERVER_PASSWORD, SentinelSet
from tests.harness.tls import Authority
from tests.harness.waiting import eventually

HOST = "localhost"


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    sentinels = SentinelSet(tmp_path_factory.mktemp("sentinels"))
    sentinels.start()
    yield sentinels
    sentinels.stop()


@pytest.fixture(scope="module")
def store(engines: Engines) -> Iterator[Store]:
    store = engines.new_store()
    yield store
    engines.release(store)


def is_well(chat: Deployment) -> bool:
    return run(("status",), chat.env, timeout_s=60).returncode == 0


def satisfies_the_doctor(chat: Deployment) -> bool:
    report = run(("doctor",), chat.env, timeout_s=60).stdout
    found = ("1 worker answers", "the sweeps run as scheduled", "Redis evicts nothing")
    return all(line in report for line in found)


async def chat_works(chat: Deployment, client: ClientFactory, name: Name) -> None:
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = await client(name("bob")).connect(chat.edges[0])
    assert (await alice.send(bob.username, "Hello"))["success"]
    await bob.expect("new_message")
    await asyncio.to_thread(eventually, lambda: is_well(chat), "all is well")
    await asyncio.to_thread(chat.run, "run", "offline_delivery")
    # A busy worker may answer the doctor too late.
    await asyncio.to_thread(eventually, lambda: satisfies_the_doctor(chat), "the doctor finds all well")


@pytest.mark.parametrize("user", ["", "app"])
def test_a_wrong_address_is_told_in_one_line(
    sentinels: SentinelSet, store: Store, tmp_path: Path, user: str
) -> None:
    url = sentinels.url(user=user)
    for wrong, told in {
        url.replace(f"/{PRIMARY}/", "/nobody/"): "the Sentinels know no primary `nobody` that is up",
        url.replace(SENTINEL_PASSWORD, "wrong"): f"which server is the primary `{PRIMARY}` (invalid username",
        url.replace(SERVER_PASSWORD, "wrong"): "cannot be used: invalid username-password pair",
        f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{PRIMARY}": f"primary `{PRIMARY}` (Connection refused)",
    }.items():
        env = Deployment(replace(store, redis_url=wrong), tmp_path).env
        done = run(("status",), env, timeout_s=60)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Redis at 127.0.0.1:" in done.stderr
        assert told in run(("doctor",), env, timeout_s=60).stdout


class Announcing(Proxy):
    """A Sentinel behind TLS, which names a host and a port of Redis that are behind TLS, too."""

    def __init__(self, port: int, authority: Authority, told: dict[bytes, bytes]) -> None:
        super().__init__(port, authority.server(HOST))
        self._told = told

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        write = sink.write

        def rewritten(data: bytes) -> None:
            for really, told in self._told.items():
                data = data.replace(really, told)
            write(data)

        sink.write = rewritten  # type: ignore[method-assign, assignment]
        await super()._pump(source, sink)


@pytest.fixture
async def secured(sentinels: SentinelSet, tmp_path: Path) -> AsyncIterator[str]:
    """The address of Sentinels and a Redis that can only be reached with TLS."""
    authority = Authority(tmp_path / "authority")
    primary = sentinels.primary()
    assert primary is not None
    redis = await Proxy(primary.port, authority.server(HOST)).start()
    told = {b"127.0.0.1": HOST.encode(), str(primary.port).encode(): str(redis.port).encode()}
    proxies = [await Announcing(one.port, authority, told).start() for one in sentinels.sentinels]
    hosts = ",".join(f"{HOST}:{proxy.port}" for proxy in proxies)
    options = f"sentinel_password={SENTINEL_PASSWORD}&ssl_ca_certs={authority.path}"
    yield f"rediss+sentinel://:{SERVER_PASSWORD}@{hosts}/{PRIMARY}/1?{options}"
    for proxy in (*proxies, redis):
        await proxy.cut()


async def test_certificates_of_redis_and_sentinels_are_verified(
    secured: str, store: Store, tmp_path: Path, client: ClientFactory, name: Name
) -> None:
    chat = Deployment(replace(store, redis_url=secured), tmp_path, forked=True)
    try:
        chat.start_functions()
        await asyncio.to_thread(chat.start)
        await chat_works(chat, client, name)
    finally:
        await asyncio.to_thread(chat.stop)
    chat.env["BBGRAM_REDIS_URL"] = secured.partition("&ssl_ca_certs")[0]
    done = await asyncio.to_thread(run, ("status",), chat.env, timeout_s=60)
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
    refused = chat.start_worker()
    await asyncio.to_thread(eventually, lambda: "queue_unreachable" in refused.log, "the worker gives up")
    await asyncio.to_thread(chat.stop)


def test_a_late_answer_is_not_taken_for_that_of_the_next_command(sentinels: SentinelSet) -> None:
    primary = sentinels.primary()
    assert primary is not None
    with make_redis(sentinels.url(), 0.3) as redis:
        redis.set("key", "value")
        with sentinels.frozen(primary), pytest.raises(RedisTimeoutError):
            redis.get("key")
        assert redis.exists("key") == 1


async def test_the_chat_goes_on_after_a_failover(
    sentinels: SentinelSet, store: Store, tmp_path: Path, client: ClientFactory, name: Name
) -> None:
    chat = Deployment(replace(store, redis_url=sentinels.url(user="app")), tmp_path, forked=True)
    try:
        chat.start_functions()
        await asyncio.to_thread(chat.start)
        await chat_works(chat, client, name)
        old, new = sentinels.servers
        old.kill()
        await asyncio.to_thread(sentinels.wait_primary, new)
        await asyncio.to_thread(eventually, lambda: is_well(chat), "all is well again")
        await chat_works(chat, client, name)
    finally:
        await asyncio.to_thread(chat.stop)
