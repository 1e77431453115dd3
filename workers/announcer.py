"""Tells connected clients what messages are that something else than a request has changed."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, text

from infra.wire.events import MESSAGE_CHANGED
from infra.wire.inbox import Emit, Target
from workers.arrays import array
from workers.messages import read_messages
from workers.outcome import Outcome
from workers.publish import Publisher

_SEEN_BY = text(
    """
    SELECT changed.seq, array_agg(w.user_id::text ORDER BY w.user_id) AS user_ids
    FROM unnest(CAST(:seqs AS bigint[])) AS changed (seq)
    JOIN chat_members w ON w.chat_id = CAST(:chat AS uuid) AND w.cleared_seq < changed.seq
    GROUP BY changed.seq
    """
)
"""Who has cleared a message does not hear of it."""


class Announcer:
    """Publishes `message_changed` for messages that are changed already. Its engine reads uuids as text."""

    def __init__(self, engine: Engine, publisher: Publisher) -> None:
        self._engine = engine
        self._publisher = publisher

    def changed(self, chat_id: UUID, seqs: Sequence[int]) -> None:
        """Tell both members of a chat what these messages are now.

        Raises redis.RedisError and sqlalchemy.exc.SQLAlchemyError.
        """
        if not seqs:
            return
        with self._engine.begin() as conn:
            outcome = _render(conn, str(chat_id), seqs)
        self._publisher.publish(outcome)


def _render(conn: Connection, chat_id: str, seqs: Sequence[int]) -> Outcome:
    messages = read_messages(conn, [(chat_id, seq) for seq in seqs])
    seen_by = {
        row.seq: row.user_ids for row in conn.execute(_SEEN_BY, {"chat": chat_id, "seqs": array(seqs)})
    }
    outcome = Outcome()
    for (_, seq), message in sorted(messages.items()):
        targets = [Target(user_id, MESSAGE_CHANGED) for user_id in seen_by.get(seq, ())]
        if targets:
            outcome.emits.append(Emit(targets, msgspec.Raw(msgspec.json.encode(message))))
    return outcome
