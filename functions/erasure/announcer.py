"""Has workers tell clients of changed messages: functions may run where no worker is."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from functions.context import Context
from infra.wire import names


class QueueAnnouncer:
    """Puts what has changed on the list that each sweep of the workers tells clients of."""

    def __init__(self, context: Context) -> None:
        self._redis = context.redis
        self._key = context.settings.redis_prefix + names.CHANGED_KEY

    def changed(self, chat_id: UUID, seqs: Sequence[int]) -> None:
        """Have both members of a chat told what these messages are now. Raises redis.RedisError."""
        if seqs:
            pipe = self._redis.pipeline(transaction=True)
            pipe.rpush(self._key, msgspec.json.encode((chat_id, seqs)))
            pipe.expire(self._key, names.CHANGED_S)
            pipe.execute()
