"""`bbgram status` shows what runs and what piles up, and its exit code says whether all is well."""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from infra.version import VERSION
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import Deployment, Part, with_profile
from tests.harness.engines import Engines
from tests.harness.forks import run
from tests.harness.stack import DOCTOR_S
from tests.harness.waiting import eventually, until


class Told(NamedTuple):
    code: int
    out: str
    error: str


def status(chat: Deployment, *options: str, **settings: str) -> Told:
    env = {**chat.env, **{f"BBGRAM_{name.upper()}": value for name, value in settings.items()}}
    done = run(("status", *options), env)
    return Told(done.returncode, done.stdout, done.stderr)


def overview(chat: Deployment) -> dict[str, Any]:
    told = status(chat, "--json")
    found: dict[str, Any] = json.loads(told.out)
    assert told.code == (1 if found["problems"] else 0)
    return found


@pytest.fixture(scope="module")
def whole(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    chat = Deployment(engines.new_store(), tmp_path_factory.mktemp("whole"), forked=True)
    chat.start_functions()
    chat.start(edges=2, workers=2)
    eventually(lambda: status(chat).code == 0, "all is well", pause_s=DOCTOR_S)
    yield chat
    chat.stop()


def test_everything_that_runs_is_shown(whole: Deployment) -> None:
    told = status(whole)
    assert (told.code, told.error) == (0, "")
    for line in ("Edges: 2", "Workers: 2", "Functions workers: 1", "Beat: 1", "All is well"):
        assert line in told.out.splitlines()
    assert told.out.count(VERSION) == 6
    assert "\x1b" not in told.out, "colours are for terminals"


async def test_it_shows_how_much_each_process_has_to_do(
    whole: Deployment, client: ClientFactory, name: Name
) -> None:
    await client(name("alice")).connect(whole.edges[0])

    def sockets() -> list[float]:
        return sorted(
            sample[2]
            for process in overview(whole)["processes"]
            for sample in process["samples"]
            if sample[0] == "bbgram_edge_sockets"
        )

    await until(lambda: sockets() == [0, 1], "the socket is shown")


def test_an_idle_process_comes_round_all_the_time(whole: Deployment) -> None:
    processes = overview(whole)["processes"]
    assert [process["part"] for process in processes] == [
        *("edge", "edge", "worker", "worker", "functions", "beat")
    ]

    # Longer than any may be silent, so that a beat at the start does not do.
    eventually(lambda: min(time.time() - one["startedAt"] for one in processes) > 12, "some time has passed")
    eventually(lambda: max(one["pulseS"] for one in overview(whole)["processes"]) < 6, "all come round")


def test_what_piles_up_is_a_problem(whole: Deployment, name: Name) -> None:
    with_profile(whole, name("carol"))
    whole.rows(
        "INSERT INTO bbgram.dead_letters (id, event, user_id, payload, error) "
        "SELECT gen_random_uuid(), 'typing', id, '{}', 'made up' FROM bbgram.profiles WHERE username = :user",
        user=name("carol"),
    )
    try:
        told = status(whole)
    finally:
        whole.rows("DELETE FROM bbgram.dead_letters")
    assert told.code == 1
    assert "Problem: there are 1 dead letters: see `bbgram dead-letters`" in told.out


@pytest.mark.parametrize(("hours", "code"), [(11, 0), (13, 1)])
def test_open_reports_are_counted_and_a_problem_once_one_has_waited_for_long(
    whole: Deployment, hours: int, code: int
) -> None:
    whole.rows(
        "INSERT INTO bbgram.reports"
        " (id, reporter_id, reported_id, chat_id, seq, reason, messages, created_at)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'spam', '[]',"
        " now() - make_interval(hours => hours) FROM unnest(ARRAY[1, CAST(:hours AS int)]) hours",
        hours=hours,
    )
    try:
        told = status(whole)
    finally:
        whole.rows("DELETE FROM bbgram.reports")
    assert told.code == code
    assert "2 open reports" in told.out
    problem = "Problem: 2 reports are open, one for 13 h: see `bbgram reports`"
    assert (problem in told.out.splitlines()) == bool(code)


@pytest.mark.parametrize(("minutes", "code"), [(10, 0), (20, 1)])
def test_webhooks_that_wait_for_long_are_a_problem(whole: Deployment, minutes: int, code: int) -> None:
    whole.rows(
        "INSERT INTO bbgram.outbox (endpoint, id, event, about, body, created_at) VALUES"
        " ('app', 'id', 'message.read', gen_random_uuid(), '{}', now() - make_interval(mins => :minutes))",
        minutes=minutes,
    )
    try:
        told = status(whole)
    finally:
        whole.rows("DELETE FROM bbgram.outbox")
    assert told.code == code
    problem = "Problem: an event of webhooks has waited for 20 min: see `bbgram webhooks`"
    assert (problem in told.out.splitlines()) == bool(code)


def test_webhooks_that_were_given_up_are_a_problem(whole: Deployment) -> None:
    whole.rows(
        "INSERT INTO bbgram.outbox (endpoint, id, event, about, body, dead_at)"
        " VALUES ('app', 'id', 'message.read', gen_random_uuid(), '{}', now())"
    )
    try:
        told = status(whole)
    finally:
        whole.rows("DELETE FROM bbgram.outbox")
    assert "Problem: 1 events of webhooks were given up: see `bbgram webhooks`" in told.out.splitlines()


def test_redis_is_enough(whole: Deployment) -> None:
    env = {name: value for name, value in whole.env.items() if name != "BBGRAM_DATABASE_URL"}
    done = run(("status",), env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Database" not in done.stdout


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("edge", "no edge process runs: start `bbgram edge`"),
        ("worker", "no worker process runs: start `bbgram worker`"),
        ("functions", "no functions process runs: start `bbgram worker --functions`"),
        ("beat", "no beat process runs: start `bbgram beat`"),
    ],
)
def test_a_part_that_stops_is_missed_at_once(deploy: DeploymentFactory, part: str, problem: str) -> None:
    chat = deploy()
    chat.start_functions()
    chat.start()
    eventually(lambda: status(chat).code == 0, "all is well", pause_s=DOCTOR_S)
    parts: dict[str, Part] = {
        "edge": chat.edges[0],
        "worker": chat.workers[0],
        "functions": chat.functions[0],
        "beat": chat.beats[0],
    }
    parts[part].stop()
    told = status(chat)
    assert told.code == 1
    assert any(line.startswith(f"Problem: {problem}") for line in told.out.splitlines()), told.out


def test_functions_may_run_elsewhere(deploy: DeploymentFactory) -> None:
    chat = deploy(beat_functions="false").start()
    eventually(lambda: status(chat).code == 0, "all is well", pause_s=DOCTOR_S)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"redis_url": "redis://127.0.0.1:1"}, "Error: status failed: Redis at 127.0.0.1:1 cannot be used"),
        (
            {"database_url": "postgresql://127.0.0.1:1/chat"},
            "Error: status failed: Postgres at 127.0.0.1:1 cannot be used",
        ),
    ],
    ids=["Redis", "Postgres"],
)
def test_a_service_that_does_not_answer_is_one_line(
    whole: Deployment, settings: dict[str, str], line: str
) -> None:
    told = status(whole, **settings)
    assert (told.code, told.out) == (1, "")
    assert told.error.startswith(line)
    assert told.error.count("\n") == 1


def test_a_wrong_setting_is_one_line(whole: Deployment) -> None:
    told = status(whole, redis_url="http://127.0.0.1")
    assert (told.code, told.out) == (2, "")
    assert told.error.startswith("Error: BBGRAM_REDIS_URL is wrong")
