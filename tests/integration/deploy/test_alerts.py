"""Each alert fires after the time that it names, alone, and no alert fires while all is well."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.promtool import RULES, alerts, assert_firing, promtool

SAMPLES = 240
"""An hour, at a sample each 15 s."""
BREAKS_AT = 60
"""The sample at which something breaks: after 15 minutes."""


def flat(value: float, samples: int = SAMPLES) -> str:
    """A gauge that stays."""
    return f"{value}+0x{samples}"


def grows(step: float, samples: int = SAMPLES) -> str:
    """A counter that grows by so much in 15 s."""
    return f"0+{step}x{samples}"


def becomes(value: float, before: float = 0) -> str:
    """A gauge that changes when something breaks."""
    return f"{flat(before, BREAKS_AT - 1)} {flat(value)}"


def begins_to_grow(step: float) -> str:
    """A counter that is 0 until something breaks."""
    return f"{flat(0, BREAKS_AT - 1)} {step}+{step}x{SAMPLES}"


def appears(value: float) -> str:
    """A counter that is not there until something breaks, and does not grow after that."""
    return f"_x{BREAKS_AT} {flat(value)}"


def ends(value: float) -> str:
    """A series that is gone when something breaks."""
    return f"{flat(value, BREAKS_AT - 1)} stale"


def of(instance: str, metric: str, **labels: str) -> str:
    """Return the name of a series of a process."""
    named = {"job": "bbgram", "instance": instance, **labels}
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in named.items()) + "}"


def log_lines(part: str, level: str, event: str) -> str:
    return of(part, "bbgram_log_lines_total", level=level, event=event)


def events(outcome: str) -> str:
    return of("edge", "bbgram_edge_events_total", event="send_message", outcome=outcome)


def sign_ins(outcome: str) -> str:
    return of("edge", "bbgram_edge_sign_ins_total", outcome=outcome)


def disconnects(reason: str) -> str:
    return of("edge", "bbgram_edge_disconnects_total", reason=reason, signed_in="yes")


def runs(function: str, outcome: str) -> str:
    return of("functions", "bbgram_function_runs_total", function=function, outcome=outcome)


def last_run(function: str) -> str:
    return of("functions", "bbgram_function_last_run_timestamp_seconds", function=function)


def bucket(part: str, metric: str, le: str, **labels: str) -> str:
    return of(part, f"{metric}_bucket", le=le, **labels)


HEALTHY: Mapping[str, str] = {
    **{of(part, "up"): flat(1) for part in ("edge", "worker", "functions", "beat")},
    **{
        of(part, "bbgram_build_info", part=part, version="1"): flat(1)
        for part in ("edge", "worker", "functions", "beat")
    },
    of("edge", "bbgram_edge_inbox_reading"): flat(1),
    of("edge", "bbgram_edge_lease_held"): flat(1),
    of("edge", "bbgram_edge_workers_answering"): flat(1),
    of("edge", "bbgram_edge_oldest_waiting_seconds", lane="0"): flat(0.02),
    of("edge", "bbgram_edge_abandoned_batches_total"): flat(0),
    bucket("edge", "bbgram_edge_loop_delay_seconds", "0.005"): grows(30),
    bucket("edge", "bbgram_edge_loop_delay_seconds", "0.25"): grows(30),
    bucket("edge", "bbgram_edge_loop_delay_seconds", "+Inf"): grows(30),
    log_lines("edge", "info", "edge_registered"): flat(1),
    sign_ins("ok"): grows(20),
    sign_ins("expired"): grows(20),
    events("ok"): grows(300),
    events("rate_limited"): grows(1),
    bucket("edge", "bbgram_edge_ack_seconds", "1.0", event="send_message"): grows(300),
    of("edge", "bbgram_edge_ack_seconds_count", event="send_message"): grows(300),
    bucket("edge", "bbgram_edge_delivery_seconds", "1.0"): grows(300),
    of("edge", "bbgram_edge_delivery_seconds_count"): grows(300),
    of("edge", "bbgram_edge_refused_connections_total", limit="connects"): flat(0),
    disconnects("client_disconnect"): grows(20),
    of("worker", "bbgram_worker_expired_events_total"): flat(0),
    of("worker", "bbgram_worker_kept_dead_letters"): flat(0),
    of("worker", "bbgram_worker_open_notifications"): flat(0),
    of("worker", "bbgram_worker_queue_length", queue="bbgram-functions"): flat(0),
    of("worker", "bbgram_worker_sweep_age_seconds"): flat(0),
    of("worker", "bbgram_worker_sweeps_total", outcome="done"): grows(3),
    bucket("edge", "bbgram_edge_dispatch_seconds", "0.005"): grows(100),
    bucket("edge", "bbgram_edge_dispatch_seconds", "0.5"): grows(100),
    bucket("edge", "bbgram_edge_dispatch_seconds", "+Inf"): grows(100),
    bucket("worker", "bbgram_worker_publish_seconds", "0.005"): grows(100),
    bucket("worker", "bbgram_worker_publish_seconds", "0.5"): grows(100),
    bucket("worker", "bbgram_worker_publish_seconds", "+Inf"): grows(100),
    bucket("worker", "bbgram_worker_handler_seconds", "0.01", event="send_message"): grows(100),
    bucket("worker", "bbgram_worker_handler_seconds", "2.5", event="send_message"): grows(100),
    bucket("worker", "bbgram_worker_handler_seconds", "+Inf", event="send_message"): grows(100),
    runs("offline_delivery", "complete"): grows(0.25),
    last_run("offline_delivery"): grows(15),
    last_run("cleanup"): flat(0),
    'redis_memory_used_bytes{instance="redis"}': flat(400e6),
    'redis_memory_max_bytes{instance="redis"}': flat(1e9),
    'pg_stat_activity_count{instance="postgres",state="idle"}': flat(20),
    'pg_settings_max_connections{instance="postgres"}': flat(100),
}


@dataclass(frozen=True)
class Trouble:
    """What breaks after 15 minutes, and which alert tells it when."""

    alert: str
    series: Mapping[str, str]
    not_yet: str
    fires: str
    over: str = ""
    """A time at which it fires no longer, for what happened once."""


SLOS = ("fast_answers", "answers", "delivery", "sign_ins")


def missed(share: float) -> Mapping[str, Mapping[str, str]]:
    """Return, by service level, the series of a chat that misses it for this share of what it counts."""

    def fewer(per_sample: float) -> str:
        return f"0+{per_sample}x{BREAKS_AT - 1} {BREAKS_AT * per_sample}+{per_sample * (1 - share)}x{SAMPLES}"

    return {
        "fast_answers": {bucket("edge", "bbgram_edge_ack_seconds", "1.0", event="send_message"): fewer(300)},
        "answers": {events("timeout"): begins_to_grow(300 * share)},
        "delivery": {bucket("edge", "bbgram_edge_delivery_seconds", "1.0"): fewer(300)},
        "sign_ins": {sign_ins("keys_unavailable"): begins_to_grow(40 * share)},
    }


TROUBLES = [
    Trouble("BbgramProcessDown", {of("worker", "up"): becomes(0, 1)}, "15m45s", "16m"),
    *(
        Trouble(
            "BbgramPartMissing",
            {of(part, "bbgram_build_info", part=part, version="1"): ends(1)},
            "16m45s",
            "17m",
        )
        for part in ("edge", "beat", "worker")
    ),
    Trouble("BbgramEdgeNotReady", {of("edge", "bbgram_edge_lease_held"): becomes(0, 1)}, "15m45s", "16m"),
    Trouble("BbgramEdgeNotReady", {of("edge", "bbgram_edge_inbox_reading"): becomes(0, 1)}, "15m45s", "16m"),
    Trouble(
        "BbgramEdgeOverloaded",
        {bucket("edge", "bbgram_edge_loop_delay_seconds", "0.005"): f"0+30x{BREAKS_AT} 1800+0x{SAMPLES}"},
        "20m",
        "21m",
    ),
    Trouble(
        "BbgramEdgeRegisteredAnew",
        {log_lines("edge", "info", "edge_registered"): becomes(2, 1)},
        "14m45s",
        "15m",
        over="26m",
    ),
    Trouble(
        "BbgramWorkersDoNotAnswer",
        {of("edge", "bbgram_edge_workers_answering"): becomes(0, 1)},
        "15m15s",
        "15m30s",
    ),
    Trouble(
        "BbgramEventsWait",
        {of("edge", "bbgram_edge_oldest_waiting_seconds", lane="0"): becomes(4)},
        "15m45s",
        "16m",
    ),
    Trouble(
        "BbgramEventsDropped",
        {of("worker", "bbgram_worker_expired_events_total"): becomes(1)},
        "14m45s",
        "15m",
        over="21m",
    ),
    Trouble(
        "BbgramEventsDropped",
        {of("edge", "bbgram_edge_abandoned_batches_total"): becomes(1)},
        "14m45s",
        "15m",
        over="21m",
    ),
    *(
        Trouble("BbgramDefect", {log_lines(part, "error", event): appears(1)}, "14m45s", "15m", over="26m")
        for part, event in [("edge", "frame_failed"), ("worker", "dead_letter_lost"), ("functions", "other")]
    ),
    Trouble(
        "BbgramEventFailed",
        {log_lines("worker", "error", "event_failed"): appears(1)},
        "14m45s",
        "15m",
        over="26m",
    ),
    Trouble(
        "BbgramDeadLetters", {of("worker", "bbgram_worker_kept_dead_letters"): becomes(1)}, "15m45s", "16m"
    ),
    Trouble(
        "BbgramSweepBacklog", {of("worker", "bbgram_worker_sweep_age_seconds"): becomes(90)}, "15m45s", "16m"
    ),
    Trouble(
        "BbgramSweepMissing",
        {of("worker", "bbgram_worker_sweeps_total", outcome="done"): f"0+3x{BREAKS_AT} 180+0x{SAMPLES}"},
        "17m45s",
        "18m15s",
    ),
    Trouble(
        "BbgramSweepMissing",
        {of("worker", "bbgram_worker_sweeps_total", outcome="done"): f"0+3x{BREAKS_AT} stale"},
        "17m",
        "18m15s",
    ),
    Trouble(
        "BbgramSignInsUnavailable",
        {log_lines("edge", "warning", "sign_in_unavailable"): appears(1)},
        "14m45s",
        "15m",
        over="26m",
    ),
    Trouble("BbgramSignInsRefused", {sign_ins("issuer"): begins_to_grow(40)}, "20m", "26m"),
    Trouble("BbgramClientsFlood", {disconnects("flood"): appears(5)}, "15m45s", "16m", over="27m"),
    Trouble("BbgramClientsFlood", {events("rate_limited"): begins_to_grow(200)}, "15m45s", "17m"),
    Trouble(
        "BbgramConnectionsRefused",
        {of("edge", "bbgram_edge_refused_connections_total", limit="connects"): begins_to_grow(60)},
        "16m45s",
        "18m30s",
    ),
    Trouble(
        "BbgramFunctionsQueueGrows",
        {
            of(
                "worker", "bbgram_worker_queue_length", queue="bbgram-functions"
            ): f"{flat(0, 59)} 1+0.25x{SAMPLES}"
        },
        "29m30s",
        "31m",
    ),
    Trouble(
        "BbgramNotificationsOpen",
        {of("worker", "bbgram_worker_open_notifications"): becomes(3)},
        "19m45s",
        "20m",
    ),
    Trouble(
        "BbgramFunctionFailed",
        {runs("offline_delivery", "failed"): f"_x{BREAKS_AT} 1+0x3 2+0x{SAMPLES}"},
        "15m45s",
        "16m",
        over="27m",
    ),
    Trouble(
        "BbgramFunctionFailed",
        {runs("archive", "failed"): f"_x{BREAKS_AT} 1+0x59 2+0x{SAMPLES}"},
        "29m45s",
        "30m",
    ),
    Trouble(
        "BbgramFunctionMissing",
        {last_run("offline_delivery"): f"0+15x{BREAKS_AT} 900+0x{SAMPLES}"},
        "19m",
        "19m15s",
    ),
    Trouble(
        "BbgramRedisErrors",
        {of("worker", "bbgram_redis_errors_total", error="ConnectionError"): f"_x{BREAKS_AT} 1+1x{SAMPLES}"},
        "16m",
        "16m15s",
    ),
    Trouble(
        "BbgramRedisSlow",
        {bucket("edge", "bbgram_edge_dispatch_seconds", "0.005"): f"0+100x{BREAKS_AT} 6000+0x{SAMPLES}"},
        "18m",
        "19m",
    ),
    Trouble(
        "BbgramRedisSlow",
        {bucket("worker", "bbgram_worker_publish_seconds", "0.005"): f"0+100x{BREAKS_AT} 6000+0x{SAMPLES}"},
        "18m",
        "19m",
    ),
    Trouble(
        "BbgramRedisMemory", {'redis_memory_used_bytes{instance="redis"}': becomes(900e6)}, "19m45s", "20m"
    ),
    Trouble(
        "BbgramPostgresErrors",
        {of("worker", "bbgram_postgres_errors_total", error="connection"): f"_x{BREAKS_AT} 1+1x{SAMPLES}"},
        "16m",
        "16m15s",
    ),
    Trouble(
        "BbgramPostgresSlow",
        {
            bucket(
                "worker", "bbgram_worker_handler_seconds", "0.01", event="send_message"
            ): f"0+100x{BREAKS_AT} 6000+0x{SAMPLES}"
        },
        "18m",
        "20m",
    ),
    Trouble(
        "BbgramPostgresConnections",
        {'pg_stat_activity_count{instance="postgres",state="active"}': becomes(70)},
        "19m45s",
        "20m",
    ),
    *(Trouble("BbgramErrorBudgetBurnsFast", missed(0.1)[slo], "16m", "20m") for slo in SLOS),
    *(Trouble("BbgramErrorBudgetBurns", missed(0.01)[slo], "45m", "55m") for slo in SLOS),
]


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    assert_firing(tmp_path, HEALTHY, {f"{minute}m": () for minute in range(0, 60, 5)}, interval="15s")


@pytest.mark.parametrize(
    "trouble", TROUBLES, ids=[f"{trouble.alert}-{place}" for place, trouble in enumerate(TROUBLES)]
)
def test_an_alert_fires_when_its_trouble_lasts(trouble: Trouble, tmp_path: Path) -> None:
    expected = {trouble.not_yet: (), trouble.fires: (trouble.alert,)}
    if trouble.over:
        expected[trouble.over] = ()
    assert_firing(tmp_path, {**HEALTHY, **trouble.series}, expected, interval="15s")


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
