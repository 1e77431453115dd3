"""Renders an overview for people."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import click

from infra.cli.status.overview import Overview
from infra.processes import ProcessState

_Column = tuple[str, Callable[[ProcessState, float], str]]


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _since(moment: float, now: float) -> str:
    return f"{_duration(max(0, now - moment))} ago" if moment else "never"


_COMMON: Final[tuple[_Column, ...]] = (
    ("process", lambda one, now: f"{one.host}:{one.pid}"),
    ("version", lambda one, now: one.version),
    ("up", lambda one, now: _duration(max(0, now - one.started_at))),
)
_COLUMNS: Final[dict[str, tuple[_Column, ...]]] = {
    "edge": (
        ("sockets", lambda one, now: f"{one.value('bbgram_edge_sockets'):,.0f}"),
        ("users", lambda one, now: f"{one.value('bbgram_edge_users'):,.0f}"),
        ("inbox lag", lambda one, now: f"{one.value('bbgram_edge_inbox_lag_seconds') * 1000:.0f} ms"),
        ("waiting", lambda one, now: f"{one.value('bbgram_edge_waiting_events'):,.0f}"),
        ("oldest", lambda one, now: f"{one.largest('bbgram_edge_oldest_waiting_seconds'):.1f} s"),
    ),
    "worker": (
        ("batches", lambda one, now: f"{one.value('bbgram_worker_batches_total'):,.0f}"),
        ("last batch", lambda one, now: _since(one.value("bbgram_worker_last_batch_timestamp_seconds"), now)),
    ),
    "functions": (
        ("last run", lambda one, now: _since(one.largest("bbgram_function_last_run_timestamp_seconds"), now)),
    ),
    "beat": (),
}
_TITLES: Final = {"edge": "Edges", "worker": "Workers", "functions": "Functions workers", "beat": "Beat"}


def render(overview: Overview) -> str:
    """Return the overview as text, with colours for terminals."""
    return "\n".join(_lines(overview))


def _lines(overview: Overview) -> Iterator[str]:
    for part, title in _TITLES.items():
        processes = overview.of(part)
        yield click.style(f"{title}: {len(processes) or 'none'}", bold=True, fg=None if processes else "red")
        if processes:
            yield from _table(processes, (*_COMMON, *_COLUMNS[part]), overview.at)
    queues = ", ".join(f"{name} {length:,}" for name, length in overview.queues.items())
    yield f"{click.style('Queues:', bold=True)} {queues}"
    if (piles := overview.database) is not None:
        yield (
            f"{click.style('Database:', bold=True)} {piles.dead_letters:,} dead letters, "
            f"sweep {_duration(piles.sweep_age_s)} behind, {piles.open_notifications:,} late notifications, "
            f"{piles.open_reports:,} open reports"
        )
    if not overview.problems:
        yield click.style("All is well", fg="green")
    for problem in overview.problems:
        yield click.style(f"Problem: {problem}", fg="red")


def _table(processes: Sequence[ProcessState], columns: Sequence[_Column], now: float) -> Iterator[str]:
    rows = [[title for title, _ in columns], *([show(one, now) for _, show in columns] for one in processes)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    for number, row in enumerate(rows):
        first, *others = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  " + "   ".join([first, *others])
        yield click.style(line, dim=True) if number == 0 else line
