"""What a client knows of its messages, as an app keeps it on a device."""

from dataclasses import dataclass
from typing import Any

from tests.faults.records import Records, Seen, State


@dataclass(frozen=True, slots=True)
class Known:
    """A message as the client knows it."""

    sender: str
    recipient: str
    change: int
    """0 if nobody has changed it."""
    state: State


class LocalCopy:
    """The newest state of each message that the client has got, and how far it is in step with the store."""

    def __init__(self, user_id: str, records: Records) -> None:
        self._user_id = user_id
        self._records = records
        self.messages: dict[tuple[str, int], Known] = {}
        """By chat and seq."""
        self._cursors: dict[str, tuple[int, int]] = {}
        """Seq and change up to which it knows all. Only `sync` moves them: what is emitted may be lost."""

    def take(self, message: dict[str, Any]) -> None:
        """Keep a message, unless a newer state of it is known."""
        position = message["chatId"], message["seq"]
        change = message.get("change", 0)
        known = Known(message["senderId"], message["recipientId"], change, _state(message))
        if change:
            self._records.seen.append(Seen(*position, change, known.state))
        if position not in self.messages or change > self.messages[position].change:
            self.messages[position] = known

    def cursors(self) -> dict[str, dict[str, int]]:
        """Return the cursors for `sync`."""
        return {chat_id: {"seq": seq, "change": change} for chat_id, (seq, change) in self._cursors.items()}

    def take_gaps(self, chats: list[dict[str, Any]]) -> bool:
        """Keep an answer to `sync`, and move the cursors. Return whether there is more."""
        for chat in chats:
            for message in (*chat["messages"], *chat.get("changes", ())):
                self.take(message)
            seq, _ = self._cursors.get(chat["chatId"], (0, 0))
            last = chat["messages"][-1]["seq"] if chat["messages"] else seq
            self._cursors[chat["chatId"]] = last, chat["change"]
        return any(chat["hasMore"] or chat.get("hasMoreChanges", False) for chat in chats)

    def between(self, peer_id: str) -> list[tuple[str, int]]:
        """Return the messages of the chat with this user that are not unsent, as far as it knows."""
        pair = {self._user_id, peer_id}
        return [
            position
            for position, known in self.messages.items()
            if {known.sender, known.recipient} == pair and not known.state.is_unsent
        ]


def _state(message: dict[str, Any]) -> State:
    reactions = {
        (reaction["emoji"], user_id)
        for reaction in message.get("reactions", ())
        for user_id in reaction["userIds"]
    }
    return State(message["text"], "deletedAt" in message, frozenset(reactions))
