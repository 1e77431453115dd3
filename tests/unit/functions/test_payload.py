"""Payloads stay below the limit of push services for any names and texts, and cut no character in two."""

import json
from collections.abc import Callable
from itertools import accumulate
from uuid import UUID

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.channels.channel import Notice
from functions.channels.payload import PUSH_BYTES, compact_json, encode_within, fields
from functions.channels.phones import apns_payload
from functions.channels.sns import _encode_fcm
from functions.digest import OpenChat, digest
from functions.shorten import shorten

CLUSTERS = (
    *("a", " ", "\n", '"', "\\", "\x01", "\x7f", "ß", "é", "你", "한", "각", "ㄱ", "😀", "👍🏽", "❤️"),
    *("👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇺🇦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "क्षि", "ก็", "e" + "\u0301\u0323" * 31, "\u202e", "\u2028"),
)
TEXTS = st.lists(st.sampled_from(CLUSTERS), max_size=300).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300
)
NAMES = st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=64).map(lambda parts: "".join(parts)[:64])
LONGEST_NAMES = (
    "😀" * 64,
    "👨‍👩‍👧‍👦" * 9,
    "🇩🇪" * 32,
    "\u1100\u1161\u11a8" * 21,
    "e" + "\u0301" * 63,
    '"' * 64,
)
ENCODERS: dict[str, Callable[[Notice], str]] = {
    "webpush": lambda notice: compact_json(fields(notice)),
    "fcm": _encode_fcm,
    "apns": apns_payload,
}


def texts_of(channel: str, payload: str) -> tuple[str, str]:
    """Return title and body of a payload."""
    sent = json.loads(payload)
    if channel == "fcm":
        sent = sent["fcmV1Message"]["message"]["notification"]
    if channel == "apns":
        sent = sent["aps"]["alert"]
    return sent["title"], sent["body"]


def is_cut_between_clusters(whole: str, text: str) -> bool:
    ends = {0, *accumulate(map(len, regex.findall(r"\X", whole)))}
    kept = text.removesuffix("…")
    return text == whole or any(kept == whole[:end].rstrip() for end in ends)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(ENCODERS)),
    st.lists(st.tuples(NAMES | st.sampled_from(LONGEST_NAMES), TEXTS), min_size=1, max_size=40),
)
def test_any_notice_fits_and_is_cut_between_clusters(channel: str, people: list[tuple[str, str]]) -> None:
    chats = [OpenChat(UUID(int=number), name, 1, text) for number, (name, text) in enumerate(people)]
    notice = digest(UUID(int=9), chats, unread=7, hide_texts=False)
    payload = encode_within(notice, ENCODERS[channel])
    title, body = texts_of(channel, payload)
    assert len(payload.encode()) <= PUSH_BYTES
    assert is_cut_between_clusters(notice.title, title)
    assert is_cut_between_clusters(notice.body, body)
    name, text = people[0]
    if text:
        assert is_cut_between_clusters(text, notice.body.removeprefix(f"{name}: "))


@pytest.mark.parametrize("name", LONGEST_NAMES, ids=ascii)
@pytest.mark.parametrize("channel", ENCODERS)
def test_the_longest_names_leave_room_for_the_text(channel: str, name: str) -> None:
    chats = [OpenChat(UUID(int=number), name, 1, "x" * 200) for number in range(40)]
    payload = encode_within(digest(UUID(int=9), chats, unread=7, hide_texts=False), ENCODERS[channel])
    assert len(payload.encode()) <= PUSH_BYTES
    assert texts_of(channel, payload)[1].startswith(f"{name}: xxx")


@pytest.mark.parametrize("channel", ENCODERS)
def test_a_name_that_no_user_may_have_fits_too(channel: str) -> None:
    chats = [OpenChat(UUID(int=number), "👨‍👩‍👧‍👦" * 10_000, 1, "hello") for number in range(40)]
    payload = encode_within(digest(UUID(int=9), chats, unread=7, hide_texts=False), ENCODERS[channel])
    assert len(payload.encode()) <= PUSH_BYTES


def test_what_fits_is_not_touched() -> None:
    notice = Notice(UUID(int=9), "Message from bea ", "bea: hello ", 1, ("bea",), (UUID(int=1),), 7)
    assert texts_of("webpush", encode_within(notice, ENCODERS["webpush"])) == (notice.title, notice.body)


@pytest.mark.parametrize(
    ("text", "most", "short"),
    [
        ("", 5, ""),
        ("hello", 5, "hello"),
        ("hello world", 6, "hello…"),
        ("hello world", 7, "hello…"),
        ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 13, "👨‍👩‍👧‍👦…"),
        ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 7, "…"),
        ("🇩🇪🇫🇷🇺🇦", 4, "🇩🇪…"),
        ("\u1100\u1161\u11a8\u1100\u1161\u11a8", 5, "\u1100\u1161\u11a8…"),
        ("e" + "\u0301" * 63 + "x", 64, "…"),
    ],
)
def test_a_text_is_shortened_between_clusters(text: str, most: int, short: str) -> None:
    assert shorten(text, most) == short
