"""Two people on a worker bench who may not want to hear of each other."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.wire.batch import Event
from tests.harness.worker_bench import Reply, WorkerBench


@dataclass(frozen=True)
class Person:
    """A user with a socket."""

    id: uuid.UUID
    name: str


@dataclass
class Two:
    """Alice and bob, who have no chat yet."""

    bench: WorkerBench
    alice: Person
    bob: Person
    reply: Reply = field(default_factory=lambda: Reply([]))
    """What the edge received for the last events."""

    @classmethod
    def strangers(cls, bench: WorkerBench) -> "Two":
        """Create two people."""
        alice, bob = (Person(*person) for person in bench.people("alice", "bob"))
        for person in (alice, bob):
            bench.connect(person.id)
        return cls(bench, alice, bob)

    @classmethod
    def friends(cls, bench: WorkerBench) -> "Two":
        """Create two people who have written to each other, and have joined their chat."""
        two = cls.strangers(bench)
        two.send(two.alice, "hi")
        two.send(two.bob, "ho")
        for person in (two.alice, two.bob):
            two.do(person, "join_chat", userId=str(two.other(person).id))
        return two

    @property
    def chat_id(self) -> str:
        """Id of their chat."""
        ((chat_id,),) = self.bench.rows(
            "SELECT id FROM chats WHERE user_lo = least(:a, :b) AND user_hi = greatest(:a, :b)",
            a=self.alice.id,
            b=self.bob.id,
        )
        return str(chat_id)

    def other(self, person: Person) -> Person:
        """Return the other one."""
        return self.bob if person is self.alice else self.alice

    def event(self, person: Person, name: str, **payload: Any) -> Event:
        """Return an event."""
        return self.bench.event(person.id, name, payload)

    def sending(self, person: Person, words: str = "hello", **more: Any) -> Event:
        """Return a message to the other one."""
        return self.event(person, "send_message", userId=str(self.other(person).id), text=words, **more)

    def ask(self, *events: Event) -> list[Any]:
        """Process events as one batch; return each ack, or the code of the failure."""
        self.reply = self.bench.ask(*events)
        return [self._result(event) for event in events]

    def do(self, person: Person, name: str, **payload: Any) -> Any:
        """Ask something; return the ack, or the code of the failure."""
        return self.ask(self.event(person, name, **payload))[0]

    def send(self, person: Person, words: str = "hello", **more: Any) -> Any:
        """Send a message; return it, or the code of the failure."""
        (result,) = self.ask(self.sending(person, words, **more))
        return result["message"] if isinstance(result, dict) else result

    def block(self, person: Person, *, on: bool = True) -> Any:
        """Block the other one, or take it back."""
        return self.do(person, "block_user" if on else "unblock_user", userId=str(self.other(person).id))

    def settings(self, person: Person, **changed: Any) -> Any:
        """Change settings; return all of them."""
        return self.do(person, "update_settings", **changed)["settings"]

    def heard(self, person: Person, *events: str) -> list[Any]:
        """Return the payloads of these events that the last batch emitted to a person."""
        return [payload for event in events for payload in self.reply.emitted(event, person.id)]

    def listed(self, person: Person, box: str | None = None, **more: Any) -> list[Any]:
        """Return the chats that a person sees in a box."""
        asked = {**more, **({"box": box} if box else {})}
        chats: list[Any] = self.do(person, "list_chats", **asked)["chats"]
        return chats

    def peer(self, person: Person) -> Any:
        """Return how a person sees the other one, who looks the same in the chat and in the list."""
        joined = self.do(person, "join_chat", userId=str(self.other(person).id))["peer"]
        shown = [chat["peer"] for box in (None, "requests", "declined") for chat in self.listed(person, box)]
        assert shown in ([joined], [])
        return joined

    def statuses(self, person: Person) -> list[str]:
        """Return the statuses of the messages of the chat, as a person reads them."""
        page: Sequence[Any] = self.do(person, "get_messages", chatId=self.chat_id)["messages"]
        return [message["status"] for message in page]

    def confirm(self, person: Person, up_to: int) -> None:
        """Ack all messages up to a seq, as a socket of a person does."""
        self.do(person, "confirm_delivery", chatId=self.chat_id, spans=[[1, up_to]])

    def _result(self, event: Event) -> Any:
        failure = self.reply.answers[event.id].failure
        return self.reply.ack(event) if failure is None else failure.code
