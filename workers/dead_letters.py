"""Keeps what no worker could handle, so that a person can look at it and replay it."""

from uuid import UUID

from sqlalchemy import Engine, text

from infra.wire.batch import Event

_INSERT = text(
    """
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    VALUES (:id, :event, :user_id, :payload, :error) ON CONFLICT (id) DO NOTHING
    """
)


def keep(engine: Engine, event: Event, error: BaseException) -> None:
    """Store the event with its error, in a transaction of its own. Raises sqlalchemy.exc.SQLAlchemyError."""
    row = {
        "id": UUID(event.id),
        "event": event.name,
        "user_id": UUID(event.user_id),
        "payload": bytes(event.payload).decode(errors="replace").replace("\0", ""),
        "error": f"{type(error).__name__}: {error}".replace("\0", ""),
    }
    with engine.begin() as conn:
        conn.execute(_INSERT, row)
