"""Turns the findings of a run into the table of `docs/guarantees.md`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.security.siege import Finding


class Row(NamedTuple):
    """An attack and its result."""

    attack: str
    sent: str
    outcome: str
    edge: str
    worker: str
    slowest: str
    held: bool

    @classmethod
    def of(cls, finding: Any) -> "Row":
        """Return the row of a siege that the edge withstood, from its finding."""
        found = Finding(**finding)
        return cls(
            found.attack,
            found.sent,
            found.outcome,
            f"{found.peak_mb:.0f} of {found.bound_mb:.0f}",
            f"{found.worker_peak_mb:.0f} of {found.worker_bound_mb:.0f}",
            f"{found.slowest_ms:.0f}",
            held=True,
        )


def render(rows: Iterable[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| attack | what was sent | what was done | edge, MB | worker, MB | slowest innocent, ms | verdict |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        verdict = "held" if row.held else "**broken**"
        cells = (row.attack, row.sent, row.outcome, row.edge, row.worker, row.slowest, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
