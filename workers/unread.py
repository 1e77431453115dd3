"""Tells users how much they have not read. Clients add what comes in meanwhile."""

from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, text

from infra.store.unread import TOTALS
from infra.wire.events import UNREAD_CHANGED, UnreadChanged
from workers.arrays import array
from workers.outcome import Outcome

_TOTALS = text(TOTALS)
_NOTHING = UnreadChanged(total=0, chats=0)


def tell_unread(conn: Connection, user_ids: AbstractSet[str], outcome: Outcome) -> None:
    """Tell all devices of some users how much they have not read."""
    if not user_ids:
        return
    rows = conn.execute(_TOTALS, {"users": array(user_ids)})
    totals = {row.user_id: UnreadChanged(total=row.total, chats=row.chats) for row in rows}
    for user_id in sorted(user_ids):
        outcome.emit(user_id, UNREAD_CHANGED, totals.get(user_id, _NOTHING))
