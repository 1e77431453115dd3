"""The hook before sending: the app's backend decides about messages and edits before they are stored."""

import json
import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from prometheus_client import generate_latest
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from infra.metrics.registry import REGISTRY
from infra.wire.batch import Event
from tests.harness.engines import free_port
from tests.harness.hook_endpoint import ACCEPT, HookEndpoint, Message, answer_with
from tests.harness.worker_bench import WorkerBench
from tests.integration.channels.endpoint import Endpoint as Server
from tests.integration.channels.endpoint import make_certificate
from tests.integration.conftest import BenchFactory
from workers import hook as module
from workers.hook import Hook
from workers.refusals import KEPT
from workers.screening import Screen

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ROUNDS = 30
TIMEOUT_S = 5.0
"""Nothing that works takes as long."""

Person = tuple[uuid.UUID, str]
ScreenedFactory = Callable[..., "Hooked"]


class Hooked:
    """Alice and Bob, whose messages an endpoint is asked about."""

    def __init__(self, bench: WorkerBench, hook: Hook) -> None:
        self.bench = bench
        self.hook = hook
        (self.alice, self.to_alice), (self.bob, self.to_bob) = bench.people("alice", "bob")

    def send(self, words: str, **more: Any) -> Event:
        return self.bench.send(self.alice, self.to_bob, words, **more)

    def ask(self, *events: Event) -> list[Any]:
        """Return for each event its message, or the code and message of its failure."""
        reply = self.bench.ask(*events)
        failures = [reply.answers[event.id].failure for event in events]
        return [
            (failure.code, failure.message) if failure else reply.ack(event)["message"]
            for event, failure in zip(events, failures, strict=True)
        ]

    def codes(self, *events: Event) -> list[str]:
        """Return for each event its text, or the code of its failure."""
        return [str(one[0]) if isinstance(one, tuple) else one["text"] for one in self.ask(*events)]

    def stored(self) -> list[str]:
        """Return what Alice's and Bob's chat holds."""
        sql = """SELECT text FROM messages m JOIN chats c ON c.id = m.chat_id
            WHERE :alice IN (user_lo, user_hi) ORDER BY m.seq"""
        return [row.text for row in self.bench.rows(sql, alice=self.alice)]


@pytest.fixture
def endpoint() -> Iterator[HookEndpoint]:
    endpoint = HookEndpoint()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def make_hooked(make_bench: BenchFactory, endpoint: HookEndpoint) -> Iterator[ScreenedFactory]:
    hooks = []

    def make(*, fails_open: bool = False, timeout_s: float = TIMEOUT_S, url: str | None = None) -> Hooked:
        hooks.append(Hook(url or endpoint.url, [OLD], timeout_s))
        return Hooked(make_bench(screen=Screen(hooks[-1], fails_open=fails_open)), hooks[-1])

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hooked(make_hooked: ScreenedFactory) -> Hooked:
    return make_hooked()


def by_text(message: Message) -> Any:
    """Refuse what is bad, and change what is rude."""
    if "bad" in message["text"]:
        return {"action": "refuse", "reason": "We are kind here."}
    if "rude" in message["text"]:
        return {"action": "change", "text": message["text"].replace("rude", "****")}
    return ACCEPT


def requests_by_outcome() -> dict[str, float]:
    return {
        str(sample.labels["outcome"]): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "bbgram_worker_hook_requests_total"
    }


def test_a_whole_batch_is_asked_about_at_once_and_each_message_gets_its_own_result(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    endpoint.decide = by_text
    hooked.bench.connect(hooked.bob)
    events = [hooked.send(words) for words in ("hello", "rude 1", "bad", "rude 2", "bye")]
    read = hooked.bench.event(hooked.bob, "list_chats", {})
    reply = hooked.bench.ask(*events, read)
    assert [message["text"] for message in reply.emitted("new_message", hooked.bob)] == hooked.stored()
    assert hooked.stored() == ["hello", "**** 1", "**** 2", "bye"]
    assert reply.ack(events[1])["message"]["text"] == "**** 1"
    refused = reply.failure(events[2])
    assert (refused.code, refused.message) == ("not_allowed", "We are kind here.")
    assert len(endpoint.requests) == 1


def test_a_batch_that_is_cut_because_it_reads_much_is_asked_about_at_once(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    endpoint.decide = by_text
    reads = [hooked.bench.event(hooked.alice, "list_chats", {}) for _ in range(50)]
    sends = [hooked.send(words) for words in ("hello", "bad", "rude")]
    reply = hooked.bench.ask(sends[0], *reads[:25], sends[1], *reads[25:], sends[2])
    assert reply.failure(sends[1]).code == "not_allowed"
    assert hooked.stored() == ["hello", "****"]
    assert endpoint.texts == ["hello", "bad", "rude"]
    assert len(endpoint.requests) == 1


def test_the_endpoint_is_told_who_writes_what_to_whom(hooked: Hooked, endpoint: HookEndpoint) -> None:
    first = hooked.send("hello", data={"a": [1, None]}, clientId="one")
    (stored,) = hooked.ask(first)
    told = {"senderId": str(hooked.alice), "recipientId": str(hooked.bob)}
    assert endpoint.asked == [
        [{"id": first.id, **told, "text": "hello", "data": {"a": [1, None]}, "clientId": "one"}]
    ]
    reply = hooked.bench.event(
        hooked.alice, "send_message", {"userId": str(hooked.bob), "text": "again", "replyTo": 1, "data": None}
    )
    edit = hooked.bench.event(
        hooked.alice, "edit_message", {"chatId": stored["chatId"], "seq": 1, "text": "hi", "data": None}
    )
    hooked.ask(reply, edit)
    told["chatId"] = stored["chatId"]
    assert endpoint.asked[1] == [
        {"id": reply.id, **told, "text": "again", "replyTo": 1},
        {"id": edit.id, **told, "text": "hi", "data": None, "isEdit": True, "seq": 1},
    ]


def test_requests_are_signed_with_each_secret_over_one_connection(endpoint: HookEndpoint) -> None:
    hook = Hook(endpoint.url, [NEW, OLD], TIMEOUT_S)
    for _ in range(3):
        assert hook.request([]) == []
    hook.close()
    assert endpoint.connections == 1
    for headers, body in endpoint.requests:
        for secret in (OLD, NEW):
            Webhook(secret).verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(body + b" ", headers)


def test_an_edit_is_asked_about_too(hooked: Hooked, endpoint: HookEndpoint) -> None:
    endpoint.decide = by_text
    (first,) = hooked.ask(hooked.send("hello", data={"kept": True}))

    def edit(words: str, **more: Any) -> Event:
        place = {"chatId": first["chatId"], "seq": 1, "text": words, **more}
        return hooked.bench.event(hooked.alice, "edit_message", place)

    assert hooked.ask(edit("bad")) == [("not_allowed", "We are kind here.")]
    (changed,) = hooked.ask(edit("rude"))
    assert (changed["text"], changed["data"]) == ("****", {"kept": True})
    endpoint.decide = lambda _: {"action": "change", "text": "new", "data": None}
    (changed,) = hooked.ask(edit("old", data={"x": 1}))
    assert changed["text"] == "new"
    assert "data" not in changed


def test_an_edit_that_was_refused_stays_refused(hooked: Hooked, endpoint: HookEndpoint) -> None:
    (first,) = hooked.ask(hooked.send("hello"))
    edit = hooked.bench.event(
        hooked.alice, "edit_message", {"chatId": first["chatId"], "seq": 1, "text": "bad", "clientId": "e"}
    )
    endpoint.decide = by_text
    assert hooked.codes(edit) == ["not_allowed"]
    endpoint.decide = lambda _: ACCEPT
    assert hooked.codes(edit) == ["not_allowed"]
    assert hooked.stored() == ["hello"]


@pytest.mark.parametrize("client_id", [{}, {"clientId": "one"}])
@pytest.mark.parametrize("is_first", [True, False])
def test_what_was_refused_stays_refused_even_where_there_was_no_chat(
    hooked: Hooked, endpoint: HookEndpoint, client_id: dict[str, str], is_first: bool
) -> None:
    if not is_first:
        hooked.ask(hooked.send("hello"))
    copies = [hooked.send("bad", **client_id) for _ in range(2)]
    endpoint.decide = by_text
    assert hooked.codes(*copies) == ["not_allowed"] * 2
    endpoint.decide = lambda _: ACCEPT
    for copy in copies:
        assert hooked.codes(copy) == ["not_allowed"]
    assert hooked.stored() == ([] if is_first else ["hello"])
    assert hooked.codes(hooked.send("bad, but accepted now", **client_id)) == ["bad, but accepted now"]


def test_copies_of_refused_messages_do_not_push_others_out_of_memory(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    endpoint.decide = by_text
    first, *others = [hooked.send("bad") for _ in range(6)]
    hooked.codes(first)
    for _ in range(KEPT // len(others) + 1):
        hooked.codes(*others)
    endpoint.decide = lambda _: ACCEPT
    assert hooked.codes(first, *others) == ["not_allowed"] * 6


def test_a_chat_remembers_the_last_of_many_messages_that_were_refused(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    endpoint.decide = by_text
    oldest, *others = [hooked.send("bad") for _ in range(KEPT + 1)]
    assert {*hooked.codes(oldest, *others)} == {"not_allowed"}
    endpoint.decide = lambda _: ACCEPT
    assert hooked.codes(oldest, *others) == ["bad", *["not_allowed"] * KEPT]


def test_nobody_sees_the_chat_of_a_message_that_was_refused(hooked: Hooked, endpoint: HookEndpoint) -> None:
    endpoint.decide = by_text
    hooked.bench.connect(hooked.bob)
    refused = hooked.send("bad")
    reply = hooked.bench.ask(refused)
    assert [target.user_id for emit in reply.emits for target in emit.to] == []
    for user in (hooked.alice, hooked.bob):
        for box in ("inbox", "requests"):
            listed = hooked.bench.event(user, "list_chats", {"box": box})
            assert hooked.bench.ask(listed).ack(listed)["chats"] == []
    endpoint.decide = lambda _: ACCEPT
    assert hooked.codes(hooked.send("hello")) == ["hello"]
    listed = hooked.bench.event(hooked.bob, "list_chats", {})
    assert len(hooked.bench.ask(listed).ack(listed)["chats"]) == 1


@pytest.mark.parametrize("client_id", [{}, {"clientId": "one"}])
@pytest.mark.parametrize("later", ["refuse", "change", "down"])
def test_a_stored_message_is_answered_from_the_store_whatever_the_hook_says_now(
    hooked: Hooked, endpoint: HookEndpoint, client_id: dict[str, str], later: str
) -> None:
    send = hooked.send("rude", **client_id)
    endpoint.decide = by_text
    first = hooked.ask(send)
    if later == "down":
        endpoint.misbehave = lambda handler: answer_with(handler, {}, status=500)
    endpoint.decide = lambda _: {"action": later, "text": "other"}
    assert hooked.ask(send) == first
    assert hooked.stored() == ["****"]


def test_a_batch_that_comes_twice_asks_with_the_same_ids_and_stores_once(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    """As after a worker that was killed: whatever it had asked, the next worker asks again."""
    endpoint.decide = by_text
    events = [hooked.send(words) for words in ("hello", "bad", "rude")]
    assert hooked.ask(*events) == hooked.ask(*events)
    assert [one["id"] for one in endpoint.asked[0]] == [one["id"] for one in endpoint.asked[1]]
    ids = [headers["webhook-id"] for headers, _ in endpoint.requests]
    assert ids[0] == ids[1]
    assert hooked.stored() == ["hello", "****"]


def test_copies_that_are_handled_at_once_are_all_answered_alike_whatever_each_is_told(
    make_bench: BenchFactory, make_hooked: ScreenedFactory, endpoint: HookEndpoint
) -> None:
    endpoint.decide = lambda _: random.choice([ACCEPT, {"action": "refuse"}])
    hooked, other = make_hooked(), make_hooked()
    outcomes = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            (_, to_carol) = hooked.bench.person("carol")
            send = hooked.bench.send(hooked.alice, to_carol, f"{number}")
            first, second = pool.map(Hooked.codes, (hooked, other), (send, send))
            assert first == second
            stored = hooked.bench.rows("SELECT FROM messages WHERE id = :id", id=uuid.UUID(send.id))
            assert first == ([f"{number}"] if stored else ["not_allowed"])
            outcomes |= {*first}
    assert len(outcomes) > 1


def drop(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("location", "/hook")
    handler.send_header("content-length", "0")
    handler.end_headers()


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100000000")
    handler.end_headers()
    handler.close_connection = True
    try:
        for _ in range(1_000):
            handler.wfile.write(b" " * 100_000)
    except OSError:
        pass


FAILURES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "status 500": lambda handler: answer_with(handler, {"results": [ACCEPT] * 2}, status=500),
    "status 204": lambda handler: answer_with(handler, b"", status=204),
    "a redirect": redirect,
    "no answer": drop,
    "no JSON": lambda handler: answer_with(handler, b"<html>"),
    "no UTF-8": lambda handler: answer_with(handler, b'{"results": ["\xff\xfe", "\xff"], "\xff": 1}'),
    "deep JSON": lambda handler: answer_with(handler, b'{"results":' + b"[" * 100_000),
    "another object": lambda handler: answer_with(handler, {"result": []}),
    "too few results": lambda handler: answer_with(handler, {"results": []}),
    "too many results": lambda handler: answer_with(handler, {"results": [ACCEPT] * 3}),
    "too long": endless,
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("fails_open", [True, False])
def test_without_a_usable_answer_all_messages_pass_or_none_does(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint, failure: str, fails_open: bool
) -> None:
    hooked = make_hooked(fails_open=fails_open)
    endpoint.misbehave = FAILURES[failure]
    events = [hooked.send("one"), hooked.send("two")]
    if fails_open:
        assert hooked.codes(*events) == ["one", "two"]
        return
    assert hooked.codes(*events) == ["unavailable"] * 2
    endpoint.misbehave = None
    assert hooked.codes(*events) == ["one", "two"]


@pytest.mark.parametrize("stumble", [*FAILURES][:1] + [*FAILURES][4:7] + [*FAILURES][8:])
@pytest.mark.parametrize("fails_open", [True, False])
def test_a_message_over_which_the_endpoint_stumbles_harms_no_other(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint, stumble: str, fails_open: bool
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        messages = endpoint.asked[-1]
        if any(message["text"] == "odd" for message in messages):
            FAILURES[stumble](handler)
        else:
            answer_with(handler, {"results": [by_text(message) for message in messages]})

    endpoint.misbehave = answer
    hooked = make_hooked(fails_open=fails_open)
    replies = [hooked.bench.send(hooked.bob, hooked.to_alice, words) for words in ("bad", "fine", "rude")]
    events = [hooked.send("before"), hooked.send("odd"), *replies]
    odd = "odd" if fails_open else "unavailable"
    with capture_logs() as logs:
        assert hooked.codes(*events) == ["before", odd, "not_allowed", "fine", "****"]
    assert [(line["event"], line["requests"]) for line in logs] == [("hook_stumbled", 3)]


def test_an_endpoint_that_stumbles_over_everything_gets_few_requests(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    endpoint.misbehave = FAILURES["status 500"]
    with capture_logs() as logs:
        assert {*hooked.codes(*(hooked.send("hello") for _ in range(100)))} == {"unavailable"}
    assert len(endpoint.requests) == module._REQUESTS
    assert [line["event"] for line in logs] == ["hook_failed"]


def test_all_requests_about_a_batch_share_the_time_limit(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint
) -> None:
    def stumble_late(handler: BaseHTTPRequestHandler) -> None:
        endpoint.released.wait(0.2)
        FAILURES["status 500"](handler)

    endpoint.misbehave = stumble_late
    hooked = make_hooked(timeout_s=0.5)
    assert {*hooked.codes(*(hooked.send("hello") for _ in range(100)))} == {"unavailable"}
    assert len(endpoint.requests) <= 3


UNUSABLE = [
    None,
    "accept",
    {},
    {"action": "allow"},
    {"action": "change", "text": 5},
    {"action": "change", "text": ""},
    {"action": "change", "text": "\0"},
    {"action": "change", "text": "x" * 4_001},
    {"action": "change", "text": "\ud800"},
    {"action": "change", "data": []},
    {"action": "change", "data": {"x": "\ud800"}},
    {"action": "change", "data": {"\ud800": {"a": [1]}}},
    {"action": "change", "data": {"x": "y" * 4_096}},
    {"action": "refuse", "reason": {"text": "no"}},
]


@pytest.mark.parametrize("result", UNUSABLE, ids=range(len(UNUSABLE)))
def test_a_result_that_is_unusable_harms_no_other_and_is_not_overtaken(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint, result: Any
) -> None:
    def decide(message: Message) -> Any:
        return result if message["text"] == "odd" else ACCEPT

    endpoint.decide = decide
    hooked = make_hooked()
    other = hooked.bench.send(hooked.bob, hooked.to_alice, "other")
    events = [hooked.send("before"), hooked.send("odd"), hooked.send("after"), other]
    assert hooked.codes(*events) == ["before", "unavailable", "unavailable", "other"]
    opened = make_hooked(fails_open=True)
    assert opened.codes(*(opened.send(words) for words in ("before", "odd", "after"))) == [
        "before",
        "odd",
        "after",
    ]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ({}, "You are not allowed to do this."),
        ({"reason": " \n"}, "You are not allowed to do this."),
        ({"reason": "Two\nlines\u2028and a \x1b[31m colour"}, "Two lines and a [31m colour"),
        ({"reason": "x" * 1_000}, "x" * 200),
    ],
)
def test_the_sender_is_told_one_line(
    hooked: Hooked, endpoint: HookEndpoint, reason: dict[str, str], told: str
) -> None:
    endpoint.decide = lambda _: {"action": "refuse", **reason}
    assert hooked.ask(hooked.send("hello")) == [("not_allowed", told)]


def test_the_time_limit_covers_an_answer_that_trickles(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint
) -> None:
    hooked = make_hooked(timeout_s=0.1)

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        while not endpoint.released.wait(0.02):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    endpoint.misbehave = trickle
    began = monotonic()
    assert hooked.codes(hooked.send("hello")) == ["unavailable"]
    assert monotonic() - began < TIMEOUT_S / 2
    endpoint.misbehave = None
    assert hooked.codes(hooked.send("hello again")) == ["hello again"]


@pytest.mark.parametrize("fails_open", [True, False])
def test_an_endpoint_that_is_down_is_left_alone_for_a_while(
    make_hooked: ScreenedFactory, endpoint: HookEndpoint, monkeypatch: pytest.MonkeyPatch, fails_open: bool
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    endpoint.misbehave = lambda handler: answer_with(handler, b"secret", status=503)
    hooked = make_hooked(fails_open=fails_open)
    before = requests_by_outcome()
    with capture_logs() as logs:
        outcomes = {*hooked.codes(*(hooked.send("hello") for _ in range(2)))}
        for _ in range(10):
            outcomes |= {*hooked.codes(hooked.send("hello"))}
    assert outcomes == {"hello" if fails_open else "unavailable"}
    assert len(endpoint.requests) == 3
    assert [(line["event"], line["error"]) for line in logs] == [("hook_failed", "status 503")]
    now[0] += module._PAUSE_S
    hooked.codes(hooked.send("hello"), hooked.send("hello"))
    hooked.codes(hooked.send("hello"))
    assert len(endpoint.requests) == 4
    endpoint.misbehave = None
    now[0] += module._PAUSE_S
    with capture_logs() as logs:
        assert hooked.codes(hooked.send("welcome")) == ["welcome"]
        assert hooked.codes(hooked.send("welcome")) == ["welcome"]
    assert [line["event"] for line in logs] == ["works_again"]
    counts = {name: count - before.get(name, 0) for name, count in requests_by_outcome().items()}
    assert counts == {"answered": 2, "failed": 4, "paused": 9}


def test_an_endpoint_that_was_restarted_is_asked_over_a_new_connection(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    def hang_up_after(handler: BaseHTTPRequestHandler) -> None:
        answer_with(handler, {"results": [ACCEPT]})
        handler.close_connection = True

    endpoint.misbehave = hang_up_after
    for number in range(5):
        assert hooked.codes(hooked.send(f"{number}")) == [f"{number}"]
    assert endpoint.connections == 5


def test_nobody_listens(make_hooked: ScreenedFactory) -> None:
    hooked = make_hooked(url=f"http://127.0.0.1:{free_port()}/")
    with capture_logs() as logs:
        assert hooked.codes(hooked.send("hello")) == ["unavailable"]
    assert [line["event"] for line in logs] == ["hook_failed"]
    assert "hello" not in json.dumps(logs)


@pytest.mark.parametrize("url", ["https://localhost:{port}/", "http://private.test:{port}/"])
def test_no_request_reaches_a_network_of_our_own(
    endpoint: HookEndpoint, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Plain HTTP is for this machine, HTTPS for public addresses; names are looked at once resolved."""
    import socket

    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host in ("private.test", b"private.test"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.0.1", port))]
        return resolve(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    hook = Hook(url.format(port=endpoint.url.rpartition(":")[2].partition("/")[0]), [OLD], TIMEOUT_S)
    with pytest.raises(module.HookFailed, match="its address is not allowed"):
        hook.request([])
    hook.close()
    assert endpoint.connections == 0


def test_https_is_spoken_with_whoever_has_a_trusted_certificate_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_public", lambda _: True)
    certificate = make_certificate(tmp_path / "localhost.pem")
    server = Server(certificate)
    server.misbehave = lambda handler: answer_with(handler, {"results": []})
    hook = Hook(server.url("/hook"), [OLD], TIMEOUT_S)
    with pytest.raises(module.HookFailed, match="certificate verify failed"):
        hook.request([])
    hook.close()
    assert server.received == []
    monkeypatch.setattr("certifi.where", lambda: str(certificate))
    hook = Hook(server.url("/hook"), [OLD], TIMEOUT_S)
    assert hook.request([]) == []
    hook.close()
    server.stop()


def test_what_no_message_may_be_is_refused_without_asking(hooked: Hooked, endpoint: HookEndpoint) -> None:
    chat_id = str(uuid.uuid4())
    events = [
        hooked.send("x" * 4_001),
        hooked.send(" "),
        hooked.bench.event(hooked.alice, "send_message", b'{"username": "bob", "text": 5}'),
        hooked.bench.send(hooked.alice, "nobody\0", "hello"),
        hooked.bench.event(hooked.alice, "edit_message", {"chatId": chat_id, "seq": 1, "text": "hi"}),
    ]
    assert hooked.codes(*events) == ["invalid_payload"] * 3 + ["user_not_found", "chat_not_found"]
    assert endpoint.requests == []


def test_a_recipient_who_comes_into_being_meanwhile_gets_nothing_that_nobody_was_asked_about(
    hooked: Hooked, endpoint: HookEndpoint
) -> None:
    name = f"carol_{uuid.uuid4().hex[:8]}"
    introduce = hooked.bench.event(uuid.uuid4(), "introduce", {"username": name})
    send = hooked.bench.send(hooked.alice, name, "bad")
    reply = hooked.bench.ask(introduce, send)
    assert reply.failure(send).code == "user_not_found"
    assert endpoint.requests == []
    endpoint.decide = by_text
    assert hooked.codes(send) == ["not_allowed"]


def test_an_event_that_fails_is_isolated_without_asking_again(hooked: Hooked, endpoint: HookEndpoint) -> None:
    endpoint.decide = by_text
    with hooked.bench.refusing("poison"):
        events = [hooked.send(words) for words in ("rude", "poison", "bad", "fine")]
        assert hooked.codes(*events) == ["****", "internal", "not_allowed", "fine"]
    assert len(endpoint.requests) == 1


def test_other_commands_ask_nobody(hooked: Hooked, endpoint: HookEndpoint) -> None:
    chat = hooked.bench.open_chat(hooked.alice, hooked.to_bob)
    asked = len(endpoint.requests)
    place = {"chatId": chat, "seq": 1}
    reply = hooked.bench.ask(
        hooked.bench.event(hooked.alice, "get_messages", {"chatId": chat}),
        hooked.bench.event(hooked.bob, "react", {**place, "emoji": "👍", "on": True}),
        hooked.bench.event(hooked.bob, "confirm_delivery", {"chatId": chat, "spans": [(1, 1)]}),
        hooked.bench.event(hooked.alice, "revise_message", {**place, "text": "by the backend itself"}),
    )
    assert not [answer.failure for answer in reply.answers.values() if answer.failure]
    assert len(endpoint.requests) == asked


def test_no_text_is_a_label_of_a_metric(hooked: Hooked, endpoint: HookEndpoint) -> None:
    endpoint.decide = lambda _: {"action": "nonsense of mine"}
    hooked.codes(hooked.send("words of mine"))
    assert b"of mine" not in generate_latest(REGISTRY)
