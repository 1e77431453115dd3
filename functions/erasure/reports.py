"""Erases what a user wrote from the copies of messages that reports keep."""

from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, text

from functions.erasure import record
from functions.erasure.portions import erase_in_portions
from functions.pacer import Pacer
from infra.store.erasures import Erasure
from infra.store.profiles import DELETED_USERNAME
from infra.wire.events import iso_ms

_SLICE: Final = 50
_READ = text(
    f"""
    SELECT id, reporter_id = :user AS is_reporter, note, messages::text AS messages FROM reports
    WHERE id = ANY(ARRAY(
        (SELECT id FROM reports WHERE reporter_id = :user AND id > :after ORDER BY id LIMIT {_SLICE})
        UNION
        (SELECT id FROM reports WHERE reported_id = :user AND id > :after ORDER BY id LIMIT {_SLICE})
        ORDER BY id LIMIT {_SLICE}
    ))
    ORDER BY id
    FOR UPDATE
    """
)
_WRITE = text("UPDATE reports SET messages = CAST(:messages AS json), note = :note WHERE id = :id")
_Json = dict[str, Any]


def erase_copies(engine: Engine, pacer: Pacer, erasure: Erasure, place: str | None = None) -> bool:
    """Erase the user from all reports by and about them behind a place. Return False without time for all.

    Who has reported whom, when and why stays, and what the other one wrote.
    """
    start = UUID(place) if place else UUID(int=0)
    return erase_in_portions(engine, pacer, erasure, "reports", start, _erase_some)


def _erase_some(erasure: Erasure, after: UUID, conn: Connection) -> UUID | None:
    """Erase the user from some reports. Return the id of the last one, None if there are none."""
    changed = 0
    row = None
    for row in conn.execute(_READ, {"user": erasure.user_id, "after": after}).all():
        messages = msgspec.json.decode(row.messages)
        scrubbed = [scrub(message, erasure) for message in messages]
        note = None if erasure.deletes and row.is_reporter else row.note
        if scrubbed != messages or note != row.note:
            params = {"id": row.id, "note": note, "messages": msgspec.json.encode(scrubbed).decode()}
            conn.execute(_WRITE, params)
            changed += 1
    record.count(conn, erasure.user_id, {"postgres.reports": changed})
    return None if row is None else row.id


def scrub(message: _Json, erasure: Erasure) -> _Json:
    """Return a copied message without the user's name and, if their messages are erased, their words."""
    user_id = str(erasure.user_id)
    message = _nameless(message, "sender", user_id)
    message = _nameless(message, "recipient", user_id)
    if isinstance(quote := message.get("replyTo"), dict):
        quote = _nameless(quote, "sender", user_id)
        message["replyTo"] = _wordless(quote, erasure) if quote.get("senderId") == user_id else quote
    if not erasure.deletes:
        return message
    if message.get("senderId") == user_id:
        message = _wordless(message, erasure)
    return _without_reactions(message, user_id)


def _nameless(message: _Json, who: str, user_id: str) -> _Json:
    if message.get(f"{who}Id") != user_id:
        return dict(message)
    return {**message, f"{who}Username": DELETED_USERNAME}


def _wordless(message: _Json, erasure: Erasure) -> _Json:
    """Return the tombstone of a message, or of a quote."""
    if not erasure.deletes:
        return message
    left = {key: value for key, value in message.items() if key not in {"data", "reactions", "clientId"}}
    return {"deletedAt": iso_ms(erasure.started_at), **left, "text": ""}


def _without_reactions(message: _Json, user_id: str) -> _Json:
    if "reactions" not in message:
        return message
    others = [
        {**reaction, "userIds": [one for one in reaction["userIds"] if one != user_id]}
        for reaction in message["reactions"]
    ]
    return {**message, "reactions": [reaction for reaction in others if reaction["userIds"]]}
