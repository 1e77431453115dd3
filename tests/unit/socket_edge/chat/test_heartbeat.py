"""Idle sessions: a token that is about to expire, and the application-level ping."""

import asyncio
import time

import pytest

from infra.wire.events import ERROR, PING
from socket_edge.auth import Identity
from socket_edge.chat import heartbeat as module
from socket_edge.chat.heartbeat import Heartbeat
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.connection.api import DisconnectReason
from socket_edge.tasks import stop
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connections import FAR_FUTURE, FakeConnection, connect

GRACE_S = 30


def watch(*sessions: Session, ping_s: float = 60) -> Heartbeat:
    users = ConnectedUsers()
    for session in sessions:
        users.add(session)
    return Heartbeat(users, ping_s, GRACE_S)


def connected(left_s: int) -> tuple[FakeConnection, Session]:
    """Connect with a token that was presented an hour ago."""
    connection, session = connect("bob")
    now = time.time()
    session.identity = Identity("bob", int(now) + left_s, presented_at=now - 3_600)
    return connection, session


async def test_a_fresh_token_is_left_alone() -> None:
    connection, session = connected(GRACE_S + 60)
    watch(session).check()
    assert (connection.sent, connection.reason) == ([], None)


async def test_a_client_is_told_once_to_refresh_its_token() -> None:
    connection, session = connected(GRACE_S - 5)
    heartbeat = watch(session)
    for _ in range(3):
        heartbeat.check()
    (error,) = connection.payloads(ERROR)
    assert (error["code"], error["retryable"]) == ("token_expired", True)
    assert connection.reason is None


async def test_a_client_that_has_refreshed_its_token_is_warned_about_the_new_one() -> None:
    connection, session = connected(GRACE_S - 5)
    heartbeat = watch(session)
    heartbeat.check()
    session.identity, session.is_warned = Identity("bob", FAR_FUTURE), False
    heartbeat.check()
    assert len(connection.payloads(ERROR)) == 1
    session.identity = Identity("bob", int(time.time()) + 5, presented_at=time.time() - 3_600)
    heartbeat.check()
    assert len(connection.payloads(ERROR)) == 2


class FakeTime:
    """The time of day, in a test that lets it pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)


class ShortLives:
    """One client with short-lived tokens, checked once a second."""

    def __init__(self, clock: FakeTime, life_s: float, grace_s: float = GRACE_S) -> None:
        self.clock, self.life_s = clock, life_s
        self.connection, self.session = connect("bob")
        self.refresh()
        users = ConnectedUsers()
        users.add(self.session)
        self.heartbeat = Heartbeat(users, 1_000_000, grace_s)

    def refresh(self) -> None:
        """Present a new token."""
        self.session.identity = Identity("bob", int(self.clock.now + self.life_s))
        self.session.is_warned = False

    def run(self, seconds: int, *, refreshes: bool = False) -> list[float]:
        """Let time pass; return how much life was left at each warning."""
        warned_at = []
        for _ in range(seconds):
            self.clock.now += 1
            before = len(self.connection.payloads(ERROR))
            self.heartbeat.check()
            if len(self.connection.payloads(ERROR)) > before:
                warned_at.append(self.session.identity.expires_at - self.clock.now)
                if refreshes:
                    self.refresh()
        return warned_at


@pytest.mark.parametrize(
    ("life_s", "left_s"), [(10, 3), (20, 6), (30, 10), (40, 13), (60, 20), (90, 30), (3_600, 30)]
)
def test_a_short_lived_token_is_warned_about_once_when_a_third_of_its_life_is_left(
    monkeypatch: pytest.MonkeyPatch, life_s: int, left_s: int
) -> None:
    tokens = ShortLives(FakeTime(monkeypatch), life_s)
    assert tokens.run(life_s - 1) == [left_s]
    assert tokens.connection.reason is None
    assert tokens.run(1) == []
    assert tokens.connection.reason is DisconnectReason.TOKEN_EXPIRED


@pytest.mark.parametrize("life_s", [10, 20, 30, 40])
def test_short_lived_tokens_are_refreshed_once_each(monkeypatch: pytest.MonkeyPatch, life_s: int) -> None:
    tokens = ShortLives(FakeTime(monkeypatch), life_s)
    warnings = tokens.run(600, refreshes=True)
    assert tokens.connection.reason is None
    assert len(warnings) <= 600 / (life_s * 2 / 3)


@pytest.mark.parametrize("life_s", [2, 3, 4, 5])
def test_the_shortest_lives_leave_time_for_a_refresh(monkeypatch: pytest.MonkeyPatch, life_s: int) -> None:
    (left_s,) = ShortLives(FakeTime(monkeypatch), life_s).run(life_s)
    assert left_s >= 1


def test_the_warning_never_comes_earlier_than_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ShortLives(FakeTime(monkeypatch), 40, grace_s=5).run(39) == [5]


async def test_an_expired_token_ends_the_session_after_the_warning() -> None:
    connection, session = connected(-1)
    watch(session).check()
    assert connection.names() == [ERROR]
    assert connection.reason is DisconnectReason.TOKEN_EXPIRED


async def test_one_session_that_ends_leaves_the_others_alone() -> None:
    (ended, first), (kept, second) = connected(-1), connected(3_600)
    watch(first, second).check()
    assert (ended.reason, kept.reason) == (DisconnectReason.TOKEN_EXPIRED, None)


async def test_the_first_ping_comes_after_a_whole_interval() -> None:
    connection, session = connected(3_600)
    heartbeat = watch(session, ping_s=60)
    heartbeat.check()
    assert connection.names() == []
    session.next_ping_at = time.monotonic() - 0.1
    heartbeat.check()
    heartbeat.check()
    assert connection.names() == [PING]
    assert session.next_ping_at > time.monotonic() + 50


async def test_a_ping_asks_for_an_ack_that_the_session_remembers() -> None:
    connection, session = connected(3_600)
    session.next_ping_at = time.monotonic() - 0.1
    watch(session).check()
    (ping,) = connection.sent
    assert session.ping is not None
    assert ping.ack_id == session.ping[0]
    assert ping.payload["timestamp"].endswith("Z")


async def test_sessions_are_checked_regularly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD_S", 0.01)
    checked = asyncio.Queue[None]()
    heartbeat = watch()
    monkeypatch.setattr(heartbeat, "check", lambda: checked.put_nowait(None))
    running = asyncio.create_task(heartbeat.run())
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(3):
            await checked.get()
    await stop([running])
