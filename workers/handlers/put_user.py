"""`put_user`, `get_user`: profiles, for the app's own backend."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.profiles import is_username, is_visible
from infra.wire.commands import GetUser, PutUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import User, UserAck, iso_ms
from workers.arrays import array
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.profile_fields import profile_fields
from workers.requests import HANDLED, Request

_LOCK = text("SELECT FROM profiles WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
"""In the same order as all others, so that two batches do not wait for each other."""
_PUT = text(
    """
    INSERT INTO profiles AS p (id, username, display_name, avatar_url, data, handled)
    SELECT CAST(:id AS uuid), :username, :name, :avatar_url, :data, ARRAY[CAST(:request AS uuid)]
    WHERE NOT EXISTS (
        SELECT FROM profiles q WHERE q.username_key = username_key(:username) AND q.id <> CAST(:id AS uuid)
    )
    ON CONFLICT (id) DO UPDATE SET
        username = excluded.username,
        display_name = CASE WHEN 'name' = ANY(:left_out) THEN p.display_name ELSE excluded.display_name END,
        avatar_url = CASE WHEN 'avatar_url' = ANY(:left_out) THEN p.avatar_url ELSE excluded.avatar_url END,
        data = CASE WHEN 'data' = ANY(:left_out) THEN p.data ELSE excluded.data END,
        handled = array_append(p.handled[cardinality(p.handled) + 2 - :kept :], CAST(:request AS uuid))
    WHERE p.deleted_at IS NULL AND CAST(:request AS uuid) <> ALL(coalesce(p.handled, '{}') || p.refused)
    """
)
"""In a Supabase project, a trigger drops the row of an id that is none of its users.

A name that another batch gives away meanwhile fails the statement, and the next try finds it taken.
"""
_READ = text(
    """
    SELECT id, username, display_name, avatar_url, data, created_at, last_seen_at, deleted_at,
        handled::text[], refused::text[]
    FROM profiles
    WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL
    """
)
_TAKEN = text("SELECT id FROM profiles WHERE username_key = username_key(:username)")
_REFUSE = text(
    """
    UPDATE profiles
    SET refused = array_append(refused[cardinality(refused) + 2 - :kept :], CAST(:request AS uuid))
    WHERE id = :id
    """
)
_OPTIONAL: Final = ("name", "avatar_url", "data")
"""Fields of a request that may be left out: then they stay as they are."""


def put_users(conn: Connection, requests: Sequence[Request[PutUser]], context: HandlerContext) -> Outcome:
    """Make or change the profiles, in the order of the requests. Deleted users stay deleted.

    A request that comes again, after later ones perhaps, changes nothing. Nor does one that was refused, if
    the user had a profile to remember it.
    """
    outcome = Outcome()
    conn.execute(_LOCK, {"ids": array({str(request.command.user_id) for request in requests})})
    for request in requests:
        with outcome.rejections(request):
            outcome.succeed(request, UserAck(user=_put(conn, request)))
    return outcome


def _put(conn: Connection, request: Request[PutUser]) -> User:
    command, user_id = request.command, str(request.command.user_id)
    if not is_username(command.username):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Nobody may have this username.")
    if command.name and not is_visible(command.name):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The name shows nothing.")
    this = {"id": user_id, "request": request.id, "kept": HANDLED}
    conn.execute(
        _PUT,
        {
            **this,
            "username": command.username,
            "name": command.name or None,
            "avatar_url": command.avatar_url or None,
            "data": command.data_text,
            "left_out": [field for field in _OPTIONAL if getattr(command, field) is msgspec.UNSET],
        },
    )
    row = _read(conn, [user_id]).get(user_id)
    if row is not None and request.id in (row.handled or ()):
        return _to_user(row)
    if row is not None and request.id in (row.refused or ()):
        raise Rejection(ErrorCode.USERNAME_TAKEN)
    if conn.execute(_TAKEN, {"username": command.username}).scalar() not in (None, user_id):
        if row is not None:
            conn.execute(_REFUSE, this)
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
        **profile_fields(row),
    )
