"""`put_user`, `get_user`: profiles, for the app's own backend."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from infra.store.profiles import is_username
from infra.wire.commands import GetUser, PutUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import User, UserAck, iso_ms
from workers.arrays import array
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request

_PUT = text(
    """
    INSERT INTO profiles AS p (id, username)
    SELECT CAST(:id AS uuid), :username
    WHERE NOT EXISTS (
        SELECT FROM profiles q WHERE q.username_key = username_key(:username) AND q.id <> CAST(:id AS uuid)
    )
    ON CONFLICT (id) DO UPDATE SET username = excluded.username
    WHERE p.deleted_at IS NULL AND p.username <> excluded.username
    """
)
"""In a Supabase project, a trigger drops the row of an id that is none of its users.

A name that another batch gives away meanwhile fails the statement, and the next try finds it taken.
"""
_READ = text(
    """
    SELECT id, username, created_at, last_seen_at FROM profiles
    WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL
    """
)
_TAKEN = text("SELECT id FROM profiles WHERE username_key = username_key(:username)")


def put_users(conn: Connection, requests: Sequence[Request[PutUser]], context: HandlerContext) -> Outcome:
    """Give each user the name, in the order of the requests. Deleted users stay deleted."""
    outcome = Outcome()
    for request in requests:
        with outcome.rejections(request):
            outcome.succeed(request, UserAck(user=_put(conn, request.command)))
    return outcome


def _put(conn: Connection, command: PutUser) -> User:
    user_id, username = str(command.user_id), command.username
    if not is_username(username):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Nobody may have this username.")
    conn.execute(_PUT, {"id": user_id, "username": username})
    user = _read(conn, [user_id]).get(user_id)
    if user is not None and user.username == username:
        return user
    if conn.execute(_TAKEN, {"username": username}).scalar() not in (None, user_id):
        raise Rejection(ErrorCode.USERNAME_TAKEN)
    raise Rejection(ErrorCode.USER_NOT_FOUND)


def get_users(conn: Connection, requests: Sequence[Request[GetUser]], context: HandlerContext) -> Outcome:
    """Return the profiles of users who are not deleted."""
    outcome = Outcome()
    users = _read(conn, {str(request.command.user_id) for request in requests})
    for request in requests:
        with outcome.rejections(request):
            user = users.get(str(request.command.user_id))
            if user is None:
                raise Rejection(ErrorCode.USER_NOT_FOUND)
            outcome.succeed(request, UserAck(user=user))
    return outcome


def _read(conn: Connection, ids: Collection[str]) -> dict[str, User]:
    return {row.id: _to_user(row) for row in conn.execute(_READ, {"ids": array(ids)})}


def _to_user(row: Row[Any]) -> User:
    return User(
        user_id=row.id,
        username=row.username,
        created_at=iso_ms(row.created_at),
        last_seen=iso_ms(row.last_seen_at) if row.last_seen_at else None,
    )
