"""Queues of notifications for tests."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID


@dataclass
class ListQueue:
    """Keeps what was put on it."""

    ids: list[UUID] = field(default_factory=list)
    broken: bool = False

    def put(self, notification_ids: Collection[UUID]) -> None:
        if self.broken:
            raise ConnectionError("the queue is away")
        self.ids += notification_ids


class NoQueue:
    """For functions that must not notify anybody."""

    def put(self, notification_ids: Collection[UUID]) -> None:
        raise AssertionError(f"notified: {notification_ids}")
