"""A process whose main loop does not come round is not alive, and says so to who asks."""

import httpx
import pytest

from infra.metrics import serve
from infra.pulse import Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    pulse = Pulse(clock)
    monkeypatch.setattr(serve, "PULSE", pulse)
    return pulse


def ask(path: str) -> httpx.Response:
    with httpx.Client(transport=httpx.WSGITransport(serve._answer), base_url="http://worker") as client:
        return client.get(path)


def test_a_process_is_alive_until_its_main_loop_has_been_silent_for_too_long(
    pulse: Pulse, clock: Clock
) -> None:
    clock.now += pulse.limit_s
    assert ask("/healthz").status_code == 200
    clock.now += 1
    answer = ask("/healthz")
    assert (answer.status_code, answer.text) == (503, "the process has been busy or stuck for 61 s\n")
    pulse.beat()
    assert ask("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/metrics/"])
def test_nothing_else_is_served(pulse: Pulse, path: str) -> None:
    assert ask(path).status_code == 404


def test_the_metrics_are_served_as_text(pulse: Pulse) -> None:
    answer = ask("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "bbgram_build_info" in answer.text
