"""`make faults`: breaks one thing after another under load and reports which promises were kept.

Exits with 1 if a promise was broken or all faults together took too long, with 2 if there is no such fault or
something that they need is not here.
"""

import argparse
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.faults.faults import FAULTS
from tests.faults.needs import lacks
from tests.faults.run import Report, run

_PAGE: Final = Path(__file__).parents[2] / "docs" / "guarantees.md"
_TABLE: Final = re.compile(r"(?<=<!-- faults -->\n).*(?=<!-- end of faults -->)", re.DOTALL)

_TOTAL_S: Final = 1_200.0
"""How long all faults together may take. If they take longer, nobody runs them."""

_HEADS: Final = (
    "fault",
    "promise",
    "messages",
    "tries",
    "other requests",
    "changes",
    "blocks",
    "broken",
    "recovery s",
    "kept",
)


def main() -> int:
    """Run the faults and print a line for each."""
    parser = argparse.ArgumentParser(description="Breaks one thing after the other under load.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="part of a name; all if none is given")
    parser.add_argument("--messages", type=int, default=5_000, help="messages of a run, at least")
    parser.add_argument("--list", action="store_true", help="print the names and do nothing")
    parser.add_argument("--write", action="store_true", help="after all faults, write docs/guarantees.md")
    options = parser.parse_args()
    chosen = [
        fault
        for name, fault in FAULTS.items()
        if not options.faults or any(part in name for part in options.faults)
    ]
    if not chosen:
        print(f"no fault is called {' or '.join(options.faults)}; --list shows them", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(fault.name for fault in chosen))
        return 0
    if lacking := list(lacks({fault.name: fault.needs for fault in chosen})):
        print("\n".join(lacking), file=sys.stderr)
        return 2
    print(_row(_HEADS), flush=True)
    print("|" + " --- |" * len(_HEADS), flush=True)
    reports = []
    began_at = time.monotonic()
    for fault in chosen:
        try:
            reports.append(run(fault, options.messages))
        except (FileNotFoundError, PermissionError) as error:
            print(f"{fault.name} was not run: {error}", file=sys.stderr)
        else:
            print(_line(reports[-1]), flush=True)
    for report in reports:
        for note in (*report.notes, *report.wrong):
            print(f"{report.fault.name}: {note}")
    took_s = time.monotonic() - began_at
    if options.write and len(reports) == len(FAULTS):
        _PAGE.write_text(_TABLE.sub(lambda _: _render(reports, took_s), _PAGE.read_text()))
    kept = sum(report.passed for report in reports)
    print(f"{kept} of {len(chosen)} promises kept, in {took_s:.0f} s")
    if took_s > _TOTAL_S:
        print(f"that is too long: all faults together have {_TOTAL_S:.0f} s", file=sys.stderr)
    return 0 if kept == len(chosen) and took_s <= _TOTAL_S else 1


def _render(reports: list[Report], took_s: float) -> str:
    lines = [_row(_HEADS), "|" + " --- |" * len(_HEADS), *map(_line, reports)]
    head = f"`make faults` on {datetime.now(UTC):%Y-%m-%d}, in {took_s:,.0f} s:"
    return f"\n{head}\n\n" + "\n".join(lines) + "\n\n"


def _line(report: Report) -> str:
    return _row(
        (
            report.fault.name,
            report.fault.promise,
            f"{report.messages:,}",
            f"{report.tries:,}",
            f"{report.others:,}",
            f"{report.changes:,}",
            f"{report.blocks:,}",
            ", ".join(f"{count} {name}" for name, count in report.counts.broken.items()) or "nothing",
            f"{report.recovery_s:.1f}",
            "yes" if report.passed else "NO",
        )
    )


def _row(cells: tuple[object, ...]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
