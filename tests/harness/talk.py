"""A chat of two people on a worker bench, for what happens to its messages after they were sent."""

import uuid
from dataclasses import dataclass
from typing import Any

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from tests.harness.worker_bench import WorkerBench


@dataclass(frozen=True)
class Talk:
    """Alice has opened a chat with bob, and both have a socket. It has no message yet."""

    bench: WorkerBench
    alice: uuid.UUID
    alices_name: str
    bob: uuid.UUID
    bobs_name: str
    chat_id: str

    @classmethod
    def start(cls, bench: WorkerBench) -> "Talk":
        """Create two people and their chat."""
        (alice, alices_name), (bob, bobs_name) = bench.people("alice", "bob")
        bench.connect(alice)
        bench.connect(bob)
        joined = bench.event(alice, "join_chat", {"username": bobs_name})
        chat_id = bench.ask(joined).ack(joined)["chatId"]
        return cls(bench, alice, alices_name, bob, bobs_name, chat_id)

    def event(self, user: uuid.UUID, name: str, **payload: Any) -> Event:
        """Return an event about this chat."""
        return self.bench.event(user, name, {"chatId": self.chat_id, **payload})

    def sending(self, user: uuid.UUID, words: str = "hello", **more: Any) -> Event:
        """Return a `send_message` to the other one."""
        to = self.bobs_name if user == self.alice else self.alices_name
        return self.bench.send(user, to, words, **more)

    def send(self, user: uuid.UUID, words: str = "hello", **more: Any) -> Any:
        """Store a message; return it."""
        event = self.sending(user, words, **more)
        return self.bench.ask(event).ack(event)["message"]

    def ask(self, user: uuid.UUID, name: str, **payload: Any) -> Any:
        """Ask something about the chat; return the ack."""
        event = self.event(user, name, **payload)
        return self.bench.ask(event).ack(event)

    def refused(self, user: uuid.UUID, name: str, **payload: Any) -> ErrorCode:
        """Ask something that is refused; return the code."""
        event = self.event(user, name, **payload)
        return self.bench.ask(event).failure(event).code

    def edit(self, user: uuid.UUID, seq: int, words: str, **more: Any) -> Any:
        """Edit a message; return it as it is then."""
        return self.ask(user, "edit_message", seq=seq, text=words, **more)["message"]

    def unsend(self, user: uuid.UUID, seq: int) -> Any:
        """Unsend a message; return what is left of it."""
        return self.ask(user, "unsend_message", seq=seq)["message"]

    def react(self, user: uuid.UUID, seq: int, emoji: str, *, on: bool = True) -> Any:
        """React to a message; return it as it is then."""
        return self.ask(user, "react", seq=seq, emoji=emoji, on=on)["message"]

    def page(self, user: uuid.UUID, **more: Any) -> list[Any]:
        """Return the newest messages of the chat."""
        messages: list[Any] = self.ask(user, "get_messages", **more)["messages"]
        return messages

    def only(self, user: uuid.UUID) -> Any:
        """Return the only chat that the user has, as they see it in their list."""
        listed = self.bench.event(user, "list_chats", {})
        (chat,) = self.bench.ask(listed).ack(listed)["chats"]
        return chat

    def gap(self, user: uuid.UUID, cursor: Any) -> Any:
        """Return what `sync` says about the chat, or None if it says nothing."""
        event = self.bench.event(user, "sync", {"cursors": {self.chat_id: cursor}, "only": True})
        chats = self.bench.ask(event).ack(event)["chats"]
        return chats[0] if chats else None

    def row(self, seq: int) -> Any:
        """Return a message as the table has it."""
        (row,) = self.bench.rows(
            "SELECT * FROM messages WHERE chat_id = :chat AND seq = :seq", chat=self.chat_id, seq=seq
        )
        return row

    def age(self, seq: int, seconds: float) -> None:
        """Make a message older."""
        self.bench.rows(
            "UPDATE messages SET created_at = created_at - make_interval(secs => :age)"
            " WHERE chat_id = :chat AND seq = :seq",
            chat=self.chat_id,
            seq=seq,
            age=seconds,
        )

    def changes(self) -> list[int]:
        """Return the last change of each message that was changed, ascending."""
        rows = self.bench.rows(
            "SELECT change FROM changed_messages WHERE chat_id = :chat ORDER BY change", chat=self.chat_id
        )
        return [row.change for row in rows]
