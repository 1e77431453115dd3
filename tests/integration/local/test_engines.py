"""The engines start, keep their data, and report in one line why they cannot start."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from infra.errors import CommandError
from infra.local.engines import Engine, Postgres, Valkey
from infra.local.ports import free_port
from tests.harness.stack import is_gone

MakeEngine = Callable[[type[Engine]], Engine]


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[MakeEngine]:
    made: list[Engine] = []

    def make(kind: type[Engine]) -> Engine:
        made.append(kind(tmp_path, free_port()))
        return made[-1]

    yield make
    for engine in made:
        engine.stop()


def started(engine: Engine) -> Engine:
    engine.prepare()
    engine.start()
    engine.wait_ready()
    return engine


def remember(engine: Engine) -> None:
    if isinstance(engine, Valkey):
        with Redis.from_url(engine.url) as redis:
            redis.set("word", "kept")
            redis.waitaof(1, 0, 2000)
    else:
        with psycopg.connect(engine.url) as conn:
            conn.execute("CREATE TABLE words AS SELECT 'kept' AS word")


def recall(engine: Engine) -> str:
    if isinstance(engine, Valkey):
        with Redis.from_url(engine.url, decode_responses=True) as redis:
            return str(redis.get("word"))
    with psycopg.connect(engine.url) as conn:
        row = conn.execute("SELECT word FROM words").fetchone()
    return str(row[0] if row else None)


@pytest.mark.parametrize("kind", [Postgres, Valkey])
@pytest.mark.parametrize("end", [Engine.stop, Engine.kill])
def test_data_outlives_the_engine_however_it_ends(
    make_engine: MakeEngine, kind: type[Engine], end: Callable[[Engine], None]
) -> None:
    engine = started(make_engine(kind))
    remember(engine)
    end(engine)
    assert engine.pid is None
    assert recall(started(make_engine(kind))) == "kept"


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"two words of it", b"long enough\n"])
@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_an_engine_whose_password_is_damaged_names_the_file(
    make_engine: MakeEngine, kind: type[Engine], damage: bytes
) -> None:
    engine = make_engine(kind)
    engine.folder.mkdir(parents=True)
    (engine.folder / "password").write_bytes(damage)
    with pytest.raises(CommandError, match=r"password is damaged; restore it, or delete \S+, and with it"):
        _ = engine.url


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_an_engine_left_running_is_stopped_before_the_next_one_starts(
    make_engine: MakeEngine, kind: type[Engine]
) -> None:
    left = started(make_engine(kind))
    remember(left)
    assert recall(started(make_engine(kind))) == "kept"
    assert left.pid is None


def test_a_killed_postgres_commits_nothing_any_more(make_engine: MakeEngine) -> None:
    engine = started(make_engine(Postgres))
    with psycopg.connect(engine.url, autocommit=True) as conn:
        backend = psutil.Process(conn.info.backend_pid)
        backend.suspend()  # as a busy machine does
        engine.kill()
        assert is_gone(backend)


def test_the_pid_of_a_crashed_postgres_may_belong_to_another_process_by_now(make_engine: MakeEngine) -> None:
    engine = started(make_engine(Postgres))
    engine.kill()
    file = engine.folder / "cluster" / "postmaster.pid"
    file.write_text(file.read_text().replace(file.read_text().splitlines()[0], str(os.getpid()), 1))
    started(engine)


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_engines_listen_on_loopback_only_and_ask_for_a_password(
    make_engine: MakeEngine, kind: type[Engine]
) -> None:
    engine = started(make_engine(kind))
    assert engine.pid is not None
    listening = {
        entry.laddr.ip
        for entry in psutil.Process(engine.pid).net_connections("inet")
        if entry.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    password = (engine.folder / "password").read_text()
    assert password in engine.url
    assert (engine.folder / "password").stat().st_mode & 0o077 == 0
    assert password not in " ".join(psutil.Process(engine.pid).cmdline())
    wrong = type(engine)(engine.folder.parent / "elsewhere", engine.port)
    assert not wrong.is_ready()


def test_postgres_is_as_durable_as_in_production(make_engine: MakeEngine) -> None:
    engine = started(make_engine(Postgres))
    names = "fsync", "synchronous_commit", "full_page_writes", "server_encoding", "shared_preload_libraries"
    with psycopg.connect(engine.url) as conn:
        rows = [conn.execute(f"SHOW {name}").fetchone() for name in names]
    assert rows == [("on",), ("on",), ("on",), ("UTF8",), ("pg_stat_statements",)]


def test_valkey_keeps_everything_and_never_evicts(make_engine: MakeEngine) -> None:
    with Redis.from_url(started(make_engine(Valkey)).url, decode_responses=True) as redis:
        found = redis.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert found == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


def test_an_interrupted_initdb_is_repeated(make_engine: MakeEngine) -> None:
    engine = make_engine(Postgres)
    unfinished = engine.folder / "cluster.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    started(engine)


def test_a_damaged_cluster_is_reported_in_one_line(make_engine: MakeEngine) -> None:
    engine = make_engine(Postgres)
    engine.prepare()
    (engine.folder / "cluster" / "global" / "pg_control").unlink()
    engine.prepare()
    engine.start()
    with pytest.raises(CommandError, match=r"^postgres ended: .*pg_control.*\(see .*/log\)$"):
        engine.wait_ready()


def test_a_folder_without_a_version_is_reported_in_one_line(make_engine: MakeEngine) -> None:
    engine = make_engine(Postgres)
    (engine.folder / "cluster").mkdir(parents=True)
    with pytest.raises(CommandError, match=r"is damaged \(no PG_VERSION\); restore it, or remove "):
        engine.prepare()


def test_a_cluster_of_another_version_is_reported_in_one_line(make_engine: MakeEngine) -> None:
    engine = make_engine(Postgres)
    engine.prepare()
    (engine.folder / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(CommandError, match="was made by Postgres 16, this is 18; set BBGRAM_DATA_DIR"):
        engine.prepare()


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path, kind: type[Engine]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CommandError, match=r"cannot be written \(Not a directory\); make it writable or set BB"
    ):
        kind(tmp_path / "file", free_port()).prepare()


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_port_in_use_is_reported_in_one_line(
    make_engine: MakeEngine, kind: type[Engine], tmp_path: Path
) -> None:
    first = started(make_engine(kind))
    second = kind(tmp_path / "second", first.port)
    second.prepare()
    second.start()
    second._process.wait(10)  # type: ignore[union-attr]
    with pytest.raises(CommandError, match=r"(?i)^\w+ ended: .*(could not create|failed listening)"):
        second.wait_ready()
