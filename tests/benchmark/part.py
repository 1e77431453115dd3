"""The command that measures one part of `make bench` alone."""

import argparse
import sys
from collections.abc import Callable
from typing import TypeVar

from tests.benchmark.measure import BenchmarkFailed

Found = TypeVar("Found")


def run_part(
    title: str, measure: Callable[[int], Found], table: Callable[[Found], str], write: Callable[[Found], None]
) -> int:
    """Measure as many rounds as the command line says, print the table and write it; return the exit code.

    The first line of `title` says what is measured.
    """
    parser = argparse.ArgumentParser(description=title.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--print", action="store_true", help="print the table and write no file")
    options = parser.parse_args()
    try:
        found = measure(options.rounds)
    except BenchmarkFailed as failure:
        print(f"The benchmark failed: {failure}.", file=sys.stderr)
        return 1
    print(table(found))
    if not options.print:
        write(found)
    return 0
