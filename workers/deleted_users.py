"""Refuses what deleted users send: their tokens live on for a while."""

from time import monotonic
from typing import Final

from sqlalchemy import Connection, text

from infra.wire.errors import ErrorCode, Rejection
from workers.outcome import Outcome
from workers.requests import Requests

_REFRESH_S: Final = 5.0
"""A deletion is noticed within this time. Asking for each batch would delay every message."""

_DELETED = text(
    """
    SELECT id FROM profiles WHERE deleted_at > now() - interval '8 days'
    ORDER BY deleted_at DESC LIMIT 10000
    """
)
"""No token of Supabase Auth lives for longer than a week (`JWT_EXP`)."""


class DeletedUsers:
    """The users who were deleted lately, as one worker knows them."""

    def __init__(self) -> None:
        self._ids: frozenset[str] = frozenset()
        self._read_at = float("-inf")

    def reject(self, conn: Connection, requests: Requests, outcome: Outcome) -> Requests:
        """Reject the requests of deleted users with `profile_missing`; return the others."""
        if monotonic() - self._read_at >= _REFRESH_S:
            self._ids = frozenset(map(str, conn.execute(_DELETED).scalars()))
            self._read_at = monotonic()
        if not self._ids:
            return requests
        for some in requests.values():
            for request in some:
                if request.user_id in self._ids:
                    outcome.reject(request, Rejection(ErrorCode.PROFILE_MISSING))
        return {
            name: [request for request in some if request.user_id not in self._ids]
            for name, some in requests.items()
        }
