"""`introduce`: sent by an edge before a user's first event, to make sure the user has a profile."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.wire.commands import EnsureProfile
from infra.wire.events import Done
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request


def ensure_profile(
    conn: Connection, requests: Sequence[Request[EnsureProfile]], context: HandlerContext
) -> Outcome:
    """Answer the requests: `workers.profiles` has created the profiles before any handler is called."""
    outcome = Outcome()
    for request in requests:
        outcome.succeed(request, Done())
    return outcome
