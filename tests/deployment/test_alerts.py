"""Each alert fires after the time that it names, alone, and no alert fires while all is well."""

from pathlib import Path

import pytest

from tests.deployment.troubles import (
    BREAKS_AT,
    HEALTHY,
    TROUBLES,
    Trouble,
    becomes,
    bucket,
    ends,
    flat,
    grows,
    last_run,
    of,
)
from tests.harness.promtool import RULES, alerts, assert_described, assert_firing, promtool


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    assert_firing(tmp_path, HEALTHY, {f"{minute}m": () for minute in range(0, 60, 5)}, interval="15s")


@pytest.mark.parametrize(
    "trouble", TROUBLES, ids=[f"{trouble.alert}-{place}" for place, trouble in enumerate(TROUBLES)]
)
def test_an_alert_fires_when_its_trouble_lasts(trouble: Trouble, tmp_path: Path) -> None:
    firing = {trouble.not_yet: (), trouble.fires: (trouble.alert,)}
    if trouble.over is not None:
        firing[trouble.over] = ()
    expected = {f"{BREAKS_AT * 15 + after_s}s": names for after_s, names in firing.items()}
    assert_firing(tmp_path, {**HEALTHY, **trouble.series}, expected, interval="15s")


def test_an_alert_says_which_kind_of_process_is_down_or_hangs(tmp_path: Path) -> None:
    """Its metrics, which say what it is, are gone by then. One that has never answered has no kind."""
    series = {
        **HEALTHY,
        of("worker", "up"): becomes(0, 1),
        of("worker", "bbgram_build_info", part="worker", version="1"): ends(1),
        of("worker", "scrape_duration_seconds"): becomes(0.001, 0.02),
        of("never", "up"): flat(0),
        of("never", "scrape_duration_seconds"): flat(10),
    }
    descriptions = {
        "worker": "worker (worker) has not answered Prometheus for a minute: it is down.",
        "never": "never has not answered Prometheus for a minute: it hangs, or nothing reaches it.",
    }
    assert_described(tmp_path, series, f"{BREAKS_AT * 15 + 60}s", "BbgramProcessDown", descriptions)


def test_a_function_of_the_night_may_be_late_by_a_day(tmp_path: Path) -> None:
    """Two days, and an hour for the end of summer time. The worker starts anew meanwhile, and forgets."""
    series = {last_run("archive"): "0+0x20 stale"}
    expected = {"49h": (), "49h10m": ("BbgramFunctionMissing",)}
    assert_firing(tmp_path, series, expected, interval="5m", only="BbgramFunctionMissing")


def test_a_single_slow_answer_in_a_quiet_hour_is_no_alarm(tmp_path: Path) -> None:
    quiet = {
        bucket("edge", "bbgram_edge_ack_seconds", "1.0", event="send_message"): "0+0.2x60 11+0.2x180",
        of("edge", "bbgram_edge_ack_seconds_count", event="send_message"): grows(0.2),
    }
    assert_firing(tmp_path, {**HEALTHY, **quiet}, {"20m": (), "40m": ()}, interval="15s")


def test_without_exporters_their_alerts_are_silent(tmp_path: Path) -> None:
    ours = {name: values for name, values in HEALTHY.items() if name.startswith(("bbgram", "up"))}
    assert len(ours) == len(HEALTHY) - 4
    assert_firing(tmp_path, ours, {"30m": ()}, interval="15s")


def test_every_alert_is_tested() -> None:
    assert {trouble.alert for trouble in TROUBLES} == set(alerts())


def test_prometheus_accepts_the_example() -> None:
    promtool("check", "config", RULES / "prometheus.yml")
