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
from workers.requests import HANDLED, Request

_PUT = text(
    """
    INSERT INTO profiles AS p (id, username, handled)
    SELECT CAST(:id AS uuid), :username, ARRAY[CAST(:request AS uuid)]
    WHERE NOT EXISTS (
        SELECT FROM profiles q WHERE q.username_key = username_key(:username) AND q.id <> CAST(:id AS uuid)
    )
    ON CONFLICT (id) DO UPDATE SET
        username = excluded.username,
        handled = array_append(p.handled[cardinality(p.handled) + 2 - :kept :], CAST(:request AS uuid))
    WHERE p.deleted_at IS NULL AND CAST(:request AS uuid) <> ALL(coalesce(p.handled, '{}'))
    """
)
"""In a Supabase project, a trigger drops the row of an id that is none of its users.

A name that another batch gives away meanwhile fails the statement, and the next try finds it taken.
"""
_READ = text(
    """
    SELECT id, username, created_at, last_seen_at, handled::text[] FROM profiles
    WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL
    """
)
_TAKEN = text("SELECT id FROM profiles WHERE username_key = username_key(:username)")


def put_users(conn: Connection, requests: Sequence[Request[PutUser]], context: HandlerContext) -> Outcome:
    """Give each user the name, in the order of the requests. Deleted users stay deleted.

    A request that comes again, after later ones perhaps, changes nothing.
    """
    outcome = Outcome()
    for request in requests:
        with outcome.rejections(request):
            outcome.succeed(request, UserAck(user=_put(conn, request)))
    return outcome


def _put(conn: Connection, request: Request[PutUser]) -> User:
    user_id, username = str(request.command.user_id), request.command.username
    if not is_username(username):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Nobody may have this username.")
    conn.execute(_PUT, {"id": user_id, "username": username, "request": request.id, "kept": HANDLED})
    row = _read(conn, [user_id]).get(user_id)
    if row is not None and request.id in (row.handled or ()):
        return _to_user(row)
    if conn.execute(_TAKEN, {"username": username}).scalar() not in (None, user_id):
        raise Rejection(ErrorCode.USERNAME_TAKEN)
    raise Rejection(ErrorCode.USER_NOT_FOUND)


def get_users(conn: Connection, requests: Sequence[Request[GetUser]], context: HandlerContext) -> Outcome:
    """Return the profiles of users who are not deleted."""
    outcome = Outcome()
    rows = _read(conn, {str(request.command.user_id) for request in requests})
    for request in requests:
        with outcome.rejections(request):
            row = rows.get(str(request.command.user_id))
            if row is None:
                raise Rejection(ErrorCode.USER_NOT_FOUND)
            outcome.succeed(request, UserAck(user=_to_user(row)))
    return outcome


def _read(conn: Connection, ids: Collection[str]) -> dict[str, Row[Any]]:
    return {row.id: row for row in conn.execute(_READ, {"ids": array(ids)})}


def _to_user(row: Row[Any]) -> User:
    return User(
        user_id=row.id,
        username=row.username,
        created_at=iso_ms(row.created_at),
        last_seen=iso_ms(row.last_seen_at) if row.last_seen_at else None,
    )
