"""A healthy chat as Prometheus sees it, and what can break in it, in the notation of promtool."""

from collections.abc import Mapping
from dataclasses import dataclass

SAMPLES = 240
"""An hour, at a sample each 15 s."""
BREAKS_AT = 44
"""The sample at which something breaks: after 11 minutes, longer than rules look back for new series."""


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


def stops(step: float) -> str:
    """A counter that grows until something breaks."""
    return f"0+{step}x{BREAKS_AT} {step * BREAKS_AT}+0x{SAMPLES}"


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


def hook(outcome: str) -> str:
    return of("worker", "bbgram_worker_hook_requests_total", outcome=outcome)


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
    of("worker", "bbgram_worker_lock_waits_total"): grows(0.05),
    of("worker", "bbgram_worker_kept_dead_letters"): flat(0),
    of("worker", "bbgram_worker_open_notifications"): flat(0),
    of("worker", "bbgram_worker_report_age_seconds"): flat(3_600),
    of("worker", "bbgram_worker_webhook_age_seconds"): flat(600),
    of("worker", "bbgram_worker_dead_webhooks"): flat(0),
    hook("answered"): grows(100),
    hook("failed"): grows(1),
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
    """What breaks, and which alert tells it when."""

    alert: str
    series: Mapping[str, str]
    not_yet: int
    fires: int
    over: int | None = None
    """When it fires no longer, for what happened once. All in seconds after something broke."""


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
    Trouble("BbgramProcessDown", {of("worker", "up"): becomes(0, 1)}, 45, 60),
    *(
        Trouble(
            "BbgramPartMissing",
            {of(part, "bbgram_build_info", part=part, version="1"): ends(1)},
            105,
            120,
        )
        for part in ("edge", "beat", "worker")
    ),
    Trouble("BbgramEdgeNotReady", {of("edge", "bbgram_edge_lease_held"): becomes(0, 1)}, 45, 60),
    Trouble("BbgramEdgeNotReady", {of("edge", "bbgram_edge_inbox_reading"): becomes(0, 1)}, 45, 60),
    Trouble(
        "BbgramEdgeOverloaded",
        {bucket("edge", "bbgram_edge_loop_delay_seconds", "0.005"): stops(30)},
        300,
        360,
    ),
    Trouble(
        "BbgramEdgeRegisteredAnew",
        {log_lines("edge", "info", "edge_registered"): becomes(2, 1)},
        -15,
        0,
        over=660,
    ),
    Trouble(
        "BbgramWorkersDoNotAnswer",
        {of("edge", "bbgram_edge_workers_answering"): becomes(0, 1)},
        15,
        30,
    ),
    Trouble(
        "BbgramEventsWait",
        {of("edge", "bbgram_edge_oldest_waiting_seconds", lane="0"): becomes(4)},
        45,
        60,
    ),
    Trouble(
        "BbgramEventsDropped",
        {of("worker", "bbgram_worker_expired_events_total"): becomes(1)},
        -15,
        0,
        over=360,
    ),
    Trouble(
        "BbgramEventsDropped",
        {of("edge", "bbgram_edge_abandoned_batches_total"): becomes(1)},
        -15,
        0,
        over=360,
    ),
    *(
        Trouble("BbgramDefect", {log_lines(part, "error", event): appears(1)}, -15, 0, over=660)
        for part, event in [("edge", "frame_failed"), ("worker", "dead_letter_lost"), ("functions", "other")]
    ),
    Trouble(
        "BbgramEventFailed",
        {log_lines("worker", "error", "event_failed"): appears(1)},
        -15,
        0,
        over=660,
    ),
    Trouble("BbgramDeadLetters", {of("worker", "bbgram_worker_kept_dead_letters"): becomes(1)}, 45, 60),
    Trouble(
        "BbgramReportsOpen",
        {of("worker", "bbgram_worker_report_age_seconds"): becomes(43_260, before=43_140)},
        45,
        60,
    ),
    Trouble(
        "BbgramWebhooksWait",
        {of("worker", "bbgram_worker_webhook_age_seconds"): becomes(960, before=840)},
        45,
        60,
    ),
    Trouble("BbgramWebhooksGivenUp", {of("worker", "bbgram_worker_dead_webhooks"): becomes(1)}, 45, 60),
    Trouble("BbgramHookFails", {hook("failed"): begins_to_grow(50)}, 45, 180),
    Trouble("BbgramHookFails", {hook("paused"): begins_to_grow(50)}, 45, 180),
    Trouble("BbgramSweepBacklog", {of("worker", "bbgram_worker_sweep_age_seconds"): becomes(90)}, 45, 60),
    Trouble(
        "BbgramSweepMissing",
        {of("worker", "bbgram_worker_sweeps_total", outcome="done"): stops(3)},
        165,
        195,
    ),
    Trouble(
        "BbgramSweepMissing",
        {of("worker", "bbgram_worker_sweeps_total", outcome="done"): f"0+3x{BREAKS_AT} stale"},
        120,
        195,
    ),
    Trouble(
        "BbgramSignInsUnavailable",
        {log_lines("edge", "warning", "sign_in_unavailable"): appears(1)},
        -15,
        0,
        over=660,
    ),
    Trouble("BbgramSignInsRefused", {sign_ins("issuer"): begins_to_grow(40)}, 300, 660),
    Trouble("BbgramClientsFlood", {disconnects("flood"): appears(5)}, 45, 60, over=720),
    Trouble("BbgramClientsFlood", {events("rate_limited"): begins_to_grow(200)}, 45, 120),
    Trouble(
        "BbgramConnectionsRefused",
        {of("edge", "bbgram_edge_refused_connections_total", limit="connects"): begins_to_grow(60)},
        105,
        210,
    ),
    Trouble(
        "BbgramFunctionsQueueGrows",
        {
            of(
                "worker", "bbgram_worker_queue_length", queue="bbgram-functions"
            ): f"{flat(0, BREAKS_AT - 1)} 1+0.25x{SAMPLES}"
        },
        870,
        960,
    ),
    Trouble(
        "BbgramNotificationsOpen",
        {of("worker", "bbgram_worker_open_notifications"): becomes(3)},
        285,
        300,
    ),
    Trouble(
        "BbgramFunctionFailed",
        {runs("offline_delivery", "failed"): f"_x{BREAKS_AT} 1+0x3 2+0x{SAMPLES}"},
        45,
        60,
        over=720,
    ),
    Trouble(
        "BbgramFunctionFailed",
        {runs("archive", "failed"): f"_x{BREAKS_AT} 1+0x59 2+0x{SAMPLES}"},
        885,
        900,
    ),
    Trouble(
        "BbgramFunctionMissing",
        {last_run("offline_delivery"): stops(15)},
        240,
        255,
    ),
    Trouble(
        "BbgramJobMissed",
        {of("functions", "bbgram_function_missed_total", function="cleanup"): appears(1)},
        -15,
        0,
        over=1_860,
    ),
    Trouble(
        "BbgramRedisErrors",
        {of("worker", "bbgram_redis_errors_total", error="ConnectionError"): f"_x{BREAKS_AT} 1+1x{SAMPLES}"},
        60,
        75,
    ),
    Trouble(
        "BbgramRedisSlow",
        {bucket("edge", "bbgram_edge_dispatch_seconds", "0.005"): stops(100)},
        180,
        240,
    ),
    Trouble(
        "BbgramRedisSlow",
        {bucket("worker", "bbgram_worker_publish_seconds", "0.005"): stops(100)},
        180,
        240,
    ),
    Trouble("BbgramRedisMemory", {'redis_memory_used_bytes{instance="redis"}': becomes(900e6)}, 285, 300),
    Trouble(
        "BbgramPostgresErrors",
        {of("worker", "bbgram_postgres_errors_total", error="connection"): f"_x{BREAKS_AT} 1+1x{SAMPLES}"},
        60,
        75,
    ),
    Trouble(
        "BbgramPostgresSlow",
        {bucket("worker", "bbgram_worker_handler_seconds", "0.01", event="send_message"): stops(100)},
        180,
        300,
    ),
    Trouble(
        "BbgramPostgresLocked", {of("worker", "bbgram_worker_lock_waits_total"): begins_to_grow(3)}, 45, 90
    ),
    Trouble(
        "BbgramPostgresConnections",
        {'pg_stat_activity_count{instance="postgres",state="active"}': becomes(70)},
        285,
        300,
    ),
    *(Trouble("BbgramErrorBudgetBurnsFast", missed(0.1)[slo], 60, 300) for slo in SLOS),
    *(Trouble("BbgramErrorBudgetBurns", missed(0.01)[slo], 1800, 2400) for slo in SLOS),
]
