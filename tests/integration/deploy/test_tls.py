"""Redis and Postgres behind TLS: every process checks their certificates, also those of an own authority."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ClientFactory, Name
from tests.harness.deployment import Deployment, Part
from tests.harness.engines import Engines, Store
from tests.harness.forks import run
from tests.harness.tls import Authority, with_tls
from tests.harness.waiting import eventually

HOST = "localhost"


class Secured:
    """A store that is reached with TLS only, by clients that trust an authority."""

    def __init__(self, store: Store, redis_port: int, postgres_port: int) -> None:
        self._store = store
        self._redis_port = redis_port
        self._postgres_port = postgres_port

    def redis(self, options: str, host: str = HOST) -> str:
        parts = urlsplit(self._store.redis_url)
        login, _, _ = parts.netloc.rpartition("@")
        netloc = f"{login}@{host}:{self._redis_port}" if login else f"{host}:{self._redis_port}"
        return f"rediss://{netloc}{parts.path}{options}"

    def postgres(self, authority: Path | str, host: str = HOST) -> str:
        parts = urlsplit(self._store.database_url)
        login, _, _ = parts.netloc.rpartition("@")
        options = f"sslmode=verify-full&sslnegotiation=direct&sslrootcert={authority}"
        return f"postgresql://{login}@{host}:{self._postgres_port}{parts.path}?{options}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authorities") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authorities") / "theirs")


@pytest.fixture(scope="module")
def secured(engines: Engines, authority: Authority) -> Iterator[Secured]:
    store = engines.new_store()
    ports = [urlsplit(address).port for address in (store.redis_url, store.database_url)]
    with ExitStack() as stack:
        redis, postgres = [
            stack.enter_context(with_tls(port or 0, authority.server(HOST, *protocols)))
            for port, protocols in zip(ports, ([], ["postgresql"]), strict=True)
        ]
        yield Secured(store, redis, postgres)
    engines.release(store)


def deployment(secured: Secured, authority: Authority, folder: Path, redis_options: str = "") -> Deployment:
    redis = secured.redis(redis_options or f"?ssl_ca_certs={authority.path}")
    return Deployment(Store(secured.postgres(authority.path), redis), folder, forked=True)


def _is_refused(process: Part) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in process.log


async def test_a_chat_whose_engines_are_behind_tls(
    secured: Secured, authority: Authority, tmp_path: Path, client: ClientFactory, name: Name
) -> None:
    chat = deployment(secured, authority, tmp_path)
    try:
        chat.start_functions()
        await asyncio.to_thread(chat.start)
        alice = await client(name("alice")).connect(chat.edges[0])
        bob = await client(name("bob")).connect(chat.edges[0])
        assert (await alice.send(bob.username, "Hello"))["success"]
        await bob.expect("new_message")
        await asyncio.to_thread(eventually, lambda: run(("status",), chat.env).returncode == 0, "all is well")
        await asyncio.to_thread(chat.run, "run", "offline_delivery")
    finally:
        await asyncio.to_thread(chat.stop)


@pytest.mark.parametrize("trusted", ["nobody else", "another authority"])
def test_no_process_talks_to_a_redis_with_a_certificate_that_it_cannot_verify(
    secured: Secured, authority: Authority, stranger: Authority, tmp_path: Path, trusted: str
) -> None:
    options = "" if trusted == "nobody else" else f"?ssl_ca_certs={stranger.path}"
    redis = secured.redis(options)
    chat = Deployment(Store(secured.postgres(authority.path), redis), tmp_path, forked=True)
    try:
        edge = chat.start_edge(wait=False)
        parts = {"worker": chat.start_worker(), "functions": chat.start_functions(), "edge": edge}
        for part, process in parts.items():
            eventually(partial(_is_refused, process), part)
        done = run(("status",), chat.env)
        assert done.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
        assert done.stderr.count("\n") == 1
        told = run(("doctor",), chat.env)
        assert told.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in told.stdout
    finally:
        chat.stop()


def test_a_certificate_for_another_host_is_refused(
    secured: Secured, authority: Authority, tmp_path: Path
) -> None:
    store = Store(
        secured.postgres(authority.path, "127.0.0.1"),
        secured.redis(f"?ssl_ca_certs={authority.path}", "127.0.0.1"),
    )
    chat = Deployment(store, tmp_path, forked=True)
    for command in ("status", "migrate"):
        done = run((command,), chat.env)
        assert done.returncode == 1, command
        assert "certificate" in done.stderr.lower(), done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("trusted", "host", "told"),
    [
        ("another authority", HOST, "certificate verify failed"),
        ("the right authority", "127.0.0.1", "does not match host name"),
        ("those of the system", HOST, "certificate verify failed"),
        ("a file that is missing", HOST, "does not exist"),
    ],
)
def test_no_process_talks_to_a_postgres_with_a_certificate_that_it_cannot_verify(
    secured: Secured,
    authority: Authority,
    stranger: Authority,
    tmp_path: Path,
    trusted: str,
    host: str,
    told: str,
) -> None:
    authorities: dict[str, Path | str] = {
        "another authority": stranger.path,
        "the right authority": authority.path,
        "those of the system": "system",
        "a file that is missing": tmp_path / "missing.pem",
    }
    redis = secured.redis(f"?ssl_ca_certs={authority.path}")
    chat = Deployment(Store(secured.postgres(authorities[trusted], host), redis), tmp_path, forked=True)
    try:
        worker = chat.start_worker()
        for command in (
            ("migrate",),
            ("dead-letters",),
            ("reports",),
            ("run", "cleanup"),
            ("status",),
            ("doctor",),
        ):
            done = run(command, chat.env, timeout_s=60)
            assert done.returncode == 1, command
            (line,) = [one for one in (done.stdout + done.stderr).splitlines() if "Postgres at" in one]
            assert told in line
        eventually(lambda: told in worker.log, "the worker says so")
    finally:
        chat.stop()
