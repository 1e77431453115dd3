"""Every query of dashboards and rules finds something in a real Prometheus that scrapes a loaded chat."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import socketio
from celery import Celery

from infra.wire import names
from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.engines import Engines
from tests.harness.observed import PARTS, Observed
from tests.harness.prometheus import Prometheus, prometheus
from tests.harness.promql import queries, selectors
from tests.harness.server_api import API_KEYS, Backend
from tests.harness.waiting import until

QUIET = {
    "bbgram:log_lines:increase10m",
    "bbgram_edge_jwks_fetches_total",
    "bbgram_edge_refused_connections_total",
    "bbgram_function_missed_total",
    "bbgram_notifications_total",
    "bbgram_postgres_errors_total",
    "bbgram_redis_errors_total",
    "bbgram_webhook_events_total",
    "bbgram_webhook_request_seconds_count",
    "bbgram_webhook_request_seconds_sum",
    "bbgram_worker_dead_letters_total",
    "bbgram_worker_hook_messages_total",
    "bbgram_worker_hook_requests_total",
    "pg_settings_max_connections",
    "pg_stat_activity_count",
    "redis_memory_max_bytes",
    "redis_memory_used_bytes",
}
"""What has no samples while all is well: queries that need one of them may find nothing."""

ABSENCE = {
    *("BbgramProcessDown", "BbgramPartMissing", "BbgramEdgeNotReady", "BbgramWorkersDoNotAnswer"),
    *("BbgramSweepMissing", "BbgramFunctionMissing", "BbgramEdgeRegisteredAnew"),
}
"""Alerts that are not even pending on a chat that runs, however slow the machine."""


@pytest.fixture(scope="module")
def observed(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A chat of real processes: forked ones share what they import, and so serve each other's metrics."""
    folder = tmp_path_factory.mktemp("dashboards")
    chat = Deployment(engines.new_store(), folder, sweep_s=0.2, sweep_after_s=0.2, api_keys=API_KEYS)
    yield Observed(chat)
    chat.stop()


@pytest.fixture(scope="module")
def watching(observed: Observed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(observed.ports.values(), tmp_path_factory.mktemp("watching") / "prometheus") as server:
        yield server


async def chatter(alice: Client, bob: Client) -> None:
    """Send one message after another, good ones and bad ones."""
    while True:
        await asyncio.gather(*(alice.send(bob.username, "Hello") for _ in range(10)))
        await alice.send("nobody", "Hello")
        await alice.call("no_such_event", {})


async def come_and_go(observed: Observed, client: ClientFactory, name: Name) -> None:
    """Sign in and out again and again, try to sign in with a bad token, and call the server API."""
    backend = Backend(observed.edge)
    while True:
        assert (await backend.call("GET", f"/v1/users/{user_id_of(name('carol'))}/chats")).status_code == 200
        await (await client(name("carol")).connect(observed.edge)).close()
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client(name("mallory")).connect(observed.edge, token="garbage")


@asynccontextmanager
async def load(observed: Observed, client: ClientFactory, name: Name) -> AsyncIterator[None]:
    """Let people chat while inside the block, one of whom never confirms what they get."""
    pairs = [(name(f"alice{place}"), name(f"bob{place}")) for place in range(3)]
    everybody = [
        (
            await client(one).connect(observed.edge),
            await client(other, acks=bool(place)).connect(observed.edge),
        )
        for place, (one, other) in enumerate(pairs)
    ]
    passing = come_and_go(observed, client, name)
    tasks = [asyncio.create_task(each) for each in (passing, *(chatter(*pair) for pair in everybody))]
    yield
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run_functions(observed: Observed) -> None:
    with Celery(broker=observed.chat.store.redis_url) as app:
        for function in ("offline_delivery", "cleanup"):
            app.send_task(names.FUNCTION_TASK, args=[function], queue=names.FUNCTIONS_QUEUE)


async def test_every_query_finds_what_it_asks_for(
    observed: Observed, watching: Prometheus, client: ClientFactory, name: Name
) -> None:
    async with load(observed, client, name):
        run_functions(observed)
        await observed.becomes(1, "bbgram_function_runs_total", function="cleanup", outcome="complete")
        # A rate needs two samples, and what is recorded from it comes a second later.
        rated = "bbgram:slo_errors:ratio_rate6h > -1"
        await until(lambda: len(watching.query(rated)) == 4, "all service levels are measured")
        await until(lambda: watching.query(ROUND), "each process was scraped often enough")
        found = {
            place: watching.query(expr.replace("$__rate_interval", "1m")) for place, expr in QUERIES.items()
        }
        served = {metric for metric in METRICS if watching.query(metric)}
    assert {sample["metric"]["instance"] for sample in watching.query("up == 1")} == {
        f"127.0.0.1:{port}" for port in observed.ports.values()
    }
    assert METRICS - served == QUIET
    assert [place for place, result in found.items() if not result and must_find(place)] == []
    assert watching.broken_rules() == {}
    assert {sample["metric"]["alertname"] for sample in watching.query("ALERTS")} & ABSENCE == set()


QUERIES = queries()
METRICS = {one.metric for expr in QUERIES.values() for one in selectors(expr)} - {"ALERTS"}
ROUND = f"count(count_over_time(up[1m]) >= 5) == {len(PARTS)}"


def must_find(place: str) -> bool:
    """Tell whether a query finds something while all is well: alerts do not."""
    expr = QUERIES[place]
    is_condition = place.startswith("Bbgram") or expr.endswith("> 0")
    concerns = {place.split()[0], *(one.metric for one in selectors(expr))}
    return not is_condition and not concerns & {"ALERTS", *QUIET}
