"""Token buckets: how much somebody may do at once and per second, and when there will be more.

A bucket is one number, the time at which it will be full (the generic cell rate algorithm, ITU-T I.371). A
check is one look-up, and a bucket that is full need not be kept. The maintained libraries do something
else: `limits` counts in windows and has no burst apart from the rate; `aiolimiter` waits instead of refusing.
"""

from collections.abc import Hashable
from typing import Final

_FEW: Final = 1_024
"""Buckets to keep before forgetting full ones."""
_ROUNDING_S: Final = 1e-6


class TokenBucket:
    """One bucket per key: it holds `burst` tokens and refills with `per_s` tokens a second; 0 is no limit.

    Times are monotonic, in seconds. It keeps buckets that are not full (used in the last `burst / per_s`
    seconds) and at most as many others.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._refill_s = burst / per_s if per_s else 0.0
        """Seconds until an empty bucket is full."""
        self._full_at: dict[Hashable, float] = {}
        self._room = _FEW

    def __len__(self) -> int:
        return len(self._full_at)

    def times(self, factor: float) -> "TokenBucket":
        """Return a limit `factor` times as high, with buckets of its own."""
        return TokenBucket(self._per_s * factor, self._burst * factor)

    def wait_s(self, key: Hashable, now: float, amount: float = 1) -> float:
        """Return the seconds until `amount` tokens are available; 0 if they are now.

        A bucket never exceeds its capacity: a larger amount counts as available when the bucket is full.
        """
        if not self._per_s:
            return 0.0
        wait_s = self._full_at.get(key, now) - now + min(amount, self._burst) / self._per_s - self._refill_s
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def take(self, key: Hashable, now: float, amount: float = 1) -> float:
        """Take tokens if they are available. Otherwise take none, and return the seconds until they are."""
        wait_s = self.wait_s(key, now, amount)
        if not wait_s:
            self.spend(key, now, amount)
        return wait_s

    def spend(self, key: Hashable, now: float, amount: float = 1) -> None:
        """Take tokens that are available."""
        if self._per_s:
            lasts_s = min(amount, self._burst) / self._per_s
            self._full_at[key] = max(self._full_at.get(key, now), now) + lasts_s
            if len(self._full_at) > self._room:
                self._forget(now)

    def _forget(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._room = max(_FEW, 2 * len(self._full_at))
