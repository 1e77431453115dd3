"""`make capacity`: measures the unit costs and writes docs/capacity.md.

Exits with 1 and one line if a message was lost, duplicated or out of order.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmark.capacity import measuring
from tests.benchmark.capacity.page import PAGE, written
from tests.benchmark.capacity.units import Capacity, Unit
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed
from tests.benchmark.systems import Field


def main() -> int:
    """Measure and write, or only write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--add", action="store_true", help="keep the rounds that were measured before")
    options = parser.parse_args()
    units = Capacity.load().units if options.add else []
    try:
        for number in range(1, options.rounds + 1):
            units += _measure(f"round {number} of {options.rounds}")
    except BenchmarkFailed as failure:
        print(f"The measurement failed: {failure}.", file=sys.stderr)
        return 1
    if options.rounds:
        rounds = sum(1 for _ in Capacity(measured="", units=units).sockets())
        Capacity(measured=f"{machine()}\n{rounds} rounds.", units=units).save()
    PAGE.write_text(written(PAGE.read_text(), Capacity.load()))
    return 0


def _measure(title: str) -> list[Unit]:
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            return list(measuring.run(field, lambda line: print(f"{title}: {line}", file=sys.stderr)))
        finally:
            field.close()


if __name__ == "__main__":
    sys.exit(main())
