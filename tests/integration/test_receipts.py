"""Delivery receipts: a watermark never jumps over what nobody has acked."""

from dataclasses import dataclass
from uuid import UUID

import pytest

from infra.wire.inbox import Position
from tests.harness.worker_bench import Reply, WorkerBench


@dataclass
class Talk:
    """A chat from alice to bob, who is online."""

    bench: WorkerBench
    alice: UUID
    alices_name: str
    bob: UUID
    bobs_name: str
    chat_id: str = ""

    def hers(self, count: int = 1) -> None:
        """Alice sends."""
        events = [self.bench.send(self.alice, self.bobs_name, f"{n}") for n in range(count)]
        reply = self.bench.ask(*events)
        self.chat_id = reply.ack(events[0])["message"]["chatId"]

    def his(self, count: int = 1) -> None:
        """Bob sends."""
        self.bench.ask(*(self.bench.send(self.bob, self.alices_name, f"{n}") for n in range(count)))

    def receipt(self, first: int, last: int | None = None) -> Reply:
        """Bob's sockets have acked `first` to `last`."""
        return self.receipt_of([first, last or first])

    def receipt_of(self, *spans: list[int]) -> Reply:
        """Bob's sockets have acked these spans."""
        payload = {"chatId": self.chat_id, "spans": spans}
        event = self.bench.event(self.bob, "confirm_delivery", payload)
        reply = self.bench.ask(event)
        assert reply.ack(event) == {"success": True}
        return reply

    def read(self, up_to: int) -> Reply:
        """Bob has read up to `up_to`."""
        event = self.bench.event(self.bob, "mark_as_read", {"chatId": self.chat_id, "upTo": up_to})
        reply = self.bench.ask(event)
        assert reply.ack(event)["readUpTo"] == up_to
        return reply

    @property
    def delivered(self) -> int:
        """How far bob's watermark has got."""
        ((seq,),) = self.bench.rows(
            "SELECT delivered_seq FROM chat_members WHERE chat_id = :c AND user_id = :u",
            c=self.chat_id,
            u=self.bob,
        )
        return int(seq)

    def emitted_to_bob(self, reply: Reply) -> list[int]:
        """Return the seqs of the messages that a reply brings to bob."""
        return [message["seq"] for message in reply.emitted("new_message", self.bob)]


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    (alice, alices_name), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(alice)
    bench.connect(bob)
    return Talk(bench, alice, alices_name, bob, bobs_name)


def test_a_receipt_moves_the_watermark_and_tells_the_sender(talk: Talk) -> None:
    talk.hers(3)
    (status,) = talk.receipt(1, 3).emitted("message_status", talk.alice)
    assert talk.delivered == 3
    assert {name: status[name] for name in ("chatId", "userId", "status", "upTo")} == {
        "chatId": talk.chat_id,
        "userId": str(talk.bob),
        "status": "delivered",
        "upTo": 3,
    }


def test_a_receipt_behind_a_hole_waits_and_has_the_hole_delivered_again(talk: Talk) -> None:
    talk.hers(4)
    reply = talk.receipt(3, 4)
    assert talk.delivered == 0
    assert talk.emitted_to_bob(reply) == [1, 2]
    assert reply.emitted("message_status", talk.alice) == []


def test_a_hole_in_the_middle_stops_the_watermark_there(talk: Talk) -> None:
    talk.hers(5)
    talk.receipt(1, 2)
    reply = talk.receipt(4, 5)
    assert talk.delivered == 2
    assert talk.emitted_to_bob(reply) == [3]


def test_of_many_holes_only_the_first_is_delivered_again_until_it_is_closed(talk: Talk) -> None:
    talk.hers(1)
    talk.his(1)
    talk.hers(100)
    reply = talk.receipt_of(*([seq, seq] for seq in range(4, 103, 2)))
    assert (talk.delivered, talk.emitted_to_bob(reply)) == (0, [1, 3])
    reply = talk.receipt_of([1, 1], *([seq, seq] for seq in range(4, 103, 2)))
    assert (talk.delivered, talk.emitted_to_bob(reply)) == (1, [3])
    reply = talk.receipt_of([3, 4], *([seq, seq] for seq in range(6, 103, 2)))
    assert (talk.delivered, talk.emitted_to_bob(reply)) == (4, [5])


def test_receipts_of_one_batch_close_each_others_holes(talk: Talk) -> None:
    talk.hers(4)
    spans = [{"chatId": talk.chat_id, "spans": [[n, n]]} for n in (3, 1, 4, 2)]
    talk.bench.ask(*(talk.bench.event(talk.bob, "confirm_delivery", span) for span in spans))
    assert talk.delivered == 4


def test_the_users_own_messages_need_no_receipt(talk: Talk) -> None:
    talk.hers(1)
    talk.his(2)
    talk.hers(1)
    talk.receipt(1)
    reply = talk.receipt(4)
    assert talk.delivered == 4
    assert talk.emitted_to_bob(reply) == []


def test_a_receipt_for_more_than_there_is_stops_at_the_end(talk: Talk) -> None:
    talk.hers(2)
    talk.receipt(1, 1_000)
    assert talk.delivered == 2


def test_an_old_receipt_never_moves_the_watermark_back(talk: Talk) -> None:
    talk.hers(3)
    talk.receipt(1, 3)
    reply = talk.receipt(1)
    assert talk.delivered == 3
    assert reply.emits == []


def test_a_receipt_for_other_peoples_chat_changes_nothing(talk: Talk) -> None:
    talk.hers(1)
    mallory, _ = talk.bench.person("mallory")
    payload = {"chatId": talk.chat_id, "spans": [[1, 1]]}
    reply = talk.bench.ask(talk.bench.event(mallory, "confirm_delivery", payload))
    assert (talk.delivered, reply.emits) == (0, [])


def test_a_note_to_self_is_delivered_by_the_users_own_receipt(bench: WorkerBench) -> None:
    me, my_name = bench.person("me")
    talk = Talk(bench, me, my_name, me, my_name)
    talk.hers(2)
    assert talk.delivered == 0
    talk.receipt(1, 2)
    assert talk.delivered == 2


def test_a_read_mark_is_not_a_receipt(talk: Talk) -> None:
    talk.hers(3)
    (status,) = talk.read(2).emitted("message_status", talk.alice)
    assert (status["status"], status["upTo"]) == ("read", 2)
    assert talk.delivered == 0
    talk.bench.make_due(talk.chat_id)
    talk.bench.sweep.run()
    assert talk.emitted_to_bob(talk.bench.read()) == [1, 2, 3]


def test_a_read_settles_what_its_socket_was_sent_up_to_there(talk: Talk) -> None:
    talk.hers(3)
    (answer,) = talk.read(2).answers.values()
    assert answer.acked_up_to == Position(talk.chat_id, 2)


def test_a_receipt_for_what_is_read_moves_the_watermark_and_tells_nobody(talk: Talk) -> None:
    talk.hers(3)
    talk.read(2)
    reply = talk.receipt(1, 2)
    assert (talk.delivered, reply.emits) == (2, [])
    (status,) = talk.receipt(3).emitted("message_status", talk.alice)
    assert (status["status"], status["upTo"]) == ("delivered", 3)


def test_a_read_of_the_same_batch_comes_before_its_receipt(talk: Talk) -> None:
    talk.hers(2)
    receipt = {"chatId": talk.chat_id, "spans": [[1, 2]]}
    reply = talk.bench.ask(
        talk.bench.event(talk.bob, "confirm_delivery", receipt),
        talk.bench.event(talk.bob, "mark_as_read", {"chatId": talk.chat_id}),
    )
    assert [status["status"] for status in reply.emitted("message_status", talk.alice)] == ["read"]
    assert talk.delivered == 2


def test_clients_are_shown_what_was_read_as_delivered(talk: Talk) -> None:
    talk.hers(3)
    talk.read(2)
    bench = talk.bench
    shown = []
    for user, peer_name in ((talk.alice, talk.bobs_name), (talk.bob, talk.alices_name)):
        join, listed = (
            bench.event(user, "join_chat", {"username": peer_name}),
            bench.event(user, "list_chats", {}),
        )
        reply = bench.ask(join, listed)
        shown.append((reply.ack(join), reply.ack(listed)["chats"][0]))
    (hers, his) = shown
    assert [view["peer"]["deliveredUpTo"] for view in hers] == [2, 2]
    assert [view["deliveredUpTo"] for view in his] == [2, 2]
    assert [message["status"] for message in hers[0]["messages"]] == ["read", "read", "sent"]


def confirm_again(talk: Talk, reply: Reply) -> None:
    """Do what an edge does when it gets messages that its socket has acked before."""
    missing = talk.emitted_to_bob(reply)
    spans = [{"chatId": talk.chat_id, "spans": [[seq, seq]]} for seq in missing]
    talk.bench.ask(*(talk.bench.event(talk.bob, "confirm_delivery", span) for span in spans))


def test_receipts_out_of_order_converge_after_the_sweep(talk: Talk) -> None:
    talk.hers(6)
    for seq in (5, 2, 6, 4, 1, 3):
        talk.receipt(seq)
    assert talk.delivered < 6
    talk.bench.make_due(talk.chat_id)
    talk.bench.sweep.run()
    confirm_again(talk, talk.bench.read())
    assert talk.delivered == 6


def test_receipts_out_of_order_and_later_than_the_sweep_converge_with_the_next_message(talk: Talk) -> None:
    talk.hers(3)
    talk.bench.make_due(talk.chat_id)
    talk.bench.sweep.run()
    talk.bench.read()
    for seq in (3, 2, 1):
        talk.receipt(seq)
    assert talk.delivered == 1
    talk.hers(1)
    confirm_again(talk, talk.receipt(4))
    talk.bench.make_due(talk.chat_id)
    talk.bench.sweep.run()
    confirm_again(talk, talk.bench.read())
    assert talk.delivered == 4
