"""People, messages, time that passes, and a channel that remembers what it was given."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from functions.channels.channel import Device, Notice
from functions.context import Context, Summary
from functions.offline_delivery import offline_delivery
from functions.pacer import Pacer
from functions.push import Push
from infra.settings.functions import FunctionSettings
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.queues import ListQueue


@dataclass
class ListChannel:
    """Fails as often as it is told to, then keeps what it was given."""

    replaces: bool = True
    failures: list[Exception] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    """What it raises for an address, each time."""
    asked: list[str] = field(default_factory=list)
    """The address of every device that it was given."""
    notices: list[tuple[Device, Notice]] = field(default_factory=list)
    endpoint: str | None = None

    def send(self, device: Device, notice: Notice) -> str | None:
        self.asked.append(device.address)
        if self.failures:
            raise self.failures.pop(0)
        if device.address in self.failing:
            raise self.failing[device.address]
        self.notices.append((device, notice))
        return self.endpoint


class Notices:
    """The bench, as somebody who schedules functions sees it."""

    def __init__(self, bench: WorkerBench, database_url: str, redis_url: str) -> None:
        self.bench = bench
        self.queue = ListQueue()
        self._urls = {"database_url": database_url, "redis_url": redis_url}
        (self.alice, self.alices_name), (self.bob, self.bobs_name) = bench.people("alice", "bob")

    def context(self, **settings: Any) -> Context:
        defaults = {"push_log": True, "offline_interval_s": 0.0}
        given = FunctionSettings(**{**self._urls, **defaults, **settings})
        return Context(given, self.bench.engine, self.queue)

    def send(self, *words: str, sender: UUID | None = None, to: str | None = None) -> str:
        """Store messages, by default from alice to bob; return the chat."""
        events = [self.bench.send(sender or self.alice, to or self.bobs_name, word) for word in words]
        chat_id: str = self.bench.ask(*events).ack(events[0])["message"]["chatId"]
        return chat_id

    def let_pass(self, seconds: float) -> None:
        """Make everything older, and run the sweep."""
        for table, column in (
            ("messages", "created_at"),
            ("undelivered", "check_at"),
            ("notifications", "created_at"),
            ("notifications", "next_at"),
            ("notifications", "claimed_until"),
            ("notifications", "unsent_at"),
            ("chats", "sweep_at"),
        ):
            self.bench.rows(f"UPDATE {table} SET {column} = {column} - make_interval(secs => :s)", s=seconds)
        self.bench.sweep.run()

    def deliver(self, *, dry_run: bool = False, **settings: Any) -> Summary:
        """Run offline delivery. Return its summary without zeros."""
        summary = offline_delivery(self.context(**settings), Pacer(60), dry_run)
        return {name: count for name, count in summary.items() if count}

    def notify(self, *words: str) -> UUID:
        """Have bob miss messages; return the notification."""
        self.send(*words or ("hello",))
        self.let_pass(61)
        self.deliver()
        return self.queue.ids[-1]

    def push(self, fcm: ListChannel, **settings: Any) -> Push:
        """Return what sends through this channel only."""
        return Push(self.context(push_log=False, **settings), {"fcm": fcm})

    def register(self, user_id: UUID, channel: str = "fcm", address: str = "token", **more: Any) -> UUID:
        """Register a device; return its id."""
        event = self.bench.event(user_id, "register_device", {"channel": channel, "address": address, **more})
        return UUID(self.bench.ask(event).ack(event)["deviceId"])

    def confirm(self, user_id: UUID, chat_id: str, first: int, last: int) -> None:
        """Have a socket of the user ack messages."""
        receipt = {"chatId": chat_id, "spans": [[first, last]]}
        self.bench.ask(self.bench.event(user_id, "confirm_delivery", receipt))

    def spans(self) -> list[tuple[UUID, list[int], list[int]]]:
        """Return recipient and spans of all notifications, in the order in which they were made."""
        return [
            (row.user_id, row.first_seqs, row.last_seqs)
            for row in self.bench.rows(
                "SELECT user_id, first_seqs, last_seqs FROM notifications ORDER BY created_at, id"
            )
        ]

    def now(self) -> datetime:
        """Return the time of Postgres."""
        moment: datetime = self.bench.rows("SELECT now()")[0][0]
        return moment
