"""`restore`: brings archived days back into `messages`. Their objects stay where they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from functions.archive_lines import Line
from functions.archive_rows import keys
from functions.archive_store import ArchiveStore
from functions.context import Context, Stopwatch, Summary

_HOLD = text(
    """
    INSERT INTO archive_holds (day, until)
    SELECT CAST(day AS date), now() + make_interval(days => :hold_days)
    FROM generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 day') AS day
    ON CONFLICT (day) DO UPDATE SET until = greatest(archive_holds.until, excluded.until)
    """
)
_INSERT = text(
    """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT line.*
    FROM unnest(
        CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:senders AS uuid[]),
        CAST(:recipients AS uuid[]), CAST(:texts AS text[]), CAST(:client_ids AS text[]),
        CAST(:times AS timestamptz[])
    ) AS line (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    JOIN chats c ON c.id = line.chat_id
    ORDER BY line.chat_id, line.seq
    ON CONFLICT DO NOTHING
    """
)
_STORED = text(
    """
    WITH stored AS (
        SELECT m.chat_id, m.seq
        FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]))
            AS line (chat_id, seq, id)
        JOIN messages m ON m.chat_id = line.chat_id AND m.seq = line.seq AND m.id = line.id
    ), noted AS (
        UPDATE archived_chats a SET seqs = a.seqs - back.seqs
        FROM (
            SELECT chat_id, range_agg(int8range(seq, seq, '[]')) AS seqs FROM stored GROUP BY chat_id
        ) back
        WHERE a.chat_id = back.chat_id AND a.seqs && back.seqs
    )
    SELECT count(*) FROM stored
    """
)
_FORGET = text("DELETE FROM archived_chats WHERE chat_id = ANY(CAST(:chats AS uuid[])) AND isempty(seqs)")


@dataclass
class _Tally:
    messages: int = 0
    skipped: int = 0
    objects: int = 0


def restore(
    context: Context, watch: Stopwatch, first_day: date, last_day: date, dry_run: bool = False
) -> Summary:
    """Bring the UTC days `first_day` to `last_day` back, and keep them for `archive_hold_days`.

    Returns the messages that were put back, those `skipped` because their chat is gone or the sender
    has sent them anew, and the objects. Running it again is harmless. Raises SettingsError without a
    bucket and ArchiveError on an object that is not what was written.
    """
    store = ArchiveStore.connect(context.settings)
    tally = _Tally()
    if not dry_run:
        _hold(context.engine, first_day, last_day, context.settings.archive_hold_days)
    for day in _days(first_day, last_day):
        for part in store.parts(day):
            if watch.is_over:
                return vars(tally)
            with store.verified(part) as copy:
                tally.objects += 1
                if dry_run:
                    tally.messages += copy.facts.seal.count
                    continue
                for lines in copy.lines():
                    _put_back(context.engine, lines, tally)
    return vars(tally)


def _hold(engine: Engine, first_day: date, last_day: date, hold_days: int) -> None:
    """Keep the archive from taking the days again; it looks at this in every statement."""
    with engine.begin() as conn:
        conn.execute(_HOLD, {"first": first_day, "last": last_day, "hold_days": hold_days})


def _days(first_day: date, last_day: date) -> Iterator[date]:
    return (first_day + timedelta(days=number) for number in range((last_day - first_day).days + 1))


def _put_back(engine: Engine, lines: Sequence[Line], tally: _Tally) -> None:
    with engine.begin() as conn:
        inserted = conn.execute(_INSERT, _columns(lines)).rowcount
        stored = _note(conn, lines)
    tally.messages += inserted
    tally.skipped += len(lines) - stored


def _note(conn: Connection, lines: Sequence[Line]) -> int:
    """Take what is stored now out of `archived_chats`; return how many of the lines that are."""
    params = keys(lines)
    stored = int(conn.execute(_STORED, params).scalar_one())
    conn.execute(_FORGET, {"chats": params["chats"]})
    return stored


def _columns(lines: Sequence[Line]) -> dict[str, Any]:
    return {
        **keys(lines),
        "senders": [line.sender_id for line in lines],
        "recipients": [line.recipient_id for line in lines],
        "texts": [line.text for line in lines],
        "client_ids": [line.client_id for line in lines],
        "times": [line.created_at for line in lines],
    }
