"""How long to wait before a failed notification is sent again, whatever queue it comes from."""

from collections.abc import Iterable

FIRST_S = 30.0
MAX_S = 900.0


def backoff_s(tries: int, asked_s: Iterable[float] = ()) -> float:
    """Return the pause after `tries` failed tries. It doubles each time, up to `MAX_S`.

    If providers asked for a longer pause (`asked_s`), the longest one wins.
    """
    return max([min(FIRST_S * 2.0 ** (tries - 1), MAX_S), *asked_s])
