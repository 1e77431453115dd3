"""`make stages` sees each stage of a lone message: when code moves, its probes must follow."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from socket_edge.relay.lanes import Lane
from tests.benchmark.measure import BenchmarkFailed
from tests.benchmark.stage_probe import WHERE, Mark
from tests.benchmark.stages import PATH, WARM_UP, WHAT, join, program, send, stages_of, whole
from tests.harness.deployment import Deployment, make_token, with_profile
from tests.harness.engines import Engines

NAMES = ("alice", "bob")
MESSAGES = 5


@pytest.fixture
def probed(engines: Engines, tmp_path: Path) -> Iterator[Deployment]:
    """An edge and a worker that note the marks of messages."""
    deployment = Deployment(engines.new_store(), tmp_path, lanes=1)
    deployment.program = program(tmp_path)
    yield deployment.start(beat=False)
    deployment.stop()
    engines.release(deployment.store)


def test_every_stage_of_a_message_is_seen_once_and_in_order(probed: Deployment, tmp_path: Path) -> None:
    one, other = (f'{{"token":"{make_token(name)}"}}' for name in NAMES)
    for name in NAMES:
        with_profile(probed, name)
    sent = asyncio.run(send(probed.edges[0].port, NAMES, (one, other), MESSAGES))
    probed.stop()

    journeys = join(sent, tmp_path)

    assert len(journeys) == MESSAGES
    for journey in journeys:
        assert sorted(PATH, key=journey.__getitem__) == list(PATH)
        stages = (journey[end] - journey[begin] for begin, end in pairwise(PATH))
        assert sum(stages) == journey[Mark.ACKED] - journey[Mark.WRITTEN]
    assert sum(times.p50 for times in stages_of(journeys).values()) > 0
    assert whole(journeys).p50 < whole(journeys).p90
    with pytest.raises(BenchmarkFailed, match=re.escape(WHERE[Mark.FRAME])):
        join([*sent, sent[-1]], tmp_path)


def test_a_function_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(Lane, "_carry")
    with pytest.raises(BenchmarkFailed, match=r"socket_edge\.relay\.lanes\.Lane\._carry is gone"):
        program(tmp_path)


def test_every_stage_is_explained() -> None:
    assert WHERE.keys() == set(Mark)
    assert WHAT.keys() == set(Mark) - {Mark.WRITTEN}
    assert WARM_UP
