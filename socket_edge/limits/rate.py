"""Token buckets: how much somebody may do at once and a second, and when there is more.

A bucket is one number, the time at which it would be full (the generic cell rate algorithm), so a check is a
look into a dict, and a bucket that is full again need not be remembered. The well-kept libraries do something
else: `limits` counts in windows, and knows no burst apart from the rate; `aiolimiter` waits where we refuse.
"""

from collections.abc import Hashable
from typing import Final

_FEW: Final = 1_024
"""Buckets that are kept without a look at which of them are full."""
_ROUNDING_S: Final = 1e-6


class Rate:
    """A bucket for each key: `burst` tokens, and `per_s` new ones a second. No limit if `per_s` is 0.

    Times are monotonic, in seconds. Remembered is whose bucket is not full, so who has taken something in the
    last `burst / per_s` seconds, and at most as many others.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._span_s = burst / per_s if per_s else 0.0
        """How long an empty bucket takes to be full."""
        self._full_at: dict[Hashable, float] = {}
        self._room = _FEW

    def __len__(self) -> int:
        return len(self._full_at)

    def times(self, factor: float) -> "Rate":
        """Return a limit that is so many times higher, with buckets of its own."""
        return Rate(self._per_s * factor, self._burst * factor)

    def wait_s(self, key: Hashable, now: float, amount: float = 1) -> float:
        """Return in how many seconds there will be so many tokens, 0 if they are there.

        More than a bucket holds is there when it is full.
        """
        if not self._per_s:
            return 0.0
        wait_s = self._full_at.get(key, now) - now + min(amount, self._burst) / self._per_s - self._span_s
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def take(self, key: Hashable, now: float, amount: float = 1) -> float:
        """Take tokens if they are there; otherwise none, and return in how many seconds they will be."""
        wait_s = self.wait_s(key, now, amount)
        if not wait_s:
            self.spend(key, now, amount)
        return wait_s

    def spend(self, key: Hashable, now: float, amount: float = 1) -> None:
        """Take tokens that are there."""
        if self._per_s:
            lasts_s = min(amount, self._burst) / self._per_s
            self._full_at[key] = max(self._full_at.get(key, now), now) + lasts_s
            if len(self._full_at) > self._room:
                self._forget(now)

    def _forget(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._room = max(_FEW, 2 * len(self._full_at))
