"""Erases a user from what waits to be told to the app's backend, and from what was given up."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, text

from functions.erasure import record
from functions.erasure.portions import erase_in_portions
from functions.erasure.reports import scrub
from functions.pacer import Pacer
from infra.store.erasures import Erasure
from infra.store.profiles import DELETED_USERNAME

SLICE: Final = 1_000
"""Facts that one transaction looks at, of whomever: no index finds those of a user."""
_LAST = text(
    f"""
    SELECT max(number) FROM (
        SELECT number FROM outbox WHERE number > :after ORDER BY number LIMIT {SLICE}
    ) portion
    """
)
_READ = text(
    """
    SELECT number, body FROM outbox
    WHERE number > :after AND number <= :last
        AND (about = :user OR strpos(body, CAST(:user AS text)) > 0)
    ORDER BY number
    FOR UPDATE
    """
)
_WRITE = text("UPDATE outbox SET body = :body WHERE number = :number")
_DELETE = text("DELETE FROM outbox WHERE number = :number")
_Json = dict[str, Any]


def erase_facts(engine: Engine, pacer: Pacer, erasure: Erasure, place: str | None = None) -> bool:
    """Erase the user from the outbox of webhooks behind a place. Return False if the run is out of time.

    Facts about them alone go; those about their chats stay, without their words and their name.
    """
    return erase_in_portions(engine, pacer, erasure, "outbox", int(place or 0), _erase_some)


def _erase_some(erasure: Erasure, after: int, conn: Connection) -> int | None:
    """Erase the user from some facts of anybody. Return the number of the last, None if there are none."""
    last: int | None = conn.execute(_LAST, {"after": after}).scalar_one()
    if last is None:
        return None
    changed = 0
    for row in conn.execute(_READ, {"user": erasure.user_id, "after": after, "last": last}).all():
        body = _decode(row.body)
        left = _left(body, erasure)
        if left is None:
            conn.execute(_DELETE, {"number": row.number})
        elif left != body:
            conn.execute(_WRITE, {"number": row.number, "body": msgspec.json.encode(left).decode()})
        changed += left != body
    record.count(conn, erasure.user_id, {"postgres.outbox": changed})
    return last


def _decode(body: str) -> _Json:
    """Return a body, an empty one if it cannot be read."""
    try:
        decoded: _Json = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return decoded


def _left(body: _Json, erasure: Erasure) -> _Json | None:
    """Return what may be told of a fact, None if nothing."""
    user_id = str(erasure.user_id)
    is_note = body.get("senderId") == body.get("recipientId") == user_id
    if not body or is_note or body.get("userId") == user_id:
        return None
    if "senderId" in body:
        return scrub(body, erasure)
    left = dict(body)
    if erasure.deletes and body.get("reporterId") == user_id:
        left["note"] = None
    if "users" in body:
        left["users"] = [_nameless(one, user_id) for one in body["users"]]
    return left


def _nameless(user: _Json, user_id: str) -> _Json:
    return {**user, "username": DELETED_USERNAME} if user.get("userId") == user_id else user
