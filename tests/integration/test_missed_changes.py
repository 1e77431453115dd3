"""`sync` returns exactly the changes that a client has missed, so that all end with the same state."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness.talk import Talk
from tests.harness.worker_bench import Reply, WorkerBench
from tests.integration.conftest import BenchFactory
from workers.handlers import sync

LIKE = "\U0001f44d"
EMOJI = [LIKE, "\u2764\ufe0f", "\U0001f602"]
FRAME_BYTES = 1_000_000


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    return Talk.start(bench)


def filled(talk: Talk, count: int) -> None:
    sends = [talk.sending(talk.alice, f"{n}") for n in range(count)]
    talk.bench.ask(*sends)


def positions(messages: Sequence[Any]) -> list[tuple[int, int]]:
    return [(message["seq"], message["change"]) for message in messages]


def test_a_client_gets_each_message_that_has_changed_since_once(talk: Talk) -> None:
    filled(talk, 5)
    for seq in (1, 2, 3, 1, 5):
        talk.edit(talk.alice, seq, uuid.uuid4().hex)
    for change, missed in {
        0: [(2, 2), (3, 3), (1, 4), (5, 5)],
        2: [(3, 3), (1, 4), (5, 5)],
        3: [(1, 4), (5, 5)],
        4: [(5, 5)],
    }.items():
        gap = talk.gap(talk.bob, {"seq": 5, "change": change})
        assert positions(gap["changes"]) == missed
        assert (gap["messages"], gap["hasMore"], gap["hasMoreChanges"], gap["change"]) == (
            [],
            False,
            False,
            5,
        )
        stored = {message["seq"]: message for message in talk.page(talk.bob)}
        assert all(message == stored[message["seq"]] for message in gap["changes"])
    assert talk.gap(talk.bob, {"seq": 5, "change": 5}) is None
    assert talk.gap(talk.bob, {"seq": 5, "change": 2**63 - 1}) is None


def test_a_change_of_a_message_that_comes_anyway_is_not_told_twice(talk: Talk) -> None:
    filled(talk, 4)
    for seq in (4, 2, 3):
        talk.edit(talk.alice, seq, "edited")
    gap = talk.gap(talk.bob, {"seq": 2})
    assert positions(gap["changes"]) == [(2, 2)]
    assert positions(gap["messages"]) == [(3, 3), (4, 1)]
    assert (gap["change"], gap["hasMoreChanges"]) == (3, False)


def test_a_plain_seq_is_answered_as_before(talk: Talk) -> None:
    filled(talk, 2)
    talk.edit(talk.alice, 1, "edited")
    assert talk.gap(talk.bob, 2) is None
    gap = talk.gap(talk.bob, 1)
    assert gap.keys() == {"chatId", "messages", "hasMore", "change"}
    assert [message["seq"] for message in gap["messages"]] == [2]
    assert gap["change"] == 1


def test_a_cursor_without_a_change_asks_for_all_of_them(talk: Talk) -> None:
    filled(talk, 2)
    talk.unsend(talk.alice, 2)
    (change,) = talk.gap(talk.bob, {"seq": 2})["changes"]
    assert (change["text"], change["change"]) == ("", 1)


def test_a_chat_with_a_change_alone_is_found_without_naming_all_chats(talk: Talk) -> None:
    filled(talk, 1)
    talk.react(talk.bob, 1, LIKE)
    for only in (True, False):
        cursors = {talk.chat_id: {"seq": 1, "change": 0}}
        asked = talk.bench.event(talk.bob, "sync", {"cursors": cursors, "only": only})
        (gap,) = talk.bench.ask(asked).ack(asked)["chats"]
        assert positions(gap["changes"]) == [(1, 1)]


def test_changes_of_a_chat_are_told_to_its_members_alone(talk: Talk) -> None:
    filled(talk, 1)
    talk.edit(talk.alice, 1, "edited")
    stranger, _ = talk.bench.person("mallory")
    asked = talk.bench.event(stranger, "sync", {"cursors": {talk.chat_id: {"seq": 1}}})
    assert talk.bench.ask(asked).ack(asked) == {"success": True, "chats": [], "gone": [talk.chat_id]}


def test_requests_of_a_batch_get_the_changes_that_each_has_missed(talk: Talk) -> None:
    filled(talk, 3)
    for seq in (1, 2, 3):
        talk.edit(talk.alice, seq, "edited")
    asked = [
        talk.bench.event(user, "sync", {"cursors": {talk.chat_id: cursor}, "only": True})
        for user, cursor in (
            (talk.alice, {"seq": 3, "change": 2}),
            (talk.bob, {"seq": 3, "change": 0}),
            (talk.bob, {"seq": 3, "change": 1}),
            (talk.bob, 2),
        )
    ]
    reply = talk.bench.ask(*asked)
    found = [reply.ack(one)["chats"][0] for one in asked]
    assert [len(gap.get("changes", "-" * 9)) for gap in found] == [1, 3, 2, 9]


def all_changes(talk: Talk, user: uuid.UUID, cursor: dict[str, int]) -> list[tuple[int, int]]:
    """Ask until no more is said to be there, as docs/events.md says."""
    found: list[tuple[int, int]] = []
    for _ in range(50):
        gap = talk.gap(user, cursor)
        if gap is None:
            return found
        found += positions(gap["changes"])
        seqs = [message["seq"] for message in gap["messages"]]
        cursor = {"seq": max([cursor["seq"], *seqs]), "change": gap["change"]}
        if not gap["hasMoreChanges"] and not gap["hasMore"]:
            return found
    raise AssertionError("the client asks for ever")


def test_changes_that_do_not_fit_are_said_to_be_there(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_MESSAGES", 4)
    filled(talk, 10)
    order = [3, 1, 4, 5, 9, 2, 6, 8, 7, 10]
    for seq in order:
        talk.edit(talk.alice, seq, "edited")
    gap = talk.gap(talk.bob, {"seq": 10})
    assert positions(gap["changes"]) == [*zip(order[:4], range(1, 5), strict=True)]
    assert (gap["hasMoreChanges"], gap["change"]) == (True, 4)
    assert all_changes(talk, talk.bob, {"seq": 10, "change": 0}) == [*zip(order, range(1, 11), strict=True)]


def test_changes_of_several_chats_share_an_answer(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "_MESSAGES", 5)
    alice, _ = bench.person("alice")
    chats: dict[str, dict[str, int]] = {}
    for n in range(4):
        _, peer = bench.person(f"peer{n}")
        sends = [bench.send(alice, peer, "x") for _ in range(3)]
        chat_id = bench.ask(*sends).ack(sends[0])["message"]["chatId"]
        edits = [
            bench.event(alice, "edit_message", {"chatId": chat_id, "seq": seq, "text": "y"})
            for seq in (1, 2, 3)
        ]
        bench.ask(*edits)
        chats[chat_id] = {"seq": 3, "change": 0}
    found: dict[str, list[int]] = {chat_id: [] for chat_id in chats}
    while chats:
        asked = bench.event(alice, "sync", {"cursors": chats, "only": True})
        answer = bench.ask(asked).ack(asked)["chats"]
        assert 0 < sum(len(gap["changes"]) for gap in answer) <= 5
        for gap in answer:
            found[gap["chatId"]] += [message["change"] for message in gap["changes"]]
            chats[gap["chatId"]] = {"seq": 3, "change": gap["change"]}
        chats = {gap["chatId"]: chats[gap["chatId"]] for gap in answer if gap["hasMoreChanges"]}
    assert list(found.values()) == [[1, 2, 3]] * 4


def test_long_changes_fit_into_a_frame(talk: Talk) -> None:
    count = 120
    filled(talk, count)
    words = "\U0001f600" * 4_000
    for start in range(1, count + 1, 40):
        asked = [
            talk.event(talk.alice, "edit_message", seq=seq, text=words) for seq in range(start, start + 40)
        ]
        talk.bench.ask(*asked)
    asked_for = talk.bench.event(talk.bob, "sync", {"cursors": {talk.chat_id: {"seq": count}}})
    answer = talk.bench.ask(asked_for).answers[asked_for.id]
    assert FRAME_BYTES / 2 < len(bytes(answer.data)) < FRAME_BYTES
    assert positions_of_all(count) == all_changes(talk, talk.bob, {"seq": count, "change": 0})


def positions_of_all(count: int) -> list[tuple[int, int]]:
    return [(seq, seq) for seq in range(1, count + 1)]


@dataclass
class Device:
    """A client that keeps what it has as docs/events.md says. While it is away, it gets no event."""

    user: uuid.UUID
    messages: dict[int, Any] = field(default_factory=dict)
    change: int = 0
    cleared: int = 0
    is_away: bool = False

    @property
    def seq(self) -> int:
        """The last seq up to which it has everything."""
        seq = self.cleared
        while seq + 1 in self.messages:
            seq += 1
        return seq

    def hear(self, reply: Reply) -> None:
        """Take the events of a batch."""
        if self.is_away:
            return
        for name in ("new_message", "message_sent"):
            for message in reply.emitted(name, self.user):
                self.keep(message)
        for message in reply.emitted("message_changed", self.user):
            self.keep(message)
            if message["change"] == self.change + 1:
                self.change += 1
        for changed in reply.emitted("chat_changed", self.user):
            self.clear(changed["clearedUpTo"])

    def keep(self, message: Any) -> None:
        known = self.messages.get(message["seq"])
        newer = known is None or message.get("change", 0) >= known.get("change", 0)
        if newer and message["seq"] > self.cleared:
            self.messages[message["seq"]] = message

    def clear(self, up_to: int) -> None:
        self.cleared = max(self.cleared, up_to)
        self.messages = {seq: one for seq, one in self.messages.items() if seq > self.cleared}

    def come_back(self, talk: Talk) -> None:
        """Catch up with one `sync` after the other, until there is no more."""
        self.is_away = False
        for _ in range(1_000):
            cursor = {"seq": self.seq, "change": self.change, "clearedUpTo": self.cleared}
            gap = talk.gap(self.user, cursor)
            if gap is None:
                return
            self.clear(gap.get("clearedUpTo", 0))
            for message in [*gap["messages"], *gap["changes"]]:
                self.keep(message)
            self.change = gap["change"]
            if not gap["hasMore"] and not gap["hasMoreChanges"]:
                return
        raise AssertionError("the client asks for ever")

    def shown(self) -> list[Any]:
        """Return its messages, without what receipts change and what other messages decide."""
        return [bare(message) for _, message in sorted(self.messages.items())]


def bare(message: Any) -> Any:
    return {key: value for key, value in message.items() if key not in ("status", "replyTo")}


def something(talk: Talk, rng: random.Random, last_seq: int) -> Any:
    """Return an event of either user about a message that may be anybody's."""
    user = rng.choice([talk.alice, talk.bob])
    seq = rng.randint(1, max(1, last_seq))
    match rng.choice(["send", "send", "edit", "edit", "edit", "unsend", "react", "react", "react", "clear"]):
        case "send":
            return talk.sending(user, uuid.uuid4().hex, replyTo=seq if rng.random() < 0.3 else None)
        case "edit":
            return talk.event(user, "edit_message", seq=seq, text=uuid.uuid4().hex)
        case "unsend":
            return talk.event(user, "unsend_message", seq=seq)
        case "react":
            return talk.event(user, "react", seq=seq, emoji=rng.choice(EMOJI), on=rng.random() < 0.7)
        case _:
            up_to = rng.randint(0, max(0, last_seq - 15))
            return talk.event(user, "clear_chat", upTo=up_to)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fits", [3, 500], ids=["small answers", "usual answers"])
def test_clients_that_are_away_now_and_then_end_with_what_is_stored(
    make_bench: BenchFactory, monkeypatch: pytest.MonkeyPatch, seed: int, fits: int
) -> None:
    monkeypatch.setattr(sync, "_MESSAGES", fits)
    talk = Talk.start(make_bench())
    rng = random.Random(seed)
    devices = [Device(user) for user in (talk.alice, talk.alice, talk.bob, talk.bob)]
    last_seq = 0
    for _ in range(60):
        reply = talk.bench.ask(*(something(talk, rng, last_seq) for _ in range(rng.randint(1, 6))))
        for device in devices:
            device.hear(reply)
            if device.is_away and rng.random() < 0.2:
                device.come_back(talk)
            elif rng.random() < 0.2:
                device.is_away = True
        last_seq = talk.bench.seqs(talk.chat_id)[-1] if talk.bench.seqs(talk.chat_id) else 0
    for device in devices:
        device.come_back(talk)
        assert device.shown() == stored(talk, device)
        (chat,) = talk.bench.rows("SELECT change FROM chats WHERE id = :c", c=talk.chat_id)
        assert device.change == chat.change


def stored(talk: Talk, device: Device) -> list[Any]:
    """Return the messages that the tables have for a user, by pages from the beginning."""
    messages: list[Any] = []
    more = True
    while more:
        after = messages[-1]["seq"] if messages else 0
        page = talk.ask(device.user, "get_messages", after=after)
        messages += page["messages"]
        more = page["hasMore"]
    for message in messages:
        row = talk.row(message["seq"])
        assert (message["text"], message.get("change")) == (row.text, row.change)
    return [bare(message) for message in messages]
