"""A message between two edges is one trace, from the client's event to the sockets that hear of it."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.collector import CollectedSpan, Collector, collecting
from tests.harness.deployment import Deployment
from tests.harness.waiting import until


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as one:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", one.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield one


@pytest.fixture
def traced(deploy: DeploymentFactory, collector: Collector) -> Deployment:
    return deploy(trace_ratio=1).start(edges=2, workers=1)


async def spans_of(collector: Collector, root: str, names: list[str]) -> list[CollectedSpan]:
    """Return the spans of the one trace that begins with `root`, once these have come."""

    def found() -> list[CollectedSpan]:
        traces = {span.trace for span in collector.spans if span.name == root and not span.parent}
        spans = [span for span in collector.spans if span.trace in traces]
        return spans if sorted(span.name for span in spans) == sorted(names) else []

    spans: list[CollectedSpan] = await until(found, f"{names} are there: {collector.spans}")
    return spans


async def test_a_message_between_two_edges_is_one_trace(
    traced: Deployment, collector: Collector, client: ClientFactory, name: Name
) -> None:
    one, other = traced.edges
    alice, bob = await client(name("alice")).connect(one), await client(name("bob")).connect(other)
    collector.spans.clear()
    ack = await alice.send(bob.username, "Nobody else may read this")
    await bob.expect("new_message")
    assert ack["success"]
    spans = await spans_of(
        collector,
        "send_message",
        ["send_message", "batch", "handle", "send_message", "publish", "emit", "emit"],
    )
    by_id = {span.id: span for span in spans}
    assert len({span.trace for span in spans}) == 1
    (root,) = [span for span in spans if not span.parent]

    def way(span: CollectedSpan) -> list[str]:
        above = by_id.get(span.parent)
        return [*(way(above) if above else []), span.name]

    assert root.attributes["outcome"] == "ok"
    assert sorted(way(span) for span in spans) == sorted(
        [
            ["send_message"],
            ["send_message", "batch"],
            ["send_message", "batch", "handle"],
            ["send_message", "batch", "handle", "send_message"],
            ["send_message", "batch", "handle", "publish"],
            ["send_message", "batch", "handle", "emit"],
            ["send_message", "batch", "handle", "emit"],
        ]
    )
    services = {span.name: span.service for span in spans if span.parent}
    assert (services["handle"], services["batch"], services["emit"]) == (
        "bbgram-worker",
        "bbgram-edge",
        "bbgram-edge",
    )
    for span in spans:
        assert root.began_ns <= span.began_ns <= span.ended_ns
    assert "Nobody else" not in repr(spans)
    assert alice.user_id not in repr(spans)


async def test_lines_in_the_log_of_a_worker_name_the_trace(
    traced: Deployment, collector: Collector, client: ClientFactory, name: Name
) -> None:
    alice, bob = [await client(name(person)).connect(traced.edges[0]) for person in ("alice", "bob")]
    traced.rows("ALTER TABLE bbgram.messages ADD CONSTRAINT odd CHECK (text <> 'odd') NOT VALID")
    collector.spans.clear()
    assert (await alice.send(bob.username, "odd"))["code"] == "internal"
    (worker,) = traced.workers
    (line,) = [json.loads(line) for line in worker.log.splitlines() if "event_failed" in line]
    (root,) = await until(
        lambda: [span for span in collector.spans if span.name == "send_message" and not span.parent],
        "the span of the event has come",
    )
    assert line["trace"] == [root.trace]
    assert root.attributes["outcome"] == "internal"


async def test_nothing_is_traced_unless_it_is_asked_for(
    deploy: DeploymentFactory, collector: Collector, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start()
    alice, bob = [await client(name(person)).connect(chat.edges[0]) for person in ("alice", "bob")]
    await alice.send(bob.username, "Hello")
    await bob.expect("new_message")
    chat.stop()
    assert collector.spans == []
