"""Operators see what waits for the app's backend, try an endpoint, and have sent again what was given up."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from functions.errors import TryLater
from functions.webhooks import endpoint as endpoints
from functions.webhooks.sender import make_endpoint
from infra.cli.doctor.functions import webhooks_finding
from infra.cli.webhooks import webhooks
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.store.outbox import Fact, add
from infra.wire.webhooks import Event
from tests.harness.engines import Store
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.conftest import BenchFactory
from workers.piles import count_piles

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Command = Callable[..., Result]


@pytest.fixture
def bench(make_bench: BenchFactory) -> WorkerBench:
    return make_bench()


@pytest.fixture
def command(bench: WorkerBench, bench_store: Store, monkeypatch: pytest.MonkeyPatch) -> Command:
    for name, value in {
        "DATABASE_URL": bench_store.database_url,
        "WEBHOOKS": "app,other:message.read",
        "WEBHOOKS_URLS": "app=https://localhost/hook,other=https://other.example/",
        "WEBHOOKS_SECRETS": f"app={SECRET},other={SECRET}",
    }.items():
        monkeypatch.setenv(f"BBGRAM_{name}", value)
    return lambda *words: CliRunner().invoke(webhooks, words)


def tell(bench: WorkerBench, endpoint: str = "app", count: int = 1) -> None:
    facts = [Fact("message.created", str(uuid4()), str(uuid4()), "{}") for _ in range(count)]
    with bench.engine.begin() as conn:
        add(conn, facts, {"message.created": [endpoint]})


def test_the_list_shows_what_waits_and_what_is_wrong(bench: WorkerBench, command: Command) -> None:
    tell(bench, count=2)
    tell(bench, "gone")
    bench.rows(
        "INSERT INTO webhook_endpoints (name, tries, failing_since, error)"
        " VALUES ('app', 3, now(), 'status 503')"
    )
    head, app, gone, other = command().output.splitlines()
    assert head.split() == ["ENDPOINT", "WAITING", "OLDEST", "GIVEN", "UP", "STATE"]
    assert app.split()[:2] == ["app", "2"]
    assert "failing since " in app
    assert "(status 503)" in app
    assert gone.endswith("not in BBGRAM_WEBHOOKS, so nothing is sent")
    assert other.split() == ["other", "0", "-", "0", "well"]
    told = {one["endpoint"]: one for one in json.loads(command("--json").output)}
    assert (told["app"]["waiting"], told["app"]["error"]) == (2, "status 503")
    assert not told["gone"]["configured"]


def test_what_was_given_up_is_sent_again_on_demand(bench: WorkerBench, command: Command) -> None:
    tell(bench, count=3)
    tell(bench, "other")
    bench.rows("UPDATE outbox SET dead_at = now(), error = 'status 500'")
    assert count_piles(bench.engine).dead_webhooks == 4
    assert command("replay", "app").output == "3 events will be sent again\n"
    assert count_piles(bench.engine).dead_webhooks == 1
    assert count_piles(bench.engine).webhook_age_s > 0
    assert command("replay", "app").output == "0 events will be sent again\n"


def test_a_test_that_is_accepted_ends_the_pause(
    bench: WorkerBench, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Event] = []
    monkeypatch.setattr(endpoints.Endpoint, "post", lambda _, events: sent.extend(events))
    bench.rows(
        "INSERT INTO webhook_endpoints (name, tries, failing_since, next_at)"
        " VALUES ('app', 9, now(), now() + interval '1 hour')"
    )
    assert command("test", "app").output == "app accepted the test\n"
    (event,) = sent
    assert (event.type, event.is_test) == ("test", True)
    (state,) = bench.rows("SELECT tries, next_at <= now() AS is_open FROM webhook_endpoints")
    assert (state.tries, state.is_open) == (0, True)


def test_a_test_that_fails_says_why_and_changes_nothing(bench: WorkerBench, command: Command) -> None:
    result = command("test", "app")
    assert result.exit_code == 1
    assert str(result.exception) == "app did not accept the test: the host is not public"
    assert isinstance(result.exception and result.exception.__cause__, TryLater)
    assert bench.rows("SELECT * FROM webhook_endpoints") == []


@pytest.mark.parametrize("verb", ["test", "replay"])
def test_an_unknown_endpoint_is_named(command: Command, verb: str) -> None:
    result = command(verb, "nobody")
    assert result.exit_code == 2
    assert "BBGRAM_WEBHOOKS names no endpoint nobody" in result.output


def test_the_doctor_names_what_is_wrong(bench: WorkerBench, command: Command) -> None:
    settings = FunctionSettings.load()
    tell(bench)
    assert webhooks_finding(settings).line().endswith("events are sent to app, other")
    bench.rows("UPDATE outbox SET dead_at = now()")
    assert "bbgram webhooks replay" in (webhooks_finding(settings).advice or "")
    tell(bench, "gone")
    assert "events wait for gone" in webhooks_finding(settings).line()
    bench.rows("INSERT INTO webhook_endpoints (name, failing_since) VALUES ('app', now())")
    assert "app fails" in webhooks_finding(settings).line()


def test_the_doctor_finds_endpoints_without_an_address() -> None:
    settings = FunctionSettings.load(database_url="postgresql://nowhere/chat", webhooks="app")
    assert "BBGRAM_WEBHOOKS_URLS lacks app" in webhooks_finding(settings).line()
    with pytest.raises(SettingsError, match="lacks app"):
        make_endpoint(settings, "app")


def test_the_age_is_that_of_the_oldest_event_of_any_endpoint(bench: WorkerBench, command: Command) -> None:
    for endpoint, minutes in (("b", 5), ("a", 1), ("c", 20), ("d", 2)):
        tell(bench, endpoint)
        age = "created_at = now() - make_interval(mins => CAST(:m AS int))"
        bench.rows(f"UPDATE outbox SET {age} WHERE endpoint = :e", m=minutes, e=endpoint)
    assert 1_200 <= count_piles(bench.engine).webhook_age_s < 1_300
    bench.rows("UPDATE outbox SET dead_at = now() WHERE endpoint = 'c'")
    assert 300 <= count_piles(bench.engine).webhook_age_s < 400
