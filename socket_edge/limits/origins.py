"""Which browser origins may connect."""

from infra.logs import shown
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.origins import is_origin_of_host, origin_of


class ForbiddenOrigin(Rejection):
    """A browser page of this origin may not connect. `expected` and `got` are for the operator."""

    def __init__(self, allowed: str, origin: str) -> None:
        super().__init__(ErrorCode.FORBIDDEN_ORIGIN)
        self.expected = allowed
        self.got = origin


class Origins:
    """Allows the configured origins, that of the edge's own host, and clients that send none."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """`allowed` may hold `*`, for any. Raises ValueError if it holds anything else that is no origin."""
        self._any = "*" in allowed
        self._allowed = frozenset(origin_of(origin) for origin in allowed if origin != "*")

    def allow(self, origin: str, host: str) -> bool:
        """Tell whether a client that sends this `Origin` and `Host` may connect."""
        if not origin or self._any:
            return True
        try:
            known = origin_of(origin)
        except ValueError:
            return False
        return known in self._allowed or is_origin_of_host(known, host)

    def check(self, origin: str, host: str) -> None:
        """Raise ForbiddenOrigin unless a client that sends this `Origin` and `Host` may connect."""
        if not self.allow(origin, host):
            own = f"a page of {shown(host.lower())}"
            raise ForbiddenOrigin(" or ".join((*sorted(self._allowed), own)), shown(origin.lower()))
