"""Makes sure that users have a profile before they act."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from infra.store.profiles import insert_profiles, is_username
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.registry import WORKER_COMMANDS
from workers.chats import read_people
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request, Requests

_ENSURING: Final = tuple(name for name, command in WORKER_COMMANDS.items() if command.ensures_profile)
"""Commands that carry the username in the user's token."""


def ensure_profiles(
    conn: Connection, requests: Requests, context: HandlerContext, outcome: Outcome
) -> Requests:
    """Create the profiles that commands of a batch ask for.

    Returns the requests without those of users who still have no profile; they are rejected.
    """
    asking = [request for name in _ENSURING for request in requests.get(name, ())]
    if not asking:
        return requests
    known = _ensure(conn, asking, context)
    for request in asking:
        if request.user_id not in known:
            outcome.reject(request, Rejection(ErrorCode.PROFILE_MISSING))
    admitted = {
        name: [request for request in requests.get(name, ()) if request.user_id in known]
        for name in _ENSURING
    }
    return {**requests, **admitted}


def _ensure(conn: Connection, asking: Sequence[Request[Any]], context: HandlerContext) -> set[str]:
    """Return the users who have a profile now."""
    known = set(read_people(conn, (request.user_id for request in asking)).by_id)
    if not context.provision_profiles:
        return known
    named = {
        request.user_id: request.command.username
        for request in asking
        if request.user_id not in known and request.command.username and is_username(request.command.username)
    }
    if named:
        insert_profiles(conn, named)
        # Some may have lost their name to another user.
        known |= set(read_people(conn, named).by_id)
    return known
