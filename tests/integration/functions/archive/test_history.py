"""What clients see of a chat whose beginning is archived."""

from typing import Any

from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import Archive, Restore
from tests.integration.test_statements import counted


def ask(bench: WorkerBench, who: Any, name: str, payload: dict[str, Any]) -> Any:
    event = bench.event(who[0], name, payload)
    return bench.ask(event).ack(event)


def brief(page: Any) -> tuple[list[int], bool, int | None]:
    """Return the seqs of a page, whether there is more, and where the archive begins."""
    return [message["seq"] for message in page["messages"]], page["hasMore"], page.get("archivedBefore")


def test_pages_end_where_the_archive_begins(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, alice, bob = make_chat({110: 3, 100: 3, 95: 4, 10: 5})
    run()
    bring_back(100)

    def page(**asked: int) -> tuple[list[int], bool, int | None]:
        return brief(ask(unswept_bench, alice, "get_messages", {"chatId": chat_id, **asked}))

    assert page() == ([11, 12, 13, 14, 15], True, 11)
    assert page(limit=2) == ([14, 15], True, None)
    assert page(limit=5) == ([11, 12, 13, 14, 15], True, 11)
    assert page(before=13) == ([11, 12], True, 11)
    assert page(before=11) == ([4, 5, 6], False, 4)
    assert page(before=9, limit=2) == ([5, 6], True, None)
    assert page(before=4) == ([], False, 4)
    assert page(before=1) == ([], False, None)
    assert page(after=0) == ([4, 5, 6], True, 4)
    assert page(after=0, limit=1) == ([4], True, 4)
    assert page(after=4) == ([5, 6], True, None)
    assert page(after=6) == ([11, 12, 13, 14, 15], False, 11)
    assert page(after=12, limit=2) == ([13, 14], True, None)
    assert page(after=99) == ([], False, None)
    joined = ask(unswept_bench, alice, "join_chat", {"username": bob[1]})
    assert brief(joined) == ([11, 12, 13, 14, 15], True, 11)
    assert brief(ask(unswept_bench, alice, "join_chat", {"username": bob[1], "limit": 3})) == (
        [13, 14, 15],
        True,
        None,
    )


def test_pages_of_a_chat_that_is_in_the_archive_as_a_whole(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive
) -> None:
    chat_id, alice, bob = make_chat({100: 6})
    run()
    for asked in ({}, {"after": 0}, {"after": 6}, {"after": 99}, {"before": 99}):
        page = ask(unswept_bench, alice, "get_messages", {"chatId": chat_id, **asked})
        assert brief(page) == ([], False, 7), asked
    assert brief(ask(unswept_bench, alice, "join_chat", {"username": bob[1]})) == ([], False, 7)
    ((gap),) = ask(unswept_bench, alice, "sync", {"cursors": {}})["chats"]
    assert brief(gap) == ([], False, 7)
    assert ask(unswept_bench, alice, "sync", {"cursors": {chat_id: 6}})["chats"] == []
    assert ask(unswept_bench, alice, "list_chats", {})["chats"][0]["lastMessage"] is None
    unswept_bench.ask(unswept_bench.send(alice[0], bob[1], "still alive"))
    assert brief(ask(unswept_bench, alice, "get_messages", {"chatId": chat_id})) == ([7], False, 7)


def test_deleted_history_is_not_reported_as_archived(unswept_bench: WorkerBench, make_chat: Any) -> None:
    chat_id, alice, bob = make_chat({10: 9})
    unswept_bench.rows("DELETE FROM messages WHERE chat_id = :chat AND seq <= 4", chat=chat_id)
    for asked, expected in (
        ({}, ([5, 6, 7, 8, 9], False, None)),
        ({"before": 5}, ([], False, None)),
        ({"after": 0, "limit": 2}, ([5, 6], True, None)),
    ):
        assert brief(ask(unswept_bench, alice, "get_messages", {"chatId": chat_id, **asked})) == expected
    assert brief(ask(unswept_bench, alice, "join_chat", {"username": bob[1]})) == (
        [5, 6, 7, 8, 9],
        False,
        None,
    )
    unswept_bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=chat_id)
    assert ask(unswept_bench, alice, "sync", {"cursors": {}})["chats"] == []


def test_sync_continues_after_the_archived_messages(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, alice, _ = make_chat({110: 3, 100: 3, 95: 4, 10: 205})
    run()
    bring_back(100)
    got, starts, cursor, more = [], [], 0, True
    while more:
        ((gap),) = ask(unswept_bench, alice, "sync", {"cursors": {chat_id: cursor}})["chats"]
        seqs, more, start = brief(gap)
        got += seqs
        starts.append(start)
        cursor = seqs[-1]
    assert got == [4, 5, 6, *range(11, 216)]
    assert starts == [4, 11, None, None]
    assert ask(unswept_bench, alice, "sync", {"cursors": {chat_id: cursor}})["chats"] == []


def test_archived_messages_take_no_room_in_a_sync(unswept_bench: WorkerBench, run: Archive) -> None:
    alice, *others = unswept_bench.people("alice", *(f"peer{n}" for n in range(8)))
    for peer in others:
        unswept_bench.ask(*(unswept_bench.send(peer[0], alice[1], "old") for _ in range(100)))
    unswept_bench.rows("UPDATE messages SET created_at = now() - interval '100 days'")
    unswept_bench.rows("UPDATE chat_members SET delivered_seq = 100")
    run()
    for peer in others:
        unswept_bench.ask(unswept_bench.send(peer[0], alice[1], "new"))
    gaps = ask(unswept_bench, alice, "sync", {"cursors": {}})["chats"]
    assert [brief(gap) for gap in gaps] == [([101], False, 101)] * 8


def test_holes_cost_one_more_statement_however_many_there_are(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive
) -> None:
    chats = [make_chat({100: 2, 10: 3}) for _ in range(8)]
    costs = []
    for archive_first in (False, True):
        if archive_first:
            run()
        for some in (chats[:1], chats):
            events = [unswept_bench.event(who[0], "get_messages", {"chatId": chat}) for chat, who, _ in some]
            with counted(unswept_bench) as cost:
                unswept_bench.processor.process([unswept_bench.batch(events)])
            costs.append(cost.sent)
    assert costs == [2, 2, 3, 3]
