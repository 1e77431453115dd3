"""`erase_users`: goes on with every erasure that is not finished, whoever has asked for it."""

from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from functions.context import Context, Summary
from functions.erasure.announcer import QueueAnnouncer
from functions.erasure.job import go_on
from functions.errors import ErasureRefused
from functions.pacer import Pacer

log = structlog.get_logger(__name__)

_TURN_S: Final = 20.0
"""A run ends after this time: notifications wait for the same worker. The next run goes on."""
_AGAIN_S: Final = 300
"""When one that has failed is tried again: others come first meanwhile."""

_DUE = text(
    """
    SELECT user_id FROM erasures WHERE finished_at IS NULL AND next_at <= now()
    ORDER BY next_at LIMIT 100
    """
)
_COUNT = text("SELECT count(*) FROM erasures WHERE finished_at IS NULL")
_POSTPONE = text(
    """
    UPDATE erasures SET next_at = now() + make_interval(secs => :seconds)
    WHERE user_id = :user AND finished_at IS NULL
    """
)


def erase_users(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Erase users for a while, the one first who has waited longest. Return how many are finished, and not.

    One that fills a run comes last in the next. Two runs at once, or one beside `bbgram user delete`, do no
    harm. An erasure that fails keeps no other from being done. Raises what the last one that failed has
    raised, and sqlalchemy.exc.SQLAlchemyError.
    """
    with context.engine.begin() as conn:
        if dry_run:
            return {"open": conn.execute(_COUNT).scalar_one()}
        due = list(conn.execute(_DUE).scalars())
    turn = Pacer(min(_TURN_S, pacer.left_s))
    finished = 0
    failure: Exception | None = None
    for user_id in due:
        if turn.out_of_time:
            break
        try:
            is_finished = go_on(context, turn, QueueAnnouncer(context), user_id)
            finished += is_finished
            if not is_finished and turn.out_of_time:
                _postpone(context, user_id, 0)
        except ErasureRefused:
            continue  # begun anew: the next run takes it
        except Exception as error:
            log.error("erasure_failed", user_id=str(user_id), error=type(error).__name__)
            _postpone(context, user_id, _AGAIN_S)
            failure = error
    if failure is not None:
        raise failure
    return {"finished": finished, "open": len(due) - finished}


def _postpone(context: Context, user_id: UUID, seconds: int) -> None:
    """Have others come first."""
    with context.engine.begin() as conn:
        conn.execute(_POSTPONE, {"user": user_id, "seconds": seconds})
