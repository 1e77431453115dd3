"""Limits that tests reach at once, and the refusals that follow."""

from typing import Any, Final

ONE_IN_100_S: Final = 0.01
"""A rate at which nothing comes back while a test runs."""


def assert_rate_limited(answer: Any) -> None:
    """Assert that this is a refusal that says when to try again."""
    assert (answer["code"], answer["retryable"]) == ("rate_limited", True), answer
    assert 0 < answer["retryAfterMs"] <= 100_000
