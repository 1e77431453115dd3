"""Makes sure that users have a profile before they act."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from infra.store.profiles import NamedUser, insert_profiles, is_username, rename_profiles
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
    """Return the users who have a profile now. If tokens give names, create and rename profiles first."""
    known = read_people(conn, (request.user_id for request in asking)).by_id
    if not context.provision_profiles:
        return set(known)
    named = _newest_names(asking)
    if new := [user for user in named if user.id not in known]:
        insert_profiles(conn, new)
    if renamed := [user for user in named if known.get(user.id, user.username) != user.username]:
        rename_profiles(conn, [user for user in renamed if user.named_at is not None])
    if new:
        # Some may have lost their name to another user, or have been deleted.
        known = {**known, **read_people(conn, (user.id for user in new)).by_id}
    return set(known)


def _newest_names(asking: Sequence[Request[Any]]) -> list[NamedUser]:
    """Return the users whose tokens carry a name that they may have, by their newest tokens."""
    users: dict[str, NamedUser] = {}
    for request in sorted(asking, key=lambda request: request.command.issued_at or 0):
        username, issued_at = request.command.username, request.command.issued_at
        if username and is_username(username):
            named_at = datetime.fromtimestamp(issued_at, UTC) if issued_at else None
            users[request.user_id] = NamedUser(request.user_id, username, named_at)
    return list(users.values())
