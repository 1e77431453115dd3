"""Fault points of a worker. Python imports this at its start where the folder is on PYTHONPATH.

`FAULT_POINT` is the name of a point below, `FAULT_AFTER` how often it is passed before it strikes. The
product itself knows nothing of this.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from infra.wire.batch import Batch
    from workers.requests import Outcome, Request
    from workers.rules import Rules

POINT = os.environ.get("FAULT_POINT")


class Counter:
    """Kills this process when it has been passed often enough."""

    def __init__(self) -> None:
        self._left = int(os.environ.get("FAULT_AFTER", "1"))

    def pass_by(self) -> None:
        """Count."""
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Make the worker that this process becomes fail at `point`."""
    from workers import relay
    from workers.publish import Publisher

    counter = Counter()
    if point == "before_commit":
        # Needs BBGRAM_DATABASE_POOLED: then every batch has a transaction to commit.
        from sqlalchemy import Engine, event

        event.listen(Engine, "commit", lambda _: counter.pass_by())
    elif point in ("after_commit", "after_publication"):
        publish = Publisher.publish

        def publish_or_die(
            self: Publisher, outcome: Outcome, batches: Sequence[Batch] = (), *, is_all: bool = True
        ) -> None:
            if outcome.emits and point == "after_commit":
                counter.pass_by()
            publish(self, outcome, batches, is_all=is_all)
            if outcome.emits and point == "after_publication":
                counter.pass_by()

        Publisher.publish = publish_or_die  # type: ignore[method-assign]
    elif point == "failing_handler":
        send = relay.HANDLERS["send_message"]

        def send_or_fail(conn: Connection, requests: Sequence[Request[Any]], rules: Rules) -> Outcome:
            if any(request.command.text.startswith("failing") for request in requests):
                raise RuntimeError("a handler that always fails for one text")
            return send(conn, requests, rules)

        relay.HANDLERS["send_message"] = send_or_fail
    else:
        raise ValueError(f"there is no fault point {point!r}")


if POINT and "worker" in sys.orig_argv:
    arm(POINT)
