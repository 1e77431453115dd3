"""Draws the charts of `docs/benchmarks.md`: the median of the rounds, with a band from minimum to maximum."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmark.plan import (
    CONNECTIONS,
    EDGES,
    EDGES_RATE,
    HEADLINE_PAIRS,
    NODE,
    OURS,
    PAIRS,
    RATES,
    STOCK,
)
from tests.benchmark.tables import LABELS, Observed, Spread, own_cpu

_COLOURS: Final = {OURS: "#2563eb", NODE: "#16a34a", STOCK: "#d97706"}
# The same numbers give the same file.
mpl.rcParams["svg.hashsalt"] = "bbgram"


def draw(observed: Observed, folder: Path) -> None:
    """Write the four charts into `folder`."""
    folder.mkdir(exist_ok=True)
    _lines(
        folder / "throughput.svg",
        "Durable messages a second, 4 in flight for each pair",
        ("pairs of clients", "messages/s"),
        {
            system: {
                pairs: [cost.result.messages_s for cost in observed.closed(system, pairs)] for pairs in PAIRS
            }
            for system in (OURS, NODE, STOCK)
        },
    )
    _lines(
        folder / "latency.svg",
        f"Time to the ack at a fixed rate, {HEADLINE_PAIRS} pairs: p50 (solid) and p99 (dashed)",
        ("messages/s", "ms"),
        {
            system: {rate: [cost.result.ack.p50 for cost in observed.open(system, rate)] for rate in rates}
            for system, rates in RATES.items()
        },
        dashed={
            system: {rate: [cost.result.ack.p99 for cost in observed.open(system, rate)] for rate in rates}
            for system, rates in RATES.items()
        },
        log=True,
    )
    _lines(
        folder / "memory.svg",
        "Memory of the server for idle websocket connections",
        ("connections", "MB"),
        {
            system: {
                count: [idle.kb_each * count / 1024 for idle in observed.idle(system, count)]
                for count in CONNECTIONS
            }
            for system in (OURS, STOCK)
        },
    )
    _lines(
        folder / "edges.svg",
        f"CPU of edges and worker at {EDGES_RATE:,} messages/s",
        ("edges", "CPU-seconds per 1,000 messages"),
        {OURS: {count: [own_cpu(cost) for cost in observed.edges(count)] for count in EDGES}},
    )


_Series = Mapping[str, Mapping[int, Sequence[float]]]


def _lines(
    file: Path,
    title: str,
    axes: tuple[str, str],
    series: _Series,
    *,
    dashed: _Series | None = None,
    log: bool = False,
) -> None:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    plot = figure.add_subplot()
    for system, points in series.items():
        _line(plot.plot, plot.fill_between, system, points, "-")
    for system, points in (dashed or {}).items():
        _line(plot.plot, plot.fill_between, system, points, "--")
    plot.set_title(title, loc="left")
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.set_xticks(list(next(iter(series.values()))))
    if log:
        plot.set_yscale("log")
    else:
        plot.set_ylim(bottom=0)
    plot.grid(alpha=0.3)
    plot.legend()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _line(
    plot: Callable[..., Any],
    fill: Callable[..., Any],
    system: str,
    points: Mapping[int, Sequence[float]],
    style: str,
) -> None:
    spreads = [Spread.of(values) for values in points.values()]
    label = LABELS[system] if style == "-" else None
    plot(list(points), [s.middle for s in spreads], style, color=_COLOURS[system], marker="o", label=label)
    fill(
        list(points), [s.low for s in spreads], [s.high for s in spreads], color=_COLOURS[system], alpha=0.15
    )
