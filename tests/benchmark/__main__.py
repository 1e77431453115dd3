"""`make bench`: measures all systems and writes `docs/benchmarks/` and `docs/benchmarks.md`.

Exits with 1 and one line if a system lost or duplicated a message, or ours broke the order.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.benchmark import calls, charts, drain, sizes, tables
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed
from tests.benchmark.plan import Observation, Plan, run
from tests.benchmark.systems import Field
from tests.benchmark.tables import Observed

_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_FOLDER = _PAGE.with_suffix("")
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)


def main() -> int:
    """Measure and write, or only print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument("--print", action="store_true", help="print the ratios and write no file")
    options = parser.parse_args()
    plan = Plan(rounds=options.rounds, measure_s=options.seconds)
    try:
        observations = _measure(plan)
        left = drain.measure(plan.rounds)
        sized = sizes.measure_sizes(plan.rounds)
        called = calls.measure_calls(plan.rounds)
    except BenchmarkFailed as failure:
        print(f"The benchmark failed: {failure}.", file=sys.stderr)
        return 1
    observed = Observed(observations)
    print(tables.ratios(observed), drain.table(left), sizes.table(sized), calls.table(called), sep="\n\n")
    if not options.print:
        charts.draw(observed, _FOLDER)
        (_FOLDER / "observations.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(observations), indent=1) + b"\n"
        )
        _PAGE.write_text(_RESULTS.sub(lambda _: _render(observed, plan), _PAGE.read_text()))
        drain.write(left)
        sizes.write(sized)
        calls.write(called)
    return 0


def _measure(plan: Plan) -> list[Observation]:
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            return list(run(field, plan, lambda line: print(line, file=sys.stderr)))
        finally:
            field.close()


def _render(observed: Observed, plan: Plan) -> str:
    parts = (
        _machine(plan),
        "### Ratios\n\nEach ratio compares measurements of the same round.",
        tables.ratios(observed),
        "A client that stops reading is cut off at `SEND_BYTES`. `tests/security/test_frames.py` shows that "
        "the memory of the edge stays near that limit.",
        tables.losses(observed),
        "### One pair, one message in flight",
        tables.lone(observed),
        "### Throughput\n\n![Messages a second against pairs](benchmarks/throughput.svg)",
        tables.throughput(observed),
        "### Latency at a fixed rate\n\n![Time to the ack against rate](benchmarks/latency.svg)",
        tables.latency(observed),
        "### CPU-seconds per 1,000 messages at 200 pairs, by process",
        tables.cpu(observed),
        "### Idle connections\n\n![Memory against connections](benchmarks/memory.svg)",
        tables.connections(observed),
        "### Several edges\n\n![Cost of a message against edges](benchmarks/edges.svg)",
        tables.edges(observed),
    )
    return "\n\n".join(("", *parts)) + "\n\n"


def _machine(plan: Plan) -> str:
    """Describe the machine and the versions."""
    node = shutil.which("node")
    version = (
        subprocess.run([node, "--version"], capture_output=True, text=True, check=True) if node else None
    )
    return (
        f"{machine(f', Node.js {version.stdout.strip()}' if version else '')}\n"
        f"{plan.rounds} rounds, windows of {plan.measure_s:g} s (10 s at 200 messages/s) "
        f"after {plan.warm_up_s:g} s of warm-up. "
        "Everything, including the load generator, ran on this machine."
    )


if __name__ == "__main__":
    sys.exit(main())
