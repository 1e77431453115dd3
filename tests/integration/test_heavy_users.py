"""What a user waits for costs no more if they have much: counted in buffers of Postgres, in all statements.

`python -m tests.benchmark.sizes` measures how long the same takes, with millions of messages.
"""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.benchmark.seeds import Chats, add
from tests.harness.buffers import ALL, cost
from tests.harness.deployment import user_id_of
from tests.harness.worker_bench import WorkerBench


def heavy(bench: WorkerBench, *sizes: tuple[int, int], is_read: bool) -> list[uuid.UUID]:
    """Make users with so many chats of so many messages that they have received."""
    users = [
        Chats(f"heavy_{bench.edge_id}_{number}", chats, each, is_read=is_read)
        for number, (chats, each) in enumerate(sizes)
    ]
    add(bench.engine, *users)
    bench.rows("ANALYZE")
    return [uuid.UUID(user_id_of(user.username)) for user in users]


def ask(bench: WorkerBench, user: uuid.UUID, name: str, **payload: Any) -> Any:
    asked = bench.event(user, name, payload)
    return bench.ask(asked).ack(asked)


def costs(bench: WorkerBench, users: list[uuid.UUID], act: Callable[[uuid.UUID], object]) -> tuple[int, int]:
    """Return how many buffers it takes when each of two users does something."""
    few, many = (cost(bench, ALL, partial(act, user)) for user in users)
    assert few > 0
    return few, many


def test_the_first_page_of_5000_chats_costs_as_much_as_that_of_50(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    users = heavy(bench, (50, 2), (5_000, 2), is_read=True)
    few, many = costs(bench, users, lambda user: ask(bench, user, "list_chats"))
    assert many <= 1.5 * few, (few, many)


def test_a_user_of_5000_chats_sees_at_the_same_cost_that_nothing_is_new(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    users = heavy(bench, (50, 2), (5_000, 2), is_read=True)
    since = ask(bench, users[0], "list_chats", since=None, limit=1)["since"]

    def walk(user: uuid.UUID) -> None:
        page = ask(bench, user, "list_chats", since=since, limit=100)
        assert (page["chats"], page["nextCursor"]) == ([], None)

    few, many = costs(bench, users, walk)
    assert many <= 1.5 * few, (few, many)


def test_20000_unread_messages_make_no_list_of_chats_dearer(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    users = heavy(bench, (50, 1), (50, 400), is_read=False)

    def listed(user: uuid.UUID) -> int:
        return sum(chat["unread"] for chat in ask(bench, user, "list_chats")["chats"])

    assert [listed(user) for user in users] == [50, 20_000]
    few, many = costs(bench, users, listed)
    assert many <= 1.5 * few, (few, many)


def test_20000_unread_messages_make_no_reading_dearer(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    users = heavy(bench, (50, 1), (50, 400), is_read=False)
    left = {user: chats_of(bench, user) for user in users}

    def read(user: uuid.UUID) -> None:
        answer = ask(bench, user, "mark_as_read", chatId=left[user].pop())
        assert answer["unread"] == 0

    few, many = costs(bench, users, read)
    assert many <= 1.5 * few, (few, many)


def test_20000_unread_messages_make_no_connect_dearer(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    users = heavy(bench, (50, 1), (50, 400), is_read=False)
    few, many = costs(bench, users, lambda user: ask(bench, user, "catch_up"))
    assert many <= 1.5 * few, (few, many)


def test_a_send_costs_the_same_whatever_is_stored(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    bench.rows("TRUNCATE chats, chat_members, messages CASCADE")
    people = bench.people(*(f"p{n}" for n in range(40)))
    pairs = list(zip(people[::2], people[1::2], strict=True))

    def send() -> None:
        bench.ask(*(bench.send(one[0], other[1], "hello") for one, other in pairs))

    send()
    few = cost(bench, ALL, send)
    heavy(bench, (5_000, 4), is_read=True)
    many = cost(bench, ALL, send)
    # Indexes have more levels.
    assert 0 < many <= 1.5 * few, (few, many)


def chats_of(bench: WorkerBench, user: uuid.UUID) -> list[str]:
    return [
        str(row.chat_id) for row in bench.rows("SELECT chat_id FROM chat_members WHERE user_id = :u", u=user)
    ]
