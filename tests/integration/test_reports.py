"""A report keeps a copy of the message and of those before it, which nothing changes any more."""

import json
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from tests.harness.engines import Store, free_port
from tests.harness.stack import bbgram
from tests.harness.two import Person, Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.handlers.report import BEFORE, REPORTS
from workers.piles import _COUNT as COUNT
from workers.piles import count_piles

SECRET = "a secret nobody may log"
NOBODY = str(uuid.uuid4())


@pytest.fixture
def two(bench: WorkerBench) -> Iterator[Two]:
    """Two friends; there are no reports yet."""
    bench.rows("TRUNCATE reports")
    yield Two.friends(bench)
    bench.rows("TRUNCATE reports")


def reporting(two: Two, person: Person, seq: int, **more: Any) -> Event:
    return two.event(person, "report", **{"chatId": two.chat_id, "seq": seq, "reason": "spam", **more})


def report(two: Two, person: Person, seq: int, **more: Any) -> Any:
    """Report a message; return the id of the report, or the code of the failure."""
    (result,) = two.ask(reporting(two, person, seq, **more))
    return result["reportId"] if isinstance(result, dict) else result


def kept(two: Two, report_id: str) -> Any:
    (row,) = two.bench.rows("SELECT * FROM reports WHERE id = :id", id=report_id)
    return row


def copy(two: Two, report_id: str) -> list[Any]:
    messages: list[Any] = kept(two, report_id).messages
    return messages


def reports(two: Two, person: Person) -> int:
    return len(two.bench.rows("SELECT FROM reports WHERE reporter_id = :id", id=person.id))


def page(two: Two, person: Person) -> list[Any]:
    messages: list[Any] = two.do(person, "get_messages", chatId=two.chat_id)["messages"]
    return messages


def backdate(two: Two, person: Person, ages: str) -> None:
    """Insert a report of a person for each age, an SQL array of intervals."""
    two.bench.rows(
        "INSERT INTO reports (id, reporter_id, reported_id, chat_id, seq, reason, messages, created_at)"
        " SELECT gen_random_uuid(), :id, :other, gen_random_uuid(), 1, 'spam', '[]', now() - age"
        f" FROM unnest(CAST({ages} AS interval[])) AS age",
        id=person.id,
        other=two.other(person).id,
    )


def test_a_report_says_who_reported_what_and_why(two: Two) -> None:
    row = kept(two, report(two, two.bob, 1, reason="spam", note="again and again"))
    assert (row.reporter_id, row.reported_id) == (two.bob.id, two.alice.id)
    assert (str(row.chat_id), row.seq, row.reason, row.note) == (two.chat_id, 1, "spam", "again and again")
    assert row.closed_at is None


@pytest.mark.parametrize("note", [{}, {"note": None}, {"note": ""}])
def test_a_report_needs_no_note(two: Two, note: dict[str, Any]) -> None:
    assert kept(two, report(two, two.bob, 1, **note)).note is None


def test_the_copy_holds_the_message_and_ten_before_it_as_the_reporter_sees_them(two: Two) -> None:
    for number in range(3, 15):
        two.send(two.alice, f"number {number}", data={"n": number}, replyTo=number - 1)
    two.do(two.bob, "react", chatId=two.chat_id, seq=12, emoji="👍", on=True)
    two.do(two.alice, "edit_message", chatId=two.chat_id, seq=13, text="edited")
    seen = page(two, two.bob)
    report_id = report(two, two.bob, 13)
    assert copy(two, report_id) == seen[13 - 1 - BEFORE : 13]
    assert [message["seq"] for message in copy(two, report_id)] == [*range(3, 14)]


def test_of_a_short_chat_the_copy_holds_what_there_is(two: Two) -> None:
    assert [message["seq"] for message in copy(two, report(two, two.alice, 2))] == [1, 2]
    assert [message["seq"] for message in copy(two, report(two, two.bob, 1))] == [1]


def test_what_the_reporter_has_cleared_is_not_in_the_copy(two: Two) -> None:
    for _ in range(3):
        two.send(two.alice)
    two.do(two.bob, "clear_chat", chatId=two.chat_id, upTo=3)
    assert report(two, two.bob, 3) is ErrorCode.MESSAGE_NOT_FOUND
    assert [message["seq"] for message in copy(two, report(two, two.bob, 5))] == [4, 5]


def test_the_copy_ends_where_a_message_is_missing(two: Two) -> None:
    for _ in range(3):
        two.send(two.alice)
    two.bench.rows("DELETE FROM messages WHERE chat_id = :chat AND seq = 2", chat=two.chat_id)
    assert report(two, two.bob, 2) is ErrorCode.MESSAGE_NOT_FOUND
    assert [message["seq"] for message in copy(two, report(two, two.bob, 4))] == [3, 4]


@pytest.mark.parametrize("data", ['{"a":"\\u0000"}', '{"a":1e-99999}', '{ "b":1,"a":1,"b":2.50 }'])
def test_whatever_a_message_may_hold_can_be_reported_and_is_kept_to_the_byte(two: Two, data: str) -> None:
    sent = two.sending(two.alice, "with data", data=msgspec.Raw(data.encode()))
    (result,) = two.ask(sent)
    assert isinstance(result, dict), "the message is accepted"
    report_id = report(two, two.bob, 3)
    ((stored,),) = two.bench.rows("SELECT messages::text FROM reports WHERE id = :id", id=report_id)
    assert f'"data":{data}' in stored


def test_nothing_that_happens_later_changes_the_copy(two: Two) -> None:
    report_id = report(two, two.bob, 1)
    before = copy(two, report_id)
    two.do(two.bob, "react", chatId=two.chat_id, seq=1, emoji="👍", on=True)
    two.do(two.alice, "edit_message", chatId=two.chat_id, seq=1, text="I never said that")
    two.do(two.alice, "unsend_message", chatId=two.chat_id, seq=1)
    two.do(two.bob, "clear_chat", chatId=two.chat_id)
    two.bench.rows("UPDATE profiles SET username = username || 'x' WHERE id = :id", id=two.alice.id)
    two.bench.rows("DELETE FROM chats WHERE id = :id", id=two.chat_id)
    for person in (two.alice, two.bob):
        two.bench.rows("DELETE FROM profiles WHERE id = :id", id=person.id)
    assert copy(two, report_id) == before
    assert (before[0]["text"], before[0]["senderUsername"]) == ("hi", two.alice.name)


def test_nobody_is_told(two: Two) -> None:
    report(two, two.bob, 1)
    assert two.reply.emits == []


def test_a_message_is_reported_once_by_each_user_and_the_first_copy_counts(two: Two) -> None:
    two.send(two.alice, "first")
    first = report(two, two.bob, 3, reason="spam", note="first")
    two.do(two.alice, "edit_message", chatId=two.chat_id, seq=3, text="second")
    assert report(two, two.bob, 3, reason="other", note="second") == first
    row = kept(two, first)
    assert (row.reason, row.note, row.messages[-1]["text"]) == ("spam", "first", "first")
    assert reports(two, two.bob) == 1


def test_a_retry_gets_its_answer_whatever_has_become_of_the_message(two: Two) -> None:
    first = report(two, two.bob, 1)
    two.do(two.alice, "unsend_message", chatId=two.chat_id, seq=1)
    assert report(two, two.bob, 1) == first
    two.do(two.bob, "clear_chat", chatId=two.chat_id)
    assert report(two, two.bob, 1) == first
    two.bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=two.chat_id)
    assert report(two, two.bob, 1) == first


def test_the_same_report_twice_in_a_batch_is_one(two: Two) -> None:
    first, second = two.ask(reporting(two, two.bob, 1), reporting(two, two.bob, 1, reason="other"))
    assert first == second
    assert kept(two, first["reportId"]).reason == "spam"


def test_both_can_report_each_other(two: Two) -> None:
    one, other = two.ask(reporting(two, two.bob, 1), reporting(two, two.alice, 2))
    assert one["reportId"] != other["reportId"]


def test_a_report_in_the_batch_of_an_unsending_keeps_what_was_there(two: Two) -> None:
    _, result = two.ask(
        two.event(two.alice, "unsend_message", chatId=two.chat_id, seq=1), reporting(two, two.bob, 1)
    )
    assert copy(two, result["reportId"])[-1]["text"] == "hi"


def test_ones_own_message_cannot_be_reported(two: Two) -> None:
    assert report(two, two.alice, 1) is ErrorCode.NOT_ALLOWED
    notes = two.event(two.alice, "send_message", userId=str(two.alice.id), text="note to self")
    (sent,) = two.ask(notes)
    chat_id = sent["message"]["chatId"]
    assert report(two, two.alice, 1, chatId=chat_id) is ErrorCode.NOT_ALLOWED


def test_of_an_unsent_message_nothing_is_left_to_report_but_the_next_one_shows_it(two: Two) -> None:
    two.send(two.alice)
    two.do(two.alice, "unsend_message", chatId=two.chat_id, seq=1)
    assert report(two, two.bob, 1) is ErrorCode.NOT_ALLOWED
    assert "deletedAt" in copy(two, report(two, two.bob, 3))[0]


@pytest.mark.parametrize("seq", [0, 3, 2**63 - 1])
def test_a_message_that_is_not_there_cannot_be_reported(two: Two, seq: int) -> None:
    assert report(two, two.bob, seq) is ErrorCode.MESSAGE_NOT_FOUND
    assert reports(two, two.bob) == 0


def test_only_members_can_report_a_message(two: Two) -> None:
    stranger = Person(*two.bench.person("mallory"))
    assert report(two, stranger, 1) is ErrorCode.NOT_A_MEMBER
    assert report(two, two.bob, 1, chatId=NOBODY) is ErrorCode.CHAT_NOT_FOUND
    assert reports(two, stranger) == reports(two, two.bob) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""},
        {"reason": "x" * 65},
        {"reason": "a\0b"},
        {"reason": None},
        {"note": "x" * 1_001},
        {"note": "a\0b"},
        {"note": 1},
        {"seq": -1},
        {"seq": "1"},
        {"chatId": "1"},
    ],
    ids=str,
)
def test_a_report_that_is_not_as_it_should_be_is_refused(two: Two, wrong: dict[str, Any]) -> None:
    asked = {"chatId": two.chat_id, "seq": 1, "reason": "spam", **wrong}
    assert two.do(two.bob, "report", **asked) is ErrorCode.INVALID_PAYLOAD
    assert reports(two, two.bob) == 0


def test_the_longest_reason_and_note_are_kept(two: Two) -> None:
    row = kept(two, report(two, two.bob, 1, reason="😀" * 64, note="😀" * 1_000))
    assert (row.reason, row.note) == ("😀" * 64, "😀" * 1_000)


def test_a_block_or_an_unanswered_request_is_in_nobodys_way(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.bob, messagesFrom="requests")
    two.send(two.alice, "please")
    assert kept(two, report(two, two.bob, 1))
    two.send(two.alice, "please!")
    two.do(two.bob, "decline_chat", chatId=two.chat_id)
    two.block(two.bob)
    assert len(copy(two, report(two, two.bob, 2))) == 2


def test_a_user_can_report_so_many_messages_a_day(two: Two) -> None:
    for _ in range(REPORTS):
        two.send(two.alice)
    made = two.ask(*(reporting(two, two.bob, seq) for seq in range(3, REPORTS + 3)))
    assert len({one["reportId"] for one in made}) == REPORTS
    late = reporting(two, two.bob, 1)
    assert two.ask(late) == [ErrorCode.RATE_LIMITED]
    assert 86_000_000 < (two.reply.failure(late).retry_after_ms or 0) <= 86_400_000
    assert reports(two, two.bob) == REPORTS
    assert report(two, two.bob, 3) == made[0]["reportId"], "a retry is no other report"
    assert kept(two, report(two, two.alice, 2)), "others have a limit of their own"


def test_reports_of_one_batch_count_too(two: Two) -> None:
    backdate(two, two.bob, f"array_fill('1 hour'::interval, ARRAY[{REPORTS - 1}])")
    two.send(two.alice)
    first, second = two.ask(reporting(two, two.bob, 1), reporting(two, two.bob, 3))
    assert (isinstance(first, dict), second) == (True, ErrorCode.RATE_LIMITED)


def test_a_refused_report_does_not_count(two: Two) -> None:
    backdate(two, two.bob, f"array_fill('1 hour'::interval, ARRAY[{REPORTS - 1}])")
    assert report(two, two.bob, 99) is ErrorCode.MESSAGE_NOT_FOUND
    assert kept(two, report(two, two.bob, 1))


def test_after_24_hours_a_report_counts_no_more_and_the_user_is_told_how_long_that_is(two: Two) -> None:
    ages = f"array_fill('1 hour'::interval, ARRAY[{REPORTS - 1}])"
    backdate(two, two.bob, f"{ages} || '23 hours 59 minutes'::interval || '25 hours'::interval")
    asked = reporting(two, two.bob, 1)
    assert two.ask(asked) == [ErrorCode.RATE_LIMITED]
    assert 0 < (two.reply.failure(asked).retry_after_ms or 0) <= 60_000
    two.bench.rows(
        "UPDATE reports SET created_at = created_at - interval '1 minute 1 second' WHERE reporter_id = :id"
        " AND created_at < now() - interval '23 hours'",
        id=two.bob.id,
    )
    assert kept(two, report(two, two.bob, 1))


def test_a_user_on_many_connections_has_one_limit(two: Two, make_bench: BenchFactory) -> None:
    rounds, benches = 10, [make_bench() for _ in range(3)]
    for _ in benches:
        two.send(two.alice)
    chat_id = two.chat_id
    together = threading.Barrier(len(benches) + 1, timeout=30)
    made: list[list[bool]] = [[] for _ in range(rounds)]

    def ask(bench: WorkerBench, seq: int) -> None:
        for answers in made:
            asked = bench.event(two.bob.id, "report", {"chatId": chat_id, "seq": seq, "reason": "spam"})
            together.wait()
            answers.append(bench.ask(asked).answers[asked.id].failure is None)
            together.wait()

    threads = [threading.Thread(target=ask, args=(bench, 3 + place)) for place, bench in enumerate(benches)]
    for thread in threads:
        thread.start()
    stored = []
    for _ in range(rounds):
        two.bench.rows("TRUNCATE reports")
        backdate(two, two.bob, f"array_fill('1 hour'::interval, ARRAY[{REPORTS - 1}])")
        together.wait()
        together.wait()
        stored.append(reports(two, two.bob))
    for thread in threads:
        thread.join()
    assert stored == [REPORTS] * rounds
    assert [sum(answers) for answers in made] == [1] * rounds


def test_a_message_reported_on_two_connections_at_once_is_reported_once(
    two: Two, make_bench: BenchFactory
) -> None:
    benches = [make_bench() for _ in range(2)]
    asked = [reporting(two, two.bob, 1) for _ in benches]
    with two.bench.engine.begin() as blocker:
        blocker.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE"), {"id": two.bob.id})
        threads = [
            threading.Thread(target=bench.ask, args=(event,))
            for bench, event in zip(benches, asked, strict=True)
        ]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert reports(two, two.bob) == 1
    assert two.bench.rows("SELECT FROM dead_letters WHERE user_id = :id", id=two.bob.id) == []


def test_a_reporter_who_is_locked_is_told_to_try_again(two: Two) -> None:
    asked = reporting(two, two.bob, 1)
    with two.bench.engine.begin() as blocker:
        blocker.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE"), {"id": two.bob.id})
        assert two.ask(asked) == [ErrorCode.UNAVAILABLE]
    assert isinstance(two.ask(asked)[0], dict)


def test_closed_reports_are_not_read_to_count_open_ones(two: Two) -> None:
    two.bench.rows(
        "INSERT INTO reports (id, reporter_id, reported_id, chat_id, seq, reason, messages, closed_at)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'spam', '[]',"
        " now() FROM generate_series(1, 5000)"
    )
    two.bench.rows("ANALYZE reports")
    two.send(two.alice, "spam")
    report(two, two.bob, 1)
    assert count_piles(two.bench.engine).open_reports == 1
    plan = "\n".join(row[0] for row in two.bench.rows(f"EXPLAIN {COUNT.text}"))
    assert plan.count("reports_open") == 2
    assert "Seq Scan on reports" not in plan


def test_no_log_holds_what_was_reported(two: Two) -> None:
    two.send(two.alice, SECRET)
    with capture_logs() as logs:
        report(two, two.bob, 3, note=SECRET)
        report(two, two.bob, 99, note=SECRET)
    assert SECRET not in repr(logs)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(bench_store: Store, tmp_path: Path) -> Command:
    """Return a function that runs `bbgram reports` to its end; settings can be replaced."""

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"DATABASE_URL": bench_store.database_url, **settings}
        env = {f"BBGRAM_{name}": value for name, value in given.items()}
        return bbgram("reports", *words, env={"BBGRAM_DATA_DIR": str(tmp_path), **env})

    return run


def the_one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_an_operator_lists_shows_and_closes(two: Two, command: Command) -> None:
    assert command().stdout == "there are no open reports\n"
    assert command("--all").stdout == "there are no reports\n"
    two.send(two.alice, SECRET, data={"secret": 1})
    first, second = report(two, two.bob, 1), report(two, two.bob, 3, note="it is a secret")

    head, *lines = command().stdout.splitlines()
    assert head.split() == ["ID", "WHEN", "REASON", "REPORTED", "USER", "ID", "REPORTER", "ID"]
    assert [line.split()[0] for line in lines] == [second, first]
    assert lines[0].split()[2:] == ["spam", str(two.alice.id), str(two.bob.id)]
    assert "secret" not in command().stdout + command("--json", "--all").stdout
    limited = command("--limit", "1").stdout.splitlines()
    assert (len(limited), limited[2]) == (3, "there are older ones; --limit shows more")

    shown = command("show", second).stdout
    assert "note      it is a secret\n" in shown
    assert [line.split("  ", 1)[1] for line in shown.splitlines()[-3:]] == [
        f"1  {two.alice.name}: hi",
        f"2  {two.bob.name}: ho",
        f'3  {two.alice.name}: {SECRET} {{"secret":1}}',
    ]
    whole = json.loads(command("show", second, "--json").stdout)
    assert (whole["note"], whole["messages"]) == ("it is a secret", copy(two, second))

    assert command("close", first).stdout == f"{first}  closed\n"
    assert [one["id"] for one in json.loads(command("--json").stdout)] == [second]
    closed_at = kept(two, first).closed_at
    assert command("close", first, second).stdout == f"{first}  closed\n{second}  closed\n"
    assert kept(two, first).closed_at == closed_at
    assert command().stdout == "there are no open reports\n"
    assert command("list", "--all").stdout.splitlines()[0].endswith("  CLOSED")
    assert len(json.loads(command("--all", "--json").stdout)) == 2
    assert "closed    2" in command("show", first).stdout


def test_what_the_app_said_is_shown_as_such(two: Two, command: Command) -> None:
    two.do(two.alice, "send_system_message", userId=str(two.bob.id), text="Shipped.")
    shown = command("show", report(two, two.bob, 3)).stdout
    assert shown.endswith(f"3  {two.alice.name} (system): Shipped.\n")


def test_an_unknown_report_is_named_and_nothing_is_done(two: Two, command: Command) -> None:
    known = report(two, two.bob, 1)
    for words in (("show", NOBODY), ("close", known, NOBODY)):
        assert f"there is no report {NOBODY}" in the_one_line(command(*words), 2)
    assert kept(two, known).closed_at is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show",), "Missing argument 'ID'"),
        (("show", "12"), "'12' is not a valid UUID"),
        (("close",), "Missing argument 'ID...'"),
        (("--limit", "0"), "Invalid value for '--limit'"),
        (("burn",), "No such command 'burn'"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, words: tuple[str, ...], told: str) -> None:
    assert told in the_one_line(command(*words), 2)


@pytest.mark.parametrize("words", [(), ("show", NOBODY), ("close", NOBODY)])
def test_an_unreachable_database_is_one_line(command: Command, words: tuple[str, ...]) -> None:
    away = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    line = the_one_line(command(*words, DATABASE_URL=away), 1)
    assert line.startswith("Error: reports failed: ")
    assert "secret-word" not in line


def test_nothing_that_a_terminal_would_obey_is_printed(two: Two, command: Command) -> None:
    escape = "red \x1b[31m \N{CONTROL SEQUENCE INTRODUCER}31m\nforged  line"
    two.send(two.alice, escape)
    report_id = report(two, two.bob, 3, reason=escape, note=escape)
    for shown in (command(), command("show", report_id)):
        assert shown.returncode == 0
        assert all(char.isprintable() or char == "\n" for char in shown.stdout)
    assert command("show", report_id).stdout.count(r"red \x1b[31m \x9b31m\nforged  line") == 3
