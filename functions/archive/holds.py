"""Days on hold: after a restore, their messages stay in Postgres for a while."""

from datetime import date
from typing import Final

from sqlalchemy import Engine, text

NOT_HELD: Final = "NOT EXISTS (SELECT FROM archive_holds h WHERE h.day = {day} AND h.until > now())"
"""A condition in SQL; `day` is an expression for a UTC day."""

_HOLD = text(
    """
    INSERT INTO archive_holds (day, until)
    SELECT CAST(day AS date), now() + make_interval(hours => 24 * CAST(:hold_days AS integer))
    FROM generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 day') AS day
    ON CONFLICT (day) DO UPDATE SET until = greatest(archive_holds.until, excluded.until)
    """
)


def hold_days(engine: Engine, first_day: date, last_day: date, hold_days: int) -> None:
    """Keep days from being archived for `hold_days` days from now."""
    with engine.begin() as conn:
        conn.execute(_HOLD, {"first": first_day, "last": last_day, "hold_days": hold_days})
