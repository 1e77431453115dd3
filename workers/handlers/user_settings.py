"""`get_settings`, `update_settings`: who may write to a user, and what others see of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from infra.wire.commands import GetSettings, UpdateSettings
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import SETTINGS_CHANGED, Settings, SettingsAck
from workers.arrays import array
from workers.context import HandlerContext
from workers.handlers.broadcast_presence import tell_visibility
from workers.outcome import Outcome
from workers.requests import HANDLED, Request

_COLUMNS = "messages_from, read_receipts, show_presence, push_texts"
_READ = text(
    f"""
    SELECT id, {_COLUMNS} FROM profiles
    WHERE id = ANY(CAST(:users AS uuid[])) AND deleted_at IS NULL
    ORDER BY id
    """
)
_LOCK = text(
    f"""
    SELECT id, {_COLUMNS}, handled::text[] FROM profiles
    WHERE id = ANY(CAST(:users AS uuid[])) AND deleted_at IS NULL
    ORDER BY id
    FOR NO KEY UPDATE
    """
)
_WRITE = text(
    """
    UPDATE profiles p
    SET messages_from = new.messages_from, read_receipts = new.read_receipts,
        show_presence = new.show_presence, push_texts = new.push_texts,
        handled = CAST(new.handled AS uuid[])
    FROM unnest(
        CAST(:users AS uuid[]), CAST(:messages_from AS text[]), CAST(:read_receipts AS bool[]),
        CAST(:show_presence AS text[]), CAST(:push_texts AS bool[]), CAST(:handled AS text[])
    ) AS new (id, messages_from, read_receipts, show_presence, push_texts, handled)
    WHERE p.id = new.id
    """
)


def get_settings(
    conn: Connection, requests: Sequence[Request[GetSettings]], context: HandlerContext
) -> Outcome:
    """Answer each request with the user's settings."""
    outcome = Outcome()
    users = {request.user_id for request in requests}
    settings = {row.id: _to_settings(row) for row in conn.execute(_READ, {"users": array(users)})}
    for request in requests:
        with outcome.rejections(request):
            outcome.succeed(request, SettingsAck(settings=_of(settings, request)))
    return outcome


def update_settings(
    conn: Connection, requests: Sequence[Request[UpdateSettings]], context: HandlerContext
) -> Outcome:
    """Change what each request names. All devices of the user are told, even of a retry.

    A request that comes again, after later ones perhaps, changes nothing.
    """
    outcome = Outcome()
    rows = conn.execute(_LOCK, {"users": array({request.user_id for request in requests})}).all()
    before = {row.id: _to_settings(row) for row in rows}
    handled: dict[str, list[str]] = {row.id: row.handled or [] for row in rows}
    after, changed = dict(before), set()
    for request in requests:
        with outcome.rejections(request):
            settings, known = _of(after, request), handled[request.user_id]
            if request.id not in known:
                settings = after[request.user_id] = _changed(settings, request.command)
                handled[request.user_id] = [*known, request.id][-HANDLED:]
                changed.add(request.user_id)
            outcome.succeed(request, SettingsAck(settings=settings))
            outcome.emit(request.user_id, SETTINGS_CHANGED, settings)
    _write(conn, {user_id: after[user_id] for user_id in changed}, handled)
    wishes = {
        id: before[id].show_presence
        for id, one in after.items()
        if one.show_presence != before[id].show_presence
    }
    if wishes:
        outcome.extend(tell_visibility(conn, wishes, context))
    return outcome


def _of(settings: dict[str, Settings], request: Request[Any]) -> Settings:
    if request.user_id not in settings:
        raise Rejection(ErrorCode.PROFILE_MISSING)
    return settings[request.user_id]


def _changed(settings: Settings, command: UpdateSettings) -> Settings:
    return Settings(
        messages_from=command.messages_from or settings.messages_from,
        read_receipts=settings.read_receipts if command.read_receipts is None else command.read_receipts,
        show_presence=command.show_presence or settings.show_presence,
        push_texts=settings.push_texts if command.push_texts is None else command.push_texts,
    )


def _to_settings(row: Row[Any]) -> Settings:
    return Settings(
        messages_from=row.messages_from,
        read_receipts=row.read_receipts,
        show_presence=row.show_presence,
        push_texts=row.push_texts,
    )


def _write(conn: Connection, changed: dict[str, Settings], handled: dict[str, list[str]]) -> None:
    if changed:
        conn.execute(
            _WRITE,
            {
                "users": array(changed),
                "messages_from": [one.messages_from for one in changed.values()],
                "read_receipts": [one.read_receipts for one in changed.values()],
                "show_presence": [one.show_presence for one in changed.values()],
                "push_texts": [one.push_texts for one in changed.values()],
                "handled": [array(handled[user_id]) for user_id in changed],
            },
        )
