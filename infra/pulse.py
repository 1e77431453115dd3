"""Whether the main loop of a process goes on: what orchestrators ask before they restart it."""

import time
from collections.abc import Callable


class Pulse:
    """Beats whenever the main loop comes round."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self.limit_s = 60.0
        """After this time without a beat the process hangs. A functions worker may be busy for longer."""

    def beat(self) -> None:
        """Note that the main loop has come round."""
        self._beat_at = self._clock()

    @property
    def age_s(self) -> float:
        """How long ago that was, in seconds."""
        return self._clock() - self._beat_at

    @property
    def is_alive(self) -> bool:
        """Whether it was not too long ago."""
        return self.age_s <= self.limit_s


PULSE = Pulse()
"""The pulse of this process."""
