"""What is in the outbox reaches the app's backend: at least once, signed, in the order of each chat."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from functions.channels import outbound
from functions.channels.outbound import make_session
from functions.context import Context
from functions.pacer import Pacer
from functions.run import run
from functions.webhooks import outbox, sender
from functions.webhooks.endpoint import Endpoint
from functions.webhooks.sender import Sender
from infra.settings.functions import FunctionSettings
from infra.store.engine import make_engine
from infra.store.outbox import Fact, add
from tests.harness.worker_bench import WorkerBench
from tests.integration.channels.endpoint import Endpoint as Server
from tests.integration.channels.endpoint import make_certificate
from tests.integration.functions.conftest import BenchFactory, ContextFactory
from tests.integration.functions.queues import NoQueue

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OK, REFUSED, BROKEN, UNAVAILABLE = 204, 401, 500, 503

Answer = Callable[[list[str]], int]


class Backend:
    """The app's backend: a server that notes which events it has accepted."""

    def __init__(self, certificate: Path) -> None:
        self.server = Server(certificate)
        self.server.misbehave = self._answer
        self.answer: Answer = lambda _: OK
        """Returns the status for the bodies of the events of a request."""
        self.accepted: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._certificate = certificate

    @property
    def asked(self) -> int:
        return len(self.server.received)

    def session(self) -> requests.Session:
        session = make_session(allow_loopback=True)
        session.verify = str(self._certificate)
        return session

    def endpoint(self, *secrets: str) -> Endpoint:
        return Endpoint(self.server.url("/hook"), secrets or [OLD], self.session)

    def words(self, about: UUID | None = None) -> list[Any]:
        """Return what the accepted events say, those of one chat or all."""
        return [one["data"]["text"] for one in self.accepted if about in (None, UUID(one["data"]["chat"]))]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        signature = handler.headers["webhook-signature"]
        requests = [one for one in self.server.received if one.headers["webhook-signature"] == signature]
        events = json.loads(requests[-1].body)["events"]
        status = self.answer([one["data"].get("text", "") for one in events])
        with self._lock:
            if status < 300:
                self.accepted += events
        handler.send_response(status)
        for name, value in self.server.headers.items():
            handler.send_header(name, value)
        handler.end_headers()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def backend(certificate: Path) -> Iterator[Backend]:
    backend = Backend(certificate)
    yield backend
    backend.server.stop()


class Hooks:
    """An outbox, and what sends it."""

    def __init__(self, bench: WorkerBench, context: Context, backend: Backend) -> None:
        self.bench = bench
        self.context = context
        self.backend = backend

    def tell(self, about: UUID, *words: str) -> None:
        """Write facts of a chat."""
        facts = [
            Fact("message.created", str(uuid4()), str(about), json.dumps({"chat": str(about), "text": word}))
            for word in words
        ]
        with self.context.engine.begin() as conn:
            add(conn, facts, {"message.created": ["app"]})

    def send(self) -> dict[str, int]:
        """Run once."""
        return Sender(self.context, Pacer(60.0), "app", self.backend.endpoint()).run()

    def pass_time(self, hours: float = 1.0, minutes: float = 0.0) -> None:
        """Have everything that waits be so much older, as if that time had passed."""
        for table, columns in {
            "webhook_endpoints": ("next_at", "failing_since", "claimed_until"),
            "webhook_waits": ("next_at", "since"),
            "outbox": ("created_at", "dead_at"),
        }.items():
            older = ", ".join(f"{column} = {column} - make_interval(secs => :s)" for column in columns)
            self.bench.rows(f"UPDATE {table} SET {older}", s=3_600 * hours + 60 * minutes)

    def left(self) -> int:
        return int(self.bench.rows("SELECT count(*) AS n FROM outbox WHERE dead_at IS NULL")[0].n)

    def dead(self) -> int:
        return int(self.bench.rows("SELECT count(*) AS n FROM outbox WHERE dead_at IS NOT NULL")[0].n)


def settings(**options: Any) -> dict[str, Any]:
    return {
        "webhooks": "app",
        "webhooks_urls": "app=https://app.example/hook",
        "webhooks_secrets": f"app={OLD}",
        **options,
    }


@pytest.fixture
def make_hooks(
    make_bench: BenchFactory, make_context: ContextFactory, backend: Backend
) -> Callable[..., Hooks]:
    def make(**options: Any) -> Hooks:
        return Hooks(make_bench(), make_context(**settings(**options)), backend)

    return make


@pytest.fixture
def hooks(make_hooks: Callable[..., Hooks]) -> Hooks:
    return make_hooks()


def test_a_message_reaches_the_backend_signed(
    make_bench: BenchFactory, make_context: ContextFactory, backend: Backend
) -> None:
    bench = make_bench(webhooks={"message.created": ["app"], "chat.created": ["app"]})
    (alice, _), (_, to_bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, to_bob)
    hooks = Hooks(bench, make_context(**settings()), backend)
    assert hooks.send() == {"sent": 2, "refused": 0, "dead": 0}
    (received,) = backend.server.received
    assert received.headers["content-type"] == "application/json"
    made, hello = Webhook(OLD).verify(received.body, received.headers)["events"]
    assert (made["type"], hello["type"]) == ("chat.created", "message.created")
    assert made["number"] < hello["number"]
    assert hello["id"] == f"message.created/{hello['data']['id']}"
    assert hello["createdAt"].endswith("Z")
    assert (hello["data"]["chatId"], hello["data"]["text"]) == (chat_id, "hello")
    assert "isTest" not in hello
    assert hooks.left() == 0
    assert hooks.send()["sent"] == 0


def test_either_of_two_secrets_verifies_a_request(hooks: Hooks, backend: Backend) -> None:
    hooks.tell(uuid4(), "hello")
    Sender(hooks.context, Pacer(60.0), "app", backend.endpoint(NEW, OLD)).run()
    (received,) = backend.server.received
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "a" * 32).verify(received.body, received.headers)


def test_a_backlog_arrives_once_and_each_chat_in_order(make_hooks: Callable[..., Hooks]) -> None:
    hooks = make_hooks(webhooks_batch=7, webhooks_parallel=4)
    chats = [uuid4() for _ in range(9)]
    words = [f"{number}" for number in range(30)]
    for word in words:
        for chat in chats:
            hooks.tell(chat, word)
    assert hooks.send()["sent"] == len(chats) * len(words)
    for chat in chats:
        assert hooks.backend.words(chat) == words
    assert len({one["id"] for one in hooks.backend.accepted}) == len(hooks.backend.accepted)
    assert all(len(json.loads(one.body)["events"]) <= 7 for one in hooks.backend.server.received)
    assert hooks.left() == 0


def test_no_chat_is_in_two_requests_at_once(make_hooks: Callable[..., Hooks]) -> None:
    """Two runs at once, with several lanes: a request about a chat begins after the one before has ended."""
    hooks = make_hooks(webhooks_batch=3, webhooks_parallel=4)
    chats = [uuid4() for _ in range(6)]
    for number in range(10):
        for chat in chats:
            hooks.tell(chat, f"{number}")
    with ThreadPoolExecutor(3) as pool:
        while hooks.left():
            list(pool.map(lambda _: hooks.send(), range(3)))
    for chat in chats:
        assert hooks.backend.words(chat) == [f"{number}" for number in range(10)]


def test_an_endpoint_that_is_down_for_an_hour_gets_everything_afterwards(hooks: Hooks) -> None:
    backend, chat = hooks.backend, uuid4()
    backend.answer = lambda _: UNAVAILABLE
    for number in range(60):
        hooks.tell(chat, f"{number}")
        hooks.send()
        hooks.send()  # its pause has only begun
        hooks.pass_time(0, minutes=1)
    assert backend.accepted == []
    assert 5 <= backend.asked <= 15
    backend.answer = lambda _: OK
    hooks.pass_time()
    hooks.send()
    assert backend.words(chat) == [f"{number}" for number in range(60)]
    assert hooks.left() == 0
    (state,) = hooks.bench.rows("SELECT * FROM webhook_endpoints")
    assert (state.tries, state.failing_since, state.error) == (0, None, None)


def test_an_endpoint_may_ask_for_a_longer_pause(hooks: Hooks) -> None:
    hooks.backend.answer = lambda _: 429
    hooks.backend.server.headers = {"Retry-After": "3000"}
    hooks.tell(uuid4(), "hello")
    hooks.send()
    (row,) = hooks.bench.rows("SELECT extract(epoch FROM next_at - now()) AS s FROM webhook_endpoints")
    assert 2900 < row.s <= 3000


@pytest.mark.parametrize("garbage", [b"", b"\0\1\2 what?\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_an_endpoint_that_answers_garbage_pauses(hooks: Hooks, garbage: bytes) -> None:
    well = hooks.backend.server.misbehave

    def misbehave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(garbage)

    hooks.backend.server.misbehave = misbehave
    hooks.tell(uuid4(), "hello")
    assert hooks.send()["sent"] == 0
    assert hooks.send()["sent"] == 0
    assert hooks.backend.asked == 1
    hooks.backend.server.misbehave = well
    hooks.pass_time()
    hooks.backend.server.received.clear()
    assert hooks.send()["sent"] == 1


def test_an_endpoint_that_is_slow_for_large_requests_gets_smaller_ones(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "TIMEOUTS_S", (2, 0.3))
    stopped = hooks.backend.server.stopped

    def answer(words: list[str]) -> int:
        if len(words) > 20:
            stopped.wait(0.6)
            return UNAVAILABLE
        return OK

    hooks.backend.answer = answer
    chat = uuid4()
    hooks.tell(chat, *(f"{number}" for number in range(64)))
    for _ in range(4):
        hooks.send()
        hooks.pass_time()
    assert hooks.backend.words(chat) == [f"{number}" for number in range(64)]
    hooks.backend.answer = lambda _: OK
    assert hooks.bench.rows("SELECT caution FROM webhook_endpoints")[0].caution == 3
    hooks.tell(chat, *(f"{number}" for number in range(1_500)))
    hooks.send()
    assert hooks.bench.rows("SELECT caution FROM webhook_endpoints")[0].caution == 0


def test_a_refused_event_holds_up_its_own_chat_only(hooks: Hooks) -> None:
    """As a backend does that fails with one event: status 500, whatever else is in the request."""
    backend, chat, others = hooks.backend, uuid4(), [uuid4() for _ in range(5)]
    backend.answer = lambda words: BROKEN if "poison" in words else OK
    for other in others:
        hooks.tell(other, "before")
    hooks.tell(chat, "first", "poison", "last")
    for other in others:
        hooks.tell(other, "after")
    for _ in range(3):
        hooks.send()
    assert backend.words(chat) == ["first"]
    for other in others:
        assert backend.words(other) == ["before", "after"]
    assert hooks.left() == 2
    hooks.tell(others[0], "later")
    hooks.send()
    assert backend.words(others[0]) == ["before", "after", "later"]
    backend.answer = lambda _: OK
    hooks.pass_time()
    hooks.send()
    assert backend.words(chat) == ["first", "poison", "last"]
    assert hooks.bench.rows("SELECT * FROM webhook_waits") == []


def test_an_endpoint_that_refuses_everything_is_not_asked_for_each_event(hooks: Hooks) -> None:
    hooks.backend.answer = lambda _: REFUSED
    for _ in range(200):
        hooks.tell(uuid4(), "hello")
    hooks.send()
    hooks.send()
    assert hooks.backend.asked < 60
    assert hooks.bench.rows("SELECT * FROM webhook_waits") == []
    assert hooks.left() == 200


def test_an_event_that_is_never_answered_makes_way_for_others(hooks: Hooks) -> None:
    backend, chat, other = hooks.backend, uuid4(), uuid4()
    backend.answer = lambda words: UNAVAILABLE if "poison" in words else OK
    hooks.tell(chat, "poison")
    hooks.tell(other, "hello")
    for _ in range(10):
        hooks.send()
        hooks.bench.rows("UPDATE webhook_endpoints SET next_at = now()")
    assert backend.words() == ["hello"]
    assert hooks.left() == 1


def test_an_event_that_is_never_answered_does_not_hold_up_what_comes_with_it(
    make_hooks: Callable[..., Hooks],
) -> None:
    """The requests beside its own are accepted, so the endpoint is not down."""
    hooks = make_hooks(webhooks_parallel=2)
    backend = hooks.backend
    backend.answer = lambda words: UNAVAILABLE if "poison" in words else OK
    beside, together, poisoned = UUID(int=1), UUID(int=2), UUID(int=4)
    hooks.tell(poisoned, "poison")
    for number in range(12):
        hooks.tell(beside, f"{number}")
        hooks.tell(together, f"{number}")
        hooks.send()
        hooks.bench.rows("UPDATE webhook_endpoints SET next_at = now()")
    hooks.send()
    assert backend.words(beside) == backend.words(together) == [f"{number}" for number in range(12)]
    assert hooks.left() == 1


def test_what_fails_for_a_day_is_given_up_and_can_be_replayed(hooks: Hooks) -> None:
    backend, chat = hooks.backend, uuid4()
    backend.answer = lambda _: UNAVAILABLE
    hooks.tell(chat, "old", "older")
    hooks.send()
    hooks.pass_time(23)
    assert hooks.send()["dead"] == 0
    hooks.pass_time(2)
    hooks.tell(chat, "new")
    assert hooks.send()["dead"] == 2
    assert (hooks.left(), hooks.dead()) == (1, 2)
    backend.answer = lambda _: OK
    hooks.pass_time(1)
    hooks.send()
    assert backend.words() == ["new"]
    with hooks.context.engine.begin() as conn:
        assert outbox.replay(conn, "app") == 2
    hooks.send()
    assert backend.words() == ["new", "old", "older"]
    assert (hooks.left(), hooks.dead()) == (0, 0)


def test_a_refused_event_is_given_up_after_a_day_and_its_chat_goes_on(hooks: Hooks) -> None:
    backend, chat = hooks.backend, uuid4()
    backend.answer = lambda words: BROKEN if "poison" in words else OK
    hooks.tell(chat, "poison", "last")
    hooks.tell(uuid4(), "hello")
    hooks.send()
    hooks.pass_time(23)
    hooks.send()
    assert hooks.dead() == 0
    hooks.pass_time(2)
    hooks.send()
    hooks.send()
    assert backend.words(chat) == ["last"]
    assert (hooks.left(), hooks.dead()) == (0, 1)


def test_what_was_given_up_is_deleted_after_some_weeks(hooks: Hooks) -> None:
    hooks.tell(uuid4(), "hello", "again")
    hooks.bench.rows("UPDATE outbox SET dead_at = now() - interval '31 days' WHERE body LIKE '%hello%'")
    assert run("cleanup", hooks.context)["webhooks"] == 1
    assert hooks.left() == 1


def test_the_function_sends_to_all_endpoints(
    make_bench: BenchFactory,
    make_context: ContextFactory,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def local(settings: FunctionSettings, name: str) -> Endpoint:
        made.append((settings.url_of(name), settings.secrets_of(name)))
        return backend.endpoint(*settings.secrets_of(name))

    monkeypatch.setattr(sender, "make_endpoint", local)
    bench = make_bench(webhooks={"message.created": ["app", "audit"]})
    (alice, _), (_, to_bob) = bench.people("alice", "bob")
    bench.open_chat(alice, to_bob)
    context = make_context(
        webhooks="app,audit",
        webhooks_urls="audit = https://audit.example/,app=https://app.example/hook",
        webhooks_secrets=f"app={OLD} {NEW}, audit={NEW}",
    )
    assert run("webhooks", context, dry_run=True)["waiting"] == 2
    assert run("webhooks", context) == {"sent": 2, "refused": 0, "dead": 0}
    assert sorted(made) == [("https://app.example/hook", [OLD, NEW]), ("https://audit.example/", [NEW])]
    assert run("webhooks", context, dry_run=True)["waiting"] == 0


def test_a_run_is_logged_if_it_had_something_to_do(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "make_endpoint", lambda settings, name: hooks.backend.endpoint())
    with capture_logs() as logs:
        run("webhooks", hooks.context)
        hooks.tell(uuid4(), "hello")
        run("webhooks", hooks.context)
    assert [line["sent"] for line in logs if line["event"] == "function_finished"] == [1]


def _send_alone(settings: FunctionSettings, url: str, certificate: Path) -> None:
    """Send as a worker of its own does."""

    def session() -> requests.Session:
        session = make_session(allow_loopback=True)
        session.verify = str(certificate)
        return session

    engine = make_engine(settings.database_url)
    context = Context(settings, engine, NoQueue())
    Sender(context, Pacer(60.0), "app", Endpoint(url, [OLD], session)).run()


@pytest.mark.parametrize("stay_s", [0.0, 0.5])
def test_a_run_may_stay_for_what_is_yet_to_come(
    make_hooks: Callable[..., Hooks], monkeypatch: pytest.MonkeyPatch, stay_s: float
) -> None:
    hooks, chat, pauses = make_hooks(webhooks_s=0.2, webhooks_stay_s=stay_s), uuid4(), []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        hooks.tell(chat, "later")
        time.sleep(seconds)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(sender, "time", clock)
    monkeypatch.setattr(sender, "make_endpoint", lambda settings, name: hooks.backend.endpoint())
    hooks.tell(chat, "now")
    summary = run("webhooks", hooks.context)
    assert pauses == [0.2] * len(pauses)
    assert bool(pauses) == bool(stay_s)
    assert hooks.backend.words() == ["now", *["later"] * len(pauses)]
    assert summary["sent"] == 1 + len(pauses)


def test_an_endpoint_does_not_wait_for_another_that_is_slow(
    make_hooks: Callable[..., Hooks], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"webhooks": "app,slow", "webhooks_urls": "app=https://app.example,slow=https://slow.example"}
    secrets = {"webhooks_secrets": f"app={OLD},slow={NEW}"}
    stay = {"webhooks_s": 0.1, "webhooks_stay_s": 1.0}
    hooks, chat, heard = make_hooks(**names, **secrets, **stay), uuid4(), threading.Event()

    class Slow:
        def post(self, events: Any) -> None:
            hooks.tell(chat, "later")
            assert heard.wait(10), "the other endpoint hears of it meanwhile"

    def answer(words: list[str]) -> int:
        if "later" in words:
            heard.set()
        return OK

    hooks.backend.answer = answer
    endpoints = {"app": hooks.backend.endpoint(), "slow": Slow()}
    monkeypatch.setattr(sender, "make_endpoint", lambda settings, name: endpoints[name])
    with hooks.context.engine.begin() as conn:
        add(conn, [Fact("message.created", str(uuid4()), str(chat), "{}")], {"message.created": ["slow"]})
    assert run("webhooks", hooks.context)["sent"] == 2


def test_a_worker_that_is_killed_while_it_sends_loses_nothing(hooks: Hooks, certificate: Path) -> None:
    backend, chat = hooks.backend, uuid4()
    hooks.tell(chat, "first", "second")
    arrived = threading.Event()

    def hang(_: list[str]) -> int:
        arrived.set()
        backend.server.stopped.wait(1.0)
        return OK

    backend.answer = hang
    work = multiprocessing.get_context("spawn").Process(
        target=_send_alone, args=(hooks.context.settings, backend.server.url("/hook"), certificate)
    )
    work.start()
    assert arrived.wait(60)
    os.kill(work.pid or 0, signal.SIGKILL)
    work.join()
    assert hooks.send()["sent"] == 0, "the claim of the dead worker still holds"
    assert hooks.left() == 2
    backend.answer = lambda _: OK
    hooks.pass_time()
    assert hooks.send()["sent"] == 2
    assert backend.words(chat)[-2:] == ["first", "second"]
    first, again = backend.server.received
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert [one["id"] for one in json.loads(first.body)["events"]] == [
        one["id"] for one in json.loads(again.body)["events"]
    ]


def test_a_worker_that_dies_before_it_notes_the_success_sends_again(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.tell(uuid4(), "hello")

    def die(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(outbox, "note_sent", die)
    with pytest.raises(MemoryError):
        hooks.send()
    monkeypatch.undo()
    assert hooks.left() == 1
    hooks.send()
    first, second = hooks.backend.accepted
    assert first["id"] == second["id"]


def test_nothing_that_users_wrote_is_logged(
    hooks: Hooks, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hooks.backend.answer = lambda words: BROKEN if "poison secret" in words else OK
    hooks.tell(uuid4(), "poison secret")
    hooks.tell(uuid4(), "fine secret")
    hooks.send()
    hooks.backend.answer = lambda _: UNAVAILABLE
    hooks.tell(uuid4(), "other secret")
    hooks.send()
    printed = "".join(capfd.readouterr()) + caplog.text
    assert "webhook_refused" in printed
    assert "webhook_paused" in printed
    assert "secret" not in printed
    assert OLD not in printed


@pytest.mark.parametrize("known", ["nothing", "it was empty", "it was small", "all is uncommitted", "all"])
def test_what_waits_for_others_or_was_given_up_is_not_read(hooks: Hooks, known: str) -> None:
    """Whatever the planner knows of the tables: autovacuum may look at them at any moment."""
    learn = "ANALYZE outbox, webhook_waits"
    if known == "it was empty":
        hooks.bench.rows(learn)
    with hooks.bench.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO outbox (endpoint, id, event, about, body, dead_at)"
                " SELECT CASE WHEN g % 2 = 0 AND g < 20000 THEN 'down' ELSE 'app' END, g, 'message.read',"
                " gen_random_uuid(), '{}', CASE WHEN g % 2 = 1 AND g < 20000 THEN now() END"
                " FROM generate_series(1, 80000) g"
            )
        )
        if known == "all is uncommitted":
            hooks.bench.rows(learn)
    if known == "all":
        hooks.bench.rows(learn)
    if known == "it was small":
        hooks.bench.rows("UPDATE pg_class SET reltuples = 100, relpages = 1 WHERE relname = 'outbox'")
    with hooks.context.engine.begin() as conn:
        assert len(outbox.read_next(conn, "app", 400)) == 400
        plan = conn.execute(
            text(f"EXPLAIN (ANALYZE, FORMAT JSON) {outbox._NEXT.text}"), {"endpoint": "app", "limit": 400}
        ).scalar_one()
    scans = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "outbox"]
    assert [node["Actual Rows"] for node in scans] == [400]
    assert [node.get("Rows Removed by Filter", 0) for node in scans] == [0]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)
