"""Paces a run: when it must stop starting new work, and how long it pauses between steps."""

import time

_PAUSE_MAX_S = 1.0


class Pacer:
    """Gives a run `run_s` seconds. The run checks `out_of_time` and pauses after each step."""

    def __init__(self, run_s: float) -> None:
        self._began = self._step_began = time.monotonic()
        self._run_s = run_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative if the run is out of time."""
        return self._run_s - self.elapsed_s

    @property
    def out_of_time(self) -> bool:
        """Whether the run must leave the rest to the next one."""
        return self.left_s <= 0

    def part(self, share: float) -> "Pacer":
        """Return a pacer for a part of the run, which may take this share of the time that is left."""
        return Pacer(max(0.0, self.left_s) * share)

    def pause(self) -> None:
        """Sleep twice as long as the last step took, at most a second, so that chats stay responsive."""
        time.sleep(min(2 * (time.monotonic() - self._step_began), _PAUSE_MAX_S))
        self._step_began = time.monotonic()
