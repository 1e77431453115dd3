"""Registers in Redis which users have sockets here, under a lease that ends soon after the edge does."""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import structlog
from redis import RedisError
from redis.asyncio import Redis

from infra.outage import Outage, reason, redis_address
from infra.presence import (
    REFRESH_USERS,
    REGISTER_USERS,
    REGISTRY_TTL_S,
    RENEW_LEASE,
    WITHDRAW,
    refreshment,
    registration,
    renewal,
    withdrawal,
)
from infra.redis_client import leave_server
from infra.wire import names
from infra.wire.clock import RedisClock
from socket_edge.chat.session import ConnectedUsers
from socket_edge.relay.inbox import Inbox

log = structlog.get_logger(__name__)

_PAUSE_S = 0.5
_PACE_S = 0.005
"""Pause after a write, per user written, so that later changes are written together."""
_PACE_MAX_S = 0.05
_PORTION = 1_000
"""Users per write."""
_TURNS = 4
"""How often a user's entry is refreshed within its lifetime."""
_MARGIN_S = 10.0
"""Longest time between a message's commit and its publication."""


class EdgePresence:
    """Keeps the registry in step with the connected users. Times in seconds.

    It writes the current state, never a change, so that no order of events can leave it wrong.
    """

    def __init__(
        self,
        redis: Redis,
        edge_id: str,
        users: ConnectedUsers,
        inbox: Inbox,
        lease_s: float,
        refresh_s: float,
        clock: RedisClock,
        on_loss: Callable[[float], None],
        prefix: str = "",
    ) -> None:
        self._redis = redis
        self._edge_id = edge_id
        self._prefix = prefix
        self._users = users
        self._inbox = inbox
        self._lease_ms = int(lease_s * 1000)
        self._lease_end_ms = 0
        """In Redis time."""
        self._refresh_s = refresh_s
        self._clock = clock
        self._on_loss = on_loss
        self._complete_at = time.monotonic()
        self._server_id: bytes | None = None
        """The Redis process that last renewed the lease."""
        self._is_inbox_broken = False
        """Whether the inbox must be created anew."""
        self._has_lost = False
        """Whether publications were lost and the sockets have not caught up yet."""
        self._to_register: list[str] = []
        """The users that must be registered again."""
        self._renew = redis.register_script(RENEW_LEASE)
        self._register = redis.register_script(REGISTER_USERS)
        self._keep = redis.register_script(REFRESH_USERS)
        self._withdraw = redis.register_script(WITHDRAW)
        self._to_keep: list[str] = []
        self._share = 0
        self._changed: dict[str, list[asyncio.Future[None]]] = {}
        """The waiters of each user who must be registered."""
        self._wake = asyncio.Event()

    @property
    def has_lease(self) -> bool:
        """Whether workers publish to this edge."""
        now_ms = self._clock.now_ms()
        return now_ms is not None and now_ms < self._lease_end_ms

    async def register(self, user_id: str) -> None:
        """Register whether the user has a socket here; returns once Redis has it."""
        registered = asyncio.get_running_loop().create_future()
        self._changed.setdefault(user_id, []).append(registered)
        self._wake.set()
        await registered

    async def withdraw(self, unannounced: Collection[str] = ()) -> None:
        """Remove this edge from Redis, so that nothing is published to it any more.

        The sweep announces those who are still registered, and the `unannounced` users, as offline.
        """
        try:
            for portion in _portions(list(unannounced)):
                await self._redis.sadd(self._prefix + names.edge_users_key(self._edge_id), *portion)
            await self._withdraw(*withdrawal(self._edge_id, self._prefix))
        except (RedisError, OSError) as error:
            log.warning("withdraw_failed", error=type(error).__name__)

    async def keep_lease(self) -> None:
        """Refresh the lease and notice what Redis has lost, until cancelled."""
        outage = Outage("lease")
        while True:
            try:
                await self._refresh()
            except (RedisError, OSError) as error:
                if outage.begins():
                    address = redis_address(self._redis)
                    log.warning("lease_not_refreshed", address=address, error=reason(error))
                await asyncio.sleep(_PAUSE_S)
            else:
                outage.ends()
                if not self._to_register:
                    await asyncio.sleep(self._refresh_s)

    async def _refresh(self) -> None:
        """Refresh the lease. Restore what Redis has lost, as far as there is time until the next refresh."""
        checked_at = time.monotonic()
        if not await self._renew_lease() or await self._inbox.has_lost_entries():
            self._is_inbox_broken = self._has_lost = True
            self._to_register = list(self._users.user_ids())
            log.info("edge_registered", edge=self._edge_id, users=len(self._to_register))
        if self._is_inbox_broken:
            await self._inbox.create()
            self._is_inbox_broken = False
        if self._has_lost:
            await self._register_again(checked_at + self._refresh_s)
            if self._to_register:
                return
            self._on_loss(self._complete_at - _MARGIN_S)
            self._has_lost = False
        await self._keep_share()
        self._complete_at = checked_at

    async def _renew_lease(self) -> bool:
        """Renew the lease; tell whether Redis still has everything that this edge has written."""
        call = renewal(self._edge_id, self._lease_ms, self._lease_end_ms, self._prefix)
        reply = await self._renew(*call)
        seconds, micros, is_unbroken, self._lease_end_ms, server_id = reply
        self._clock.note(seconds, micros)
        last_server_id, self._server_id = self._server_id, server_id
        if last_server_id not in (None, server_id):
            # The inbox may still be read from the old one, as a replica lets it.
            await leave_server(self._redis)
        return bool(is_unbroken) and server_id == last_server_id

    async def _register_again(self, until: float) -> None:
        """Register users in portions, at least one, until that monotonic time."""
        while self._to_register:
            portion = self._to_register[:_PORTION]
            await asyncio.gather(*map(self.register, portion))
            self._to_register = self._to_register[_PORTION:]
            if time.monotonic() >= until:
                return

    async def _keep_share(self) -> None:
        """Refresh the entries of the next few users. Each user gets several turns per lifetime."""
        if not self._to_keep:
            self._to_keep = list(self._users.user_ids())
            rounds = REGISTRY_TTL_S / _TURNS / self._refresh_s
            self._share = math.ceil(len(self._to_keep) / rounds)
        share, self._to_keep = self._to_keep[: self._share], self._to_keep[self._share :]
        for portion in _portions(share):
            await self._keep(*refreshment(portion, self._prefix))

    async def keep_registry(self) -> None:
        """Register users who come and go, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, {}
            for portion in _portions(list(changed)):
                await self._write(portion)
                for user_id in portion:
                    for registered in changed[user_id]:
                        if not registered.done():
                            registered.set_result(None)
            await asyncio.sleep(min(_PACE_S * len(changed), _PACE_MAX_S))

    async def _write(self, user_ids: Sequence[str]) -> None:
        """Write the current state of the users; try again until Redis has it."""
        outage = Outage("presence")
        while True:
            here = [user_id for user_id in user_ids if user_id in self._users]
            gone = [user_id for user_id in user_ids if user_id not in self._users]
            try:
                signed_out = await self._register(*registration(self._edge_id, here, gone, self._prefix))
            except (RedisError, OSError) as error:
                if outage.begins():
                    address = redis_address(self._redis)
                    log.warning("presence_not_written", address=address, error=reason(error))
                await asyncio.sleep(_PAUSE_S)
            else:
                for user_id, moment_ms in signed_out:
                    self._users.sign_out(user_id.decode(), int(moment_ms))
                return


def _portions(user_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(user_ids), _PORTION):
        yield user_ids[start : start + _PORTION]
