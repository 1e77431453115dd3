"""`make migrations`: runs each migration while users send, in a database with a million messages.

Writes the table into docs/operations.md. Exits with 1 if the 99th percentile of the sends reaches a second.
"""

import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from alembic import command
from sqlalchemy import Engine

from infra.settings.store import SCHEMA
from infra.store.engine import make_engine
from infra.store.folding import unicode_parts
from infra.store.migrate import _config, _script, _try_upgrade
from tests.harness.engines import Engines
from tests.migrations.rows import add_rows, make_database, revisions, users_of
from tests.migrations.sends import sending

_MESSAGES: Final = 1_000_000
_AROUND_S: Final = 3.0
"""How long users send before a migration, and after it."""
_HELD_S: Final = 10.0
_MOST_S: Final = 1.0
_PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
_TABLE: Final = re.compile(r"(?<=<!-- migrations -->\n).*(?=<!-- end of migrations -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """What a migration cost those who were sending."""

    name: str
    seconds: float
    sends: int
    p50_s: float
    p99_s: float
    slowest_s: float

    def __str__(self) -> str:
        times = (self.seconds, self.p50_s, self.p99_s, self.slowest_s)
        cells = [self.name, *(f"{1000 * one:,.0f}" for one in times), f"{self.sends:,}"]
        return "| " + " | ".join(cells) + " |\n"


def main() -> int:
    """Run all; return the exit code."""
    unicode_parts()
    with tempfile.TemporaryDirectory(prefix="bbgram-migrations-") as folder:
        Path(folder).chmod(0o755)  # Postgres of root runs as another user
        engines = Engines(Path(folder))
        engines.start()
        try:
            url = engines.new_store(migrated=False).database_url
            engine = make_engine(url, pool_size=20, timeouts=False)
            rows = list(_measure(engine))
            engine.dispose()
        finally:
            engines.stop()
    _write(rows)
    slow = [row.name for row in rows if row.p99_s >= _MOST_S]
    for name in slow:
        print(f"sends waited too long for {name}", file=sys.stderr)
    return 1 if slow else 0


def _measure(engine: Engine) -> Iterator[Row]:
    first, *later = revisions()
    make_database(engine, first)
    began = time.monotonic()
    add_rows(engine, _MESSAGES)
    print(f"{_MESSAGES:,} messages in {time.monotonic() - began:.0f} s", flush=True)
    for revision in later:
        yield _step(engine, _title(revision))
    with engine.begin() as conn:
        command.downgrade(_config(conn, SCHEMA), "-1")
    with _reading(engine):
        yield _step(engine, f"{_title(later[-1])}, while a backup reads for {_HELD_S:.0f} s")


def _title(revision: str) -> str:
    module = Path(_script().get_revision(revision).path).stem
    return f"`{module}`"


def _step(engine: Engine, name: str) -> Row:
    with sending(engine, users_of(_MESSAGES)) as load:
        time.sleep(_AROUND_S)
        began = time.monotonic()
        _try_upgrade(engine, SCHEMA)
        seconds = time.monotonic() - began
        time.sleep(_AROUND_S)
    if load.errors:
        raise load.errors[0]
    row = Row(
        name, seconds, len(load.waits_s), load.percentile(0.5), load.percentile(0.99), max(load.waits_s)
    )
    print(row, end="", flush=True)
    return row


@contextmanager
def _reading(engine: Engine) -> Iterator[None]:
    """Hold the locks of a long read, from before the block on."""
    conn = engine.connect()
    conn.exec_driver_sql("LOCK TABLE profiles, chats, chat_members, messages IN ACCESS SHARE MODE")
    end = threading.Timer(_AROUND_S + _HELD_S, conn.close)
    end.start()
    yield
    end.join()


def _write(rows: list[Row]) -> None:
    table = (
        f"\n`make migrations` on {date.today()}, {_MESSAGES:,} messages, 200 sends a second, times in ms:\n\n"
        "| migration | takes | median send | 99th percentile | slowest | sends |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n" + "".join(map(str, rows)) + "\n"
    )
    _PAGE.write_text(_TABLE.sub(lambda _: table, _PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
