"""The numbers that the documents promise are those of the code."""

import re
import uuid
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from infra.settings.base import Settings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from infra.store.boxes import REQUEST_MESSAGES
from infra.store.profiles import MAX_USERNAME
from infra.store.unread import MOST_CHATS
from infra.wire.commands import (
    DATA_BYTES,
    MAX_SPELLING,
    Cursor,
    JoinChat,
    Limit,
    PutUser,
    RegisterDevice,
    Report,
    SendMessage,
    Sync,
    Typing,
)
from socket_edge.auth.claims import MAX_TOKEN_CHARS
from socket_edge.auth.jwks import MAX_AGE_S
from socket_edge.connection.bounds import ACK_BYTES, HEAD_BYTES, POLL_PACKETS, REFUSED_SIGN_INS
from socket_edge.json_text import DEPTH
from socket_edge.limits.users import _FLOOD
from workers.changes import EDITS_KEPT
from workers.handlers.catch_up import _LOOK_UP
from workers.handlers.list_chats import _UNCOMMITTED_S
from workers.handlers.react import REACTIONS
from workers.handlers.report import BEFORE, REPORTS
from workers.handlers.sync import _CHATS, _MESSAGES
from workers.messages import QUOTED_CHARS
from workers.pages import ANSWER_BYTES
from workers.requests import HANDLED

ROOT = Path(__file__).parents[2]
SQL = ROOT / "infra" / "store" / "supabase.sql"
WORDS = {5: "five", 10: "ten"}


def edge(name: str) -> int:
    return default(EdgeSettings, name)


def worker(name: str) -> int:
    return default(WorkerSettings, name)


def default(settings: type[Settings], name: str) -> int:
    """Return the default of a setting, which must be a whole number."""
    value = settings.model_fields[name].default
    assert value == int(value)
    return int(value)


def lengths(command: type[Any], field: str) -> list[int]:
    """Return the least and the greatest length of a text in a payload."""
    annotation = get_type_hints(command, include_extras=True)[field]
    return [int(length) for length in re.findall(r"(?:min|max)_length=(\d+)", repr(annotation))]


def found(pattern: str, text: object) -> int:
    """Return the only number that the pattern finds."""
    (number,) = re.findall(pattern, str(text), re.DOTALL)
    return int(number)


LIMITS = {
    "event": [edge("payload_bytes")],
    "frame": [edge("transport_bytes")],
    "request": [HEAD_BYTES, POLL_PACKETS, edge("connect_s")],
    "text": [1, worker("text_chars")],
    "data": [DATA_BYTES],
    "quoted text": [QUOTED_CHARS],
    "reactions": [REACTIONS],
    "changes": [worker("edit_s"), worker("unsend_s")],
    "message request": [REQUEST_MESSAGES],
    "reports": [REPORTS, 24, *lengths(Report, "reason"), *lengths(Report, "note")],
    "username": [1, MAX_USERNAME, MAX_SPELLING],
    "peer": [lengths(PutUser, "name")[1], *lengths(PutUser, "avatar_url"), DATA_BYTES],
    "clientId": lengths(SendMessage, "client_id"),
    "events": [edge("rate_events_burst"), edge("rate_events")],
    "bytes": [edge("rate_bytes_burst"), edge("rate_bytes")],
    "acks": [ACK_BYTES],
    "everything else": [_FLOOD],
    "sign-ins": [edge("rate_sign_ins_burst"), edge("rate_sign_ins")],
    "connections": [edge("rate_connects_burst"), edge("rate_connects")],
    "sockets": [edge("sockets_per_user")],
    "limit": [worker("page"), worker("page_max"), worker("page_max"), get_args(Limit)[1].ge],
    "page": [ANSWER_BYTES],
    "sync": [worker("page_max"), _MESSAGES, ANSWER_BYTES, _CHATS],
    "token": [MAX_TOKEN_CHARS],
    "nesting": [DEPTH],
    "binary data": [],
}
"""The numbers in the rows of the table of limits in docs/events.md, in its order."""


def rows() -> list[list[int]]:
    """Return the numbers in each row of the table, without the codes of HTTP."""
    section = (ROOT / "docs" / "events.md").read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][2:]
    return [numbers(re.sub(r"HTTP \d+", "", cell)) for cell in cells]


def numbers(text: str) -> list[int]:
    for number, word in WORDS.items():
        text = re.sub(rf"\b{word}\b", str(number), text)
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


@pytest.mark.parametrize(("expected", "row"), [*zip(LIMITS.values(), rows(), strict=True)], ids=LIMITS)
def test_the_table_of_limits_has_the_numbers_of_the_code(expected: list[int], row: list[int]) -> None:
    assert row == expected


@pytest.mark.parametrize("command", [SendMessage, JoinChat, Typing])
def test_a_name_may_be_written_as_long_as_any_spelling_of_it(command: type[Any]) -> None:
    assert lengths(command, "username") == [1, MAX_SPELLING]


def cursors_in_an_event() -> int:
    """Return how many cursors of busy chats fit into an event, in whole hundreds."""
    busy = Cursor(seq=999_999, change=999_999, cleared_up_to=999_999)

    def size(count: int) -> int:
        return len(msgspec.json.encode(("sync", Sync(cursors={uuid.uuid4(): busy for _ in range(count)}))))

    return (edge("payload_bytes") - size(0)) // (size(2) - size(1)) // 100 * 100


KEYS = f"within {MAX_AGE_S / 60:.0f} minutes"
SENTENCES = [
    ("docs/deployment.md", KEYS),
    ("docs/guarantees.md", KEYS),
    ("SECURITY.md", KEYS),
    ("docs/guarantees.md", f"up to {WORDS[default(FunctionSettings, 'push_tries')]} times"),
    ("docs/guarantees.md", f"newest {found(r'seq DESC LIMIT ([0-9]+)', _LOOK_UP):,} messages"),
    ("docs/guarantees.md", f"deadline ({edge('deadline_s')} s)"),
    ("docs/guarantees.md", f"lease refresh ({edge('lease_refresh_s')} s)"),
    ("docs/guarantees.md", f"within about {worker('sweep_s') + worker('sweep_after_s')} s"),
    ("docs/events.md", f"at most {worker('devices_max')} devices"),
    ("docs/events.md", f"`chats` stops at {MOST_CHATS}"),
    ("docs/events.md", f"remembers the last {EDITS_KEPT})"),
    ("docs/guarantees.md", f"last {HANDLED} requests that changed them"),
    ("docs/guarantees.md", f"messages the last {EDITS_KEPT} edits and {EDITS_KEPT} reactions"),
    ("docs/events.md", f"more than {REACTIONS} reactions"),
    ("docs/events.md", f"can send {REQUEST_MESSAGES} messages before you accept it"),
    ("docs/events.md", f"one that waits and has {REQUEST_MESSAGES} messages"),
    ("docs/events.md", f"the {WORDS[BEFORE]} before it"),
    ("docs/events.md", f"its first {QUOTED_CHARS} characters"),
    ("docs/events.md", f"({_MESSAGES} messages, or {ANSWER_BYTES:,} bytes of them)"),
    ("docs/events.md", f"After {_CHATS:,} chats, one more"),
    ("docs/events.md", f"An event holds about {cursors_in_an_event():,} cursors"),
    ("docs/events.md", f"With more than about {cursors_in_an_event():,} chats"),
    ("docs/events.md", f"up to {_UNCOMMITTED_S // 60} minutes before"),
    ("docs/events.md", f"longer than {MAX_SPELLING} characters"),
    ("docs/events.md", f"at most {lengths(RegisterDevice, 'address')[1]:,} characters"),
    ("docs/events.md", f"no tag as none; at most {lengths(RegisterDevice, 'language')[0]} characters"),
    ("docs/events.md", f"for {default(FunctionSettings, 'device_days')} days"),
    ("docs/events.md", f"deadline, {edge('deadline_s')} s by default"),
    ("docs/events.md", f"every {edge('ping_s')} s"),
    ("docs/events.md", f"{edge('token_grace_s')} s before expiry by default"),
    ("docs/events.md", f"{WORDS[REFUSED_SIGN_INS]} refusals"),
    ("docs/events.md", f"the server closes the connection after {edge('connect_s')} s"),
    ("docs/server-api.md", "{} to {} characters".format(*lengths(PutUser, "name"))),
    ("docs/server-api.md", "up to {:,} characters".format(*lengths(PutUser, "avatar_url"))),
    ("docs/server-api.md", f"up to {DATA_BYTES:,} bytes as it is written"),
    ("docs/guarantees.md", f"a profile remembers the last {HANDLED}."),
    ("docs/clients.md", f"The server closes that after {edge('connect_s')} s"),
    (
        "docs/supabase.md",
        f"longer than {found(r'delete_profile_of_user.*?lock_timeout = .([0-9]+)s', SQL.read_text())} s",
    ),
]
"""What the pages say, with the numbers of the code."""


@pytest.mark.parametrize(("page", "sentence"), SENTENCES)
def test_a_number_in_a_sentence_is_that_of_the_code(page: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / page).read_text().split())
