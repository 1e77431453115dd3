"""Panels that the dashboards of edges, workers and functions share."""

from infra.deploy.grafana.panel import Panel
from infra.deploy.grafana.promql import PER_S


def only(part: str) -> str:
    """Return what, after a query, leaves the processes of this kind: beat serves a worker's metrics, too."""
    return f'* on (job, instance) group_left () bbgram_build_info{{part="{part}"}}'


def processes(part: str) -> list[Panel]:
    """Return the panels that show what processes of a kind use."""
    own = only(part)
    return [
        Panel(
            "CPU",
            "Processors in use by each process. Each uses one at most: near 1, add a process.",
            "none",
            {"{{instance}}": f"sum by (job, instance) (rate(process_cpu_seconds_total{PER_S}) {own})"},
            red_from=0.9,
        ),
        Panel(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            {"{{instance}}": f"sum by (job, instance) (process_resident_memory_bytes {own})"},
        ),
        Panel(
            "Open files",
            "File descriptors in use, of those that the system allows: each socket needs one.",
            "percentunit",
            {"{{instance}}": f"sum by (job, instance) (process_open_fds / process_max_fds {own})"},
            red_from=0.8,
        ),
    ]


def log_lines(part: str) -> Panel:
    """Return the panel that shows what processes of a kind complain of."""
    return Panel(
        "Warnings and errors in the log",
        "Lines in the last ten minutes by event; docs/operations.md says what each means.",
        "none",
        {"{{level}} {{event}}": f"sum by (level, event) (bbgram:log_lines:increase10m {only(part)}) > 0"},
    )
