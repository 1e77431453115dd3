"""Cursors of lists that are ordered by a time, newest first."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from infra.wire.errors import ErrorCode, Rejection

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Position(NamedTuple):
    at_us: int
    id: str


class TimeCursor(NamedTuple):
    """Where a page begins: after the row with this time and id. Both are parameters of a statement."""

    time: str
    id: str | None

    @classmethod
    def decode(cls, cursor: str | None, command: str) -> "TimeCursor":
        """Return the position that `command` has returned as a cursor; without one, the newest row.

        Raises Rejection.
        """
        if cursor is None:
            return cls("infinity", None)
        try:
            position = msgspec.json.decode(urlsafe_b64decode(cursor), type=_Position)
            time = _EPOCH + timedelta(microseconds=position.at_us)
            return cls(time.isoformat(), str(UUID(position.id)))
        except (ValueError, OverflowError) as error:
            unknown = f"The cursor is not one that {command} returned."
            raise Rejection(ErrorCode.INVALID_PAYLOAD, unknown) from error


def encode(at: datetime, row_id: str) -> str:
    """Return the cursor of the page after this row."""
    position = _Position((at - _EPOCH) // timedelta(microseconds=1), row_id)
    return urlsafe_b64encode(msgspec.json.encode(position)).decode()
