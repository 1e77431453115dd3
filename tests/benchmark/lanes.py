"""Prints how many lanes are best for 1, 2 and 4 workers: `python -m tests.benchmark.lanes`."""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.benchmark import measure
from tests.benchmark.plan import HEADLINE_PAIRS, IN_FLIGHT
from tests.benchmark.systems import Field

COUNTS: Final = (1, 2, 4)
ROUNDS: Final = 3
RATE: Final = 1_000
_WINDOW: Final[dict[str, Any]] = {"warm_up_s": 1.5, "measure_s": 4.0}


def main() -> None:
    """Measure all combinations, round after round, and print the medians."""
    speed: dict[tuple[int, int], list[float]] = {}
    p50: dict[tuple[int, int], list[float]] = {}
    users = 2 * HEADLINE_PAIRS
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            for _ in range(ROUNDS):
                for workers in COUNTS:
                    for lanes in COUNTS:
                        with field.running("ours", workers=workers, lanes=lanes) as system:
                            closed = measure.run(field, system, users, in_flight=IN_FLIGHT, **_WINDOW)
                            opened = measure.run(field, system, users, rate=RATE, **_WINDOW)
                        speed.setdefault((workers, lanes), []).append(closed.result.messages_s)
                        p50.setdefault((workers, lanes), []).append(opened.result.ack.p50)
        finally:
            field.close()
    print(f"| workers | lanes | messages/s, closed loop | p50 ack at {RATE:,}/s, ms |")
    print("| --- | --- | --- | --- |")
    for (workers, lanes), values in speed.items():
        middle = statistics.median(p50[workers, lanes])
        print(f"| {workers} | {lanes} | {statistics.median(values):,.0f} | {middle:.1f} |")


if __name__ == "__main__":
    main()
