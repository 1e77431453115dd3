"""What answers cost users who have much, beside users of the same chat who have little.

`python -m tests.benchmark.sizes` writes the table in docs/benchmarks.md, as `make bench` does.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.benchmark import heavy, measure
from tests.benchmark.heavy import Compared
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed, Loader
from tests.benchmark.part import run_part
from tests.benchmark.seeds import (
    BEHIND,
    CROWD,
    CROWD_CHATS,
    CROWD_MESSAGES,
    FEW_CHATS,
    FEW_UNREAD,
    MANY_CHATS,
    MANY_UNREAD,
    Chats,
    fill,
    reset,
    settle,
)
from tests.benchmark.systems import Field, Ours
from tests.harness.deployment import user_id_of

_PAIRS: Final = 200
_RATE: Final = 200
_SEND_S: Final = 5.0
_ASKS: Final = 100
_CONNECTS: Final = 40
_DELIVERED_S: Final = 10.0

_PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_FILE: Final = _PAGE.with_suffix("") / "sizes.json"
_RESULTS: Final = re.compile(r"(?<=<!-- sizes -->\n).*(?=<!-- end of sizes -->)", re.DOTALL)

TEXT: Final = f"""\
The database holds {CROWD_MESSAGES:,} messages in {CROWD_CHATS:,} chats of {CROWD:,} users,
and those of a few heavy users. One edge and one worker serve them. A user who has much and one who has
little ask in turns; the times are medians of what their clients waited. The messages of the backlog
come from {BEHIND.chats} chats in turns, and the client acks each of them."""
"""What the rows are, for docs/benchmarks.md."""


class Round(msgspec.Struct, frozen=True):
    """What one round has measured."""

    caught_up: float
    """Messages/s of a user who has been away."""
    compared: dict[str, Compared]


def _unread(words: str) -> str:
    return f"{words} with {MANY_UNREAD.messages:,} unread messages, against {FEW_UNREAD.messages}"


LIST: Final = f"first page of `list_chats` with {MANY_CHATS.chats:,} chats, against {FEW_CHATS.chats}"
LIST_UNREAD: Final = _unread("`list_chats`")
READ: Final = _unread("`mark_as_read`")
SYNC: Final = f"in step again, nothing new, with {MANY_CHATS.chats:,} chats, against {FEW_CHATS.chats}"
SEND: Final = (
    f"p50 ack at {_RATE} messages/s with {CROWD_MESSAGES:,} messages and {CROWD_CHATS:,} chats stored, "
    "against none"
)
CONNECT: Final = _unread("from the connect to `unread_changed`,")
CAUGHT_UP: Final = (
    f"messages/s until {BEHIND.messages:,} undelivered messages in {BEHIND.chats} chats have arrived"
)
GOALS: Final = {LIST: 1.5, LIST_UNREAD: 1.5, READ: 1.5, SYNC: 1.5, SEND: 1.1, CONNECT: None}
"""The most times as long that an answer may take."""
CAUGHT_UP_GOAL: Final = 5_000


class Sizes(Field):
    """An empty chat and a full one that run side by side, on one Postgres and one Valkey."""

    @contextmanager
    def both(self, say: Callable[[str], None]) -> Iterator[tuple[Ours, Ours]]:
        """Run both; fill one of them."""
        with ExitStack() as running:
            empty, full = (running.enter_context(self._started(name)) for name in ("empty", "full"))
            began = time.monotonic()
            fill(full.store.engine(pool_size=1, timeouts=False))
            say(f"the database was filled in {time.monotonic() - began:.0f} s")
            yield empty, full

    @contextmanager
    def _started(self, name: str) -> Iterator[Ours]:
        system = Ours(self._engines.new_store(), self._folder / name, self._issuer)
        try:
            yield system
        finally:
            system.stop()


def run(field: Sizes, rounds: int, say: Callable[[str], None]) -> Iterator[Round]:
    """Measure in rounds. Raises BenchmarkFailed if a message is lost, doubled or out of order."""
    with field.both(say) as (empty, full):
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}: sizes")
            reset(full.store.engine(pool_size=1, timeouts=False))
            settle(full.store.engine(pool_size=1, timeouts=False))
            caught_up = round(_catch_up(full), 1)
            yield Round(caught_up, {**_compare(full), SEND: _send(field, empty, full)})


def _send(field: Sizes, empty: Ours, full: Ours) -> Compared:
    """Return the p50 of sends, each the mean of two windows with the other's between them, or around them."""
    empty.forget()
    p50: dict[Ours, list[float]] = {empty: [], full: []}
    for system in (empty, full, full, empty):
        cost = measure.run(field, system, 2 * _PAIRS, rate=_RATE, warm_up_s=1.5, measure_s=_SEND_S)
        p50[system].append(cost.result.ack.p50)
    return Compared(*(round(statistics.mean(p50[system]), 3) for system in (empty, full)))


def _compare(system: Ours) -> dict[str, Compared]:
    chats, unread = (FEW_CHATS, MANY_CHATS), (FEW_UNREAD, MANY_UNREAD)
    page = '"chatId"'
    first_page = {"event": "list_chats", "payloads": (["{}"] * _ASKS,) * 2, "expects": page}
    marks = {"event": "mark_as_read", "payloads": tuple(_marks(system, one) for one in unread)}
    steps: dict[str, tuple[Sequence[Chats], Callable[..., heavy.Spec], dict[str, Any]]] = {
        LIST: (chats, heavy.Ask, first_page),
        SYNC: (chats, heavy.Walk, {"times": _ASKS}),
        CONNECT: (
            unread,
            heavy.Connect,
            {"times": _CONNECTS, "unread": tuple(one.messages for one in unread)},
        ),
        LIST_UNREAD: (unread, heavy.Ask, first_page),
        READ: (unread, heavy.Ask, marks),
    }
    found = {}
    for name, (users, step, more) in steps.items():
        auths = tuple(system.auth(one.username) for one in users)
        found[name] = _do(step(port=system.ports[0], auths=auths, **more), Compared)
    return found


def _marks(system: Ours, user: Chats) -> list[str]:
    """Return requests that mark all chats of a user as read, one after another."""
    rows = system.rows("SELECT chat_id FROM chat_members WHERE user_id = :u", u=user_id_of(user.username))
    return [msgspec.json.encode({"chatId": row.chat_id}).decode() for row in rows]


def _catch_up(system: Ours) -> float:
    """Let the user who has been away receive everything; return how many messages/s came."""
    arrival = heavy.Arrive(system.ports[0], system.auth(BEHIND.username), BEHIND.messages)
    found = _do(arrival, heavy.Arrived)
    wrong = {
        "missing": BEHIND.messages - found.messages,
        "doubled": found.doubled,
        "out of order": found.out_of_order + found.older,
        "not delivered": _undelivered(system),
    }
    if any(wrong.values()):
        raise BenchmarkFailed("backlog: " + ", ".join(f"{n} {what}" for what, n in wrong.items() if n))
    return float(BEHIND.messages / found.last_s)


def _undelivered(system: Ours) -> int:
    """Return how many of the messages are not confirmed after a while."""
    deadline = time.monotonic() + _DELIVERED_S
    while True:
        ((left,),) = system.rows(
            "SELECT sum(:each - delivered_seq)::int FROM chat_members WHERE user_id = :user",
            each=BEHIND.each,
            user=user_id_of(BEHIND.username),
        )
        if not left or time.monotonic() > deadline:
            return int(left)
        time.sleep(0.2)


def _do(spec: heavy.Spec, kind: type) -> Any:
    with closing(Loader(spec, "tests.benchmark.heavy")) as loader:
        return loader.read(kind)


def table(found: Sequence[Round]) -> str:
    """Return the tables: of the ratios, and of the user who has been away."""
    lines = [
        "| an answer, against that with little | goal | min | median | max | ms with little | ms with much |",
        "| --- " * 7 + "|",
    ]
    for name, goal in GOALS.items():
        rounds = [one.compared[name] for one in found]
        ratios = " | ".join(f"{value:.2f}" for value in _spread([one.ratio for one in rounds]))
        little, much = (
            f"{statistics.median(values):.1f}"
            for values in ([one.little for one in rounds], [one.much for one in rounds])
        )
        lines.append(f"| {name} | {f'<= {goal}' if goal else ''} | {ratios} | {little} | {much} |")
    speeds = " | ".join(f"{value:,.0f}" for value in _spread([one.caught_up for one in found]))
    lines += [
        "",
        "| a user who has been away | goal | min | median | max |",
        "| --- " * 5 + "|",
        f"| {CAUGHT_UP} | >= {CAUGHT_UP_GOAL:,} | {speeds} |",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def measure_sizes(rounds: int) -> list[Round]:
    """Fill a database, and measure so often."""
    with tempfile.TemporaryDirectory() as folder, closing(Sizes(Path(folder))) as field:
        return list(run(field, rounds, lambda line: print(line, file=sys.stderr)))


def write(found: Sequence[Round]) -> None:
    """Write the measurements and the tables."""
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    text = f"\n{machine()} {len(found)} rounds.\n\n{TEXT}\n\n{table(found)}\n\n"
    _PAGE.write_text(_RESULTS.sub(lambda _: text, _PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(run_part(__doc__ or "", measure_sizes, table, write))
