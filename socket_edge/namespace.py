"""python-socketio's book of who is connected, for the one namespace that we serve."""

from typing import Any

from socketio import AsyncManager


class OneNamespace(AsyncManager):  # type: ignore[misc]
    """Two ids for each connection, in place of rooms, which we do not use.

    A room takes 2 kB a socket, and leaving the rooms takes a look at all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sids: dict[str, str] = {}
        """By the id of the Engine.IO connection."""
        self._eio_sids: dict[str, str] = {}
        self._connected: set[str] = set()

    def get_namespaces(self) -> list[str]:
        """Return the one there is."""
        return ["/"]

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """Give a connection that is being admitted its sid; None if it has one."""
        if eio_sid in self._sids:
            return None
        sid: str = self.server.eio.generate_id()
        self._sids[eio_sid], self._eio_sids[sid] = sid, eio_sid
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        """Note that it is admitted."""
        self._connected.add(sid)
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Note that it is about to leave."""
        self._connected.discard(sid)
        return self._eio_sids.get(sid)

    async def disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Forget it."""
        self._connected.discard(sid)
        eio_sid = self._eio_sids.pop(sid, None)
        if eio_sid is not None:
            del self._sids[eio_sid]

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        """Tell whether it is admitted and has not left."""
        return sid in self._connected

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """Return the sid of an Engine.IO connection; it has none in other namespaces."""
        return self._sids.get(eio_sid) if namespace == "/" else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Return the Engine.IO connection of a sid."""
        return self._eio_sids.get(sid)
