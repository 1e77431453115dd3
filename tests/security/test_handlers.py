"""Whatever the payloads of a batch, each event is answered exactly once and none becomes a dead letter."""

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS
from tests.harness.worker_bench import WorkerBench
from tests.security.shapes import NASTY, encode, payloads, texts, values

CURSORS = ["messages x", f"messages {uuid.UUID(int=0)} {10**20}", f"chats {uuid.UUID(int=0)}"]

SOMEBODY = "somebody"
"""Placeholder for the name of an existing user."""
SOME_CHAT = "some chat"
"""Placeholder for the id of an existing chat of the sender."""

names = st.sampled_from([SOMEBODY, *NASTY]) | texts
chat_ids = st.sampled_from([SOME_CHAT, str(uuid.UUID(int=0))])
boxes = st.sampled_from(["inbox", "archived", "requests", "declined"])
times = st.none() | st.sampled_from(
    ["2030-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"]
)
seqs = st.sampled_from([0, 1, 2, 2**63 - 1]) | st.none()
limits = st.sampled_from([None, 1, 100, 10**30])
data = st.none() | st.dictionaries(texts, texts | seqs, max_size=3)
cursors = st.fixed_dictionaries({"seq": seqs}, optional={"change": seqs, "clearedUpTo": seqs})
ALMOST_RIGHT: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "send_message": st.fixed_dictionaries(
        {"username": names, "text": texts},
        optional={"clientId": texts, "userId": chat_ids, "replyTo": seqs, "data": data},
    ),
    "send_system_message": st.fixed_dictionaries(
        {"userId": chat_ids, "text": texts}, optional={"clientId": texts, "replyTo": seqs, "data": data}
    ),
    "edit_message": st.fixed_dictionaries(
        {"chatId": chat_ids, "seq": seqs, "text": texts}, optional={"clientId": texts, "data": data}
    ),
    "unsend_message": st.fixed_dictionaries({"chatId": chat_ids, "seq": seqs}),
    "put_user": st.fixed_dictionaries(
        {"userId": chat_ids, "username": names},
        optional={
            "name": st.none() | texts,
            "avatarUrl": st.none() | st.just("https://a") | texts,
            "data": data,
        },
    ),
    "get_user": st.fixed_dictionaries({"userId": chat_ids}),
    "revise_message": st.fixed_dictionaries(
        {"chatId": chat_ids, "seq": seqs, "text": texts}, optional={"data": data}
    ),
    "disconnect_user": st.fixed_dictionaries({"userId": chat_ids}),
    "erase_user": st.fixed_dictionaries(
        {"userId": chat_ids, "mode": texts | st.sampled_from(["delete", "anonymise"])}
    ),
    "export_user": st.fixed_dictionaries(
        {"userId": chat_ids}, optional={"cursor": texts | st.sampled_from(CURSORS)}
    ),
    "list_reports": st.fixed_dictionaries(
        {}, optional={"withClosed": st.booleans(), "cursor": texts, "limit": limits}
    ),
    "get_report": st.fixed_dictionaries({"reportId": chat_ids}),
    "close_report": st.fixed_dictionaries({"reportId": chat_ids}),
    "remove_message": st.fixed_dictionaries({"chatId": chat_ids, "seq": seqs}),
    "react": st.fixed_dictionaries(
        {
            "chatId": chat_ids,
            "seq": seqs,
            "emoji": texts | st.sampled_from(["👍", "❤", "🏴\U000e0067\U000e007f"]),
            "on": st.booleans(),
        }
    ),
    "clear_chat": st.fixed_dictionaries({"chatId": chat_ids}, optional={"upTo": seqs}),
    "join_chat": st.fixed_dictionaries({"username": names}, optional={"limit": limits}),
    "mark_as_read": st.fixed_dictionaries({"chatId": chat_ids}, optional={"upTo": seqs}),
    "get_messages": st.fixed_dictionaries(
        {"chatId": chat_ids}, optional={"before": seqs, "after": seqs, "limit": limits}
    ),
    "list_chats": st.fixed_dictionaries(
        {}, optional={"box": boxes, "cursor": texts, "limit": limits, "since": times}
    ),
    "sync": st.fixed_dictionaries({"cursors": st.dictionaries(chat_ids, seqs | cursors, max_size=3)}),
    "typing": st.fixed_dictionaries(
        {"isTyping": st.booleans()}, optional={"username": names, "chatId": chat_ids}
    ),
    "block_user": st.fixed_dictionaries({"username": names}),
    "unblock_user": st.fixed_dictionaries({"username": names}),
    "list_blocked": st.fixed_dictionaries({}, optional={"cursor": texts, "limit": limits}),
    "get_settings": st.just({}),
    "update_settings": st.fixed_dictionaries(
        {},
        optional={
            "messagesFrom": st.sampled_from(["everyone", "requests", "nobody"]),
            "readReceipts": st.booleans(),
            "showPresence": st.sampled_from(["everyone", "chats", "nobody"]),
            "pushTexts": st.booleans(),
        },
    ),
    "accept_chat": st.fixed_dictionaries({"chatId": chat_ids}),
    "decline_chat": st.fixed_dictionaries({"chatId": chat_ids}),
    "set_chat": st.fixed_dictionaries(
        {"chatId": chat_ids},
        optional={"mutedUntil": times, "pinned": st.booleans(), "archived": st.booleans()},
    ),
    "report": st.fixed_dictionaries(
        {"chatId": chat_ids, "seq": seqs, "reason": texts}, optional={"note": texts}
    ),
    "register_device": st.fixed_dictionaries(
        {"channel": st.sampled_from(["fcm", "apns", "webpush", "email", "webhook", "log"]), "address": texts},
        optional={
            "keys": st.fixed_dictionaries({"p256dh": texts, "auth": texts}),
            "timeZone": texts | st.sampled_from(["UTC", "Europe/Berlin", "../etc/passwd"]),
            "language": texts | st.sampled_from(["en", "pt_BR", "zh-Hant-TW", "x"]),
        },
    ),
    "unregister_device": st.fixed_dictionaries({"deviceId": chat_ids}),
}
"""Well-formed payloads, which get past the decoders to the statements."""

shapes = st.one_of(
    *(st.tuples(st.just(name), shape) for name, shape in ALMOST_RIGHT.items()),
    st.tuples(st.sampled_from(sorted(CLIENT_COMMANDS)), values),
)
events = st.tuples(st.sampled_from(sorted(CLIENT_COMMANDS)), payloads) | shapes


@settings(max_examples=80)
@given(st.lists(events, min_size=1, max_size=12))
def test_each_event_of_a_batch_is_answered_once_and_none_becomes_a_dead_letter(
    shared_bench: WorkerBench, batch: list[tuple[str, Any]]
) -> None:
    (alice, _), (_, bobs_name) = shared_bench.people("alice", "bob")
    hello = shared_bench.send(alice, bobs_name, "hello")
    chat_id = shared_bench.ask(hello).ack(hello)["message"]["chatId"]
    known = {SOMEBODY: bobs_name, SOME_CHAT: chat_id}
    asked = [
        shared_bench.event(alice, name, shape if isinstance(shape, bytes) else encode(filled(shape, known)))
        for name, shape in batch
    ]
    reply = shared_bench.ask(*asked)
    answers = [answer for entry in reply.entries for answer in entry.all_answers()]
    answered = Counter(answer.id for answer in answers)
    assert answered == Counter(event.id for event in asked)
    assert not [answer for answer in answers if answer.failure and answer.failure.code is ErrorCode.INTERNAL]


def filled(shape: Any, known: Mapping[str, str]) -> Any:
    """Replace the placeholders."""
    if isinstance(shape, dict):
        return {filled(key, known): filled(value, known) for key, value in shape.items()}
    return known.get(shape, shape) if isinstance(shape, str) else shape
