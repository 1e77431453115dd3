"""What operators see of a running chat: each process serves its metrics, and they say what happened."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
import socketio

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.contract.metric_table import metrics_of, name_of
from tests.harness.client import Client
from tests.harness.deployment import Deployment, with_profile
from tests.harness.engines import Engines, free_port
from tests.harness.forks import run
from tests.harness.metrics import scrape
from tests.harness.observed import PARTS, Observed
from tests.harness.waiting import until


@pytest.fixture(scope="module")
def observed(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    chat = Deployment(
        engines.new_store(),
        tmp_path_factory.mktemp("observed"),
        forked=True,
        sweep_s=0.2,
        sweep_after_s=0.2,
        lanes=1,
    )
    yield Observed(chat)
    chat.stop()


async def talk(observed: Observed, client: ClientFactory, name: Name) -> tuple[Client, Client]:
    alice = await client(name("alice")).connect(observed.edge)
    bob = await client(name("bob")).connect(observed.edge)
    return alice, bob


def test_every_metric_is_served_by_the_process_that_the_docs_name(observed: Observed) -> None:
    everywhere = {name_of(metric).removesuffix("_total") for metric in metrics_of("all")}
    for part in PARTS:
        served = {name for name in observed.of(part).families if name.startswith("bbgram_")}
        own = set(metrics_of(part)) if part != "beat" else set()
        if part == "functions":
            # Functions run in a worker, too.
            assert {name_of(metric).removesuffix("_total") for metric in metrics_of("worker")} <= served
        assert everywhere | {name_of(metric).removesuffix("_total") for metric in own} <= served, part


@pytest.mark.parametrize("part", PARTS)
def test_each_process_says_what_it_is_and_what_it_needs(observed: Observed, part: str) -> None:
    scraped = observed.of(part)
    (build,) = scraped.families["bbgram_build_info"].samples
    assert build.labels["part"] == part
    assert build.labels["version"][0].isdigit()
    assert scraped.value("process_resident_memory_bytes") > 0


async def test_what_clients_do_is_counted(observed: Observed, client: ClientFactory, name: Name) -> None:
    before = observed.of("edge")
    alice, bob = await talk(observed, client, name)
    await observed.becomes(2, "bbgram_edge_sockets")
    await observed.becomes(2, "bbgram_edge_users")
    await observed.becomes(1, "bbgram_edge_lease_held")
    await observed.becomes(1, "bbgram_edge_inbox_reading")
    await observed.becomes(1, "bbgram_edge_workers_answering")
    for number in range(3):
        assert (await alice.send(bob.username, str(number)))["success"]
    await bob.expect("new_message", count=3)
    assert not (await alice.send(name("nobody"), "Hello"))["success"]
    await alice.call("no_such_event", {})
    after = observed.of("edge")

    def grew(metric: str, **labels: str) -> float:
        return after.value(metric, **labels) - before.value(metric, **labels)

    assert grew("bbgram_edge_sign_ins_total", outcome="ok") == 2
    assert grew("bbgram_edge_events_total", event="send_message", outcome="ok") == 3
    assert grew("bbgram_edge_events_total", event="send_message", outcome="user_not_found") == 1
    assert grew("bbgram_edge_events_total", event="unknown", outcome="unknown_event") == 1
    assert grew("bbgram_edge_ack_seconds_count", event="send_message") == 4
    assert 0 < grew("bbgram_edge_ack_seconds_sum", event="send_message") < 60
    assert grew("bbgram_edge_delivery_seconds_count") == 3
    assert 0 <= grew("bbgram_edge_delivery_seconds_sum") < 30
    assert grew("bbgram_edge_batch_events_count") >= 4
    assert grew("bbgram_edge_dispatch_seconds_count") >= 4
    assert 0 < grew("bbgram_edge_dispatch_seconds_sum") < 30
    assert grew("bbgram_edge_received_bytes_total") > 4 * len('42["send_message",{}]')
    assert grew("bbgram_edge_sent_bytes_total") > grew("bbgram_edge_received_bytes_total")


async def test_refusals_and_ends_are_counted_by_their_reason(
    observed: Observed, client: ClientFactory, name: Name
) -> None:
    edge = observed.edge
    signed_out = observed.value("bbgram_edge_disconnects_total", reason="client_disconnect", signed_in="yes")
    alice = await client(name("alice")).connect(edge)
    await alice.close()
    await observed.becomes(
        signed_out + 1, "bbgram_edge_disconnects_total", reason="client_disconnect", signed_in="yes"
    )
    refused = observed.value("bbgram_edge_sign_ins_total", outcome="malformed")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client(name("mallory")).connect(edge, token="garbage")
    await observed.becomes(refused + 1, "bbgram_edge_sign_ins_total", outcome="malformed")


async def test_connections_that_are_refused_are_counted_by_the_limit(observed: Observed) -> None:
    port = free_port()
    strict = observed.chat.start_edge(metrics_port=port, sockets_per_address=3)
    address = f"{strict.url}/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(verify=False) as http:
        codes = [(await http.get(address)).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert scrape(port).value("bbgram_edge_refused_connections_total", limit="sockets") == 2
    strict.stop()


async def test_the_age_of_the_oldest_waiting_event_grows_while_no_worker_works(
    observed: Observed, client: ClientFactory, name: Name
) -> None:
    alice, bob = await talk(observed, client, name)
    await alice.settle()
    await bob.settle()
    (worker,) = observed.chat.workers
    redispatched = observed.value("bbgram_edge_redispatches_total")
    with worker.paused():
        sending = [asyncio.create_task(alice.send(bob.username, str(number))) for number in range(5)]
        await observed.becomes(5, "bbgram_edge_waiting_events", lane="0")
        await until(
            lambda: observed.value("bbgram_edge_oldest_waiting_seconds", lane="0") > 2.5, "the oldest ages"
        )
        assert observed.value("bbgram_edge_redispatches_total") > redispatched
    assert all([(await one)["success"] for one in sending])
    await observed.becomes(0, "bbgram_edge_waiting_events", lane="0")
    await observed.becomes(0, "bbgram_edge_oldest_waiting_seconds", lane="0")


async def test_what_workers_do_is_counted(observed: Observed, client: ClientFactory, name: Name) -> None:
    alice, bob = await talk(observed, client, name)
    # What the test before had sent again has been handled by then.
    await alice.settle()
    before = observed.of("worker")
    await alice.send(bob.username, "Hello")
    await bob.expect("new_message")
    assert not (await alice.send(name("nobody"), "Hello"))["success"]
    await alice.settle()
    after = observed.of("worker")

    def grew(metric: str, **labels: str) -> float:
        return after.value(metric, **labels) - before.value(metric, **labels)

    assert grew("bbgram_worker_batches_total", outcome="done") >= 2
    assert grew("bbgram_worker_batch_seconds_count") >= 2
    assert grew("bbgram_worker_events_total", event="send_message", outcome="ok") == 1
    assert grew("bbgram_worker_events_total", event="send_message", outcome="user_not_found") == 1
    assert grew("bbgram_worker_handler_seconds_count", event="send_message") == 2
    assert grew("bbgram_worker_publications_total") >= 1
    assert grew("bbgram_worker_publish_seconds_count") >= 2
    assert after.value("bbgram_worker_last_batch_timestamp_seconds") > 1.7e9


async def test_the_sweep_counts_what_it_repeats_and_what_piles_up(
    observed: Observed, client: ClientFactory, name: Name
) -> None:
    alice = await client(name("alice")).connect(observed.edge)
    bob = await client(name("bob"), acks=False).connect(observed.edge)
    repeated = observed.value("bbgram_worker_swept_messages_total")
    await alice.send(bob.username, "Hello")
    await observed.becomes(repeated + 1, "bbgram_worker_swept_messages_total")
    swept = observed.value("bbgram_worker_sweeps_total", outcome="done")
    await until(lambda: observed.value("bbgram_worker_sweeps_total", outcome="done") > swept, "it goes on")

    user = with_profile(observed.chat, name("carol"))
    observed.chat.rows(
        "INSERT INTO bbgram.dead_letters (id, event, user_id, payload, error) "
        "SELECT gen_random_uuid(), 'typing', id, '{}', 'made up' FROM bbgram.profiles WHERE username = :user",
        user=user,
    )
    await observed.becomes(1, "bbgram_worker_kept_dead_letters")
    observed.chat.rows("DELETE FROM bbgram.dead_letters")
    await observed.becomes(0, "bbgram_worker_kept_dead_letters")


async def test_the_sweep_counts_open_reports_and_tells_how_old_the_oldest_is(observed: Observed) -> None:
    observed.chat.rows(
        "INSERT INTO bbgram.reports"
        " (id, reporter_id, reported_id, chat_id, seq, reason, messages, created_at)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'spam', '[]',"
        " now() - make_interval(hours => hours) FROM unnest(ARRAY[1, 2]) hours"
    )
    await observed.becomes(2, "bbgram_worker_open_reports")
    assert 7_200 <= observed.value("bbgram_worker_report_age_seconds") < 7_500
    older = "created_at < now() - interval '90 minutes'"
    observed.chat.rows(f"UPDATE bbgram.reports SET closed_at = now() WHERE {older}")
    await observed.becomes(1, "bbgram_worker_open_reports")
    assert 3_600 <= observed.value("bbgram_worker_report_age_seconds") < 3_900
    observed.chat.rows("UPDATE bbgram.reports SET closed_at = now()")
    await observed.becomes(0, "bbgram_worker_open_reports")
    assert observed.value("bbgram_worker_report_age_seconds") == 0
    observed.chat.rows("DELETE FROM bbgram.reports")


async def test_an_event_that_fails_is_counted_and_so_is_its_line_in_the_log(
    observed: Observed, client: ClientFactory, name: Name
) -> None:
    alice, bob = await talk(observed, client, name)
    await alice.send(bob.username, "Hello")
    lost = observed.value("bbgram_worker_dead_letters_total", event="send_message", outcome="kept")
    lines = observed.of("worker").value("bbgram_log_lines_total", event="event_failed", level="error")
    observed.chat.rows("ALTER TABLE bbgram.messages ADD CONSTRAINT odd CHECK (text <> 'odd') NOT VALID")
    try:
        ack = await alice.send(bob.username, "odd")
    finally:
        observed.chat.rows("ALTER TABLE bbgram.messages DROP CONSTRAINT odd")
        observed.chat.rows("DELETE FROM bbgram.dead_letters")
    assert ack["code"] == "internal"
    worker = observed.of("worker")
    assert worker.value("bbgram_worker_dead_letters_total", event="send_message", outcome="kept") == lost + 1
    assert worker.value("bbgram_log_lines_total", event="event_failed", level="error") == lines + 1
    assert worker.value("bbgram_postgres_errors_total", error="other") >= 1
    assert observed.value("bbgram_edge_events_total", event="send_message", outcome="internal") >= 1


async def test_runs_of_functions_are_counted(observed: Observed) -> None:
    before = observed.value("bbgram_function_runs_total", function="cleanup", outcome="complete")
    observed.chat.run("run", "cleanup")  # by hand, and so in no process that is observed
    assert observed.value("bbgram_function_runs_total", function="cleanup", outcome="complete") == before
    await until(
        lambda: observed.value("bbgram_function_last_run_timestamp_seconds", function="offline_delivery") > 0,
        "beat has had it run",
        timeout_s=90,
    )
    assert observed.value(
        "bbgram_function_runs_total", function="offline_delivery", outcome="complete"
    ) == observed.value("bbgram_function_seconds_count", function="offline_delivery")


def test_nothing_is_served_unless_a_port_is_set(deploy: DeploymentFactory) -> None:
    chat = deploy().start(workers=0, beat=False)
    assert httpx.get(f"{chat.edges[0].url}/metrics", verify=False).status_code == 404


@pytest.mark.parametrize("command", [["edge", "--port", "0"], ["worker"], ["beat"]], ids=" ".join)
def test_a_port_that_is_taken_is_one_clear_line(observed: Observed, command: list[str]) -> None:
    env = {**observed.chat.env, "BBGRAM_METRICS_PORT": str(observed.ports["edge"])}
    done = run(command, env)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: Cannot serve metrics on 127.0.0.1:{observed.ports['edge']}: ")
    assert "BBGRAM_METRICS_PORT" in line
