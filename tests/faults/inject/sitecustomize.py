"""Fault points of a worker. Python imports this module at startup if its folder is on PYTHONPATH.

`FAULT_POINT` names a point below; it strikes when it is passed for the `FAULT_AFTER`-th time. The product
itself knows nothing of this.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from infra.wire.batch import Batch
    from infra.wire.inbox import Emit
    from workers.context import HandlerContext
    from workers.outcome import Outcome
    from workers.requests import Request

POINT = os.environ.get("FAULT_POINT")


class Counter:
    """Strikes when it has been passed often enough."""

    def __init__(self) -> None:
        self._left = int(os.environ.get("FAULT_AFTER", "1"))

    def is_due(self) -> bool:
        """Count a pass; return whether it is the one that strikes."""
        self._left -= 1
        return self._left == 0

    def pass_by(self) -> None:
        """Count a pass; kill the process if it is the one that strikes."""
        if self.is_due():
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Make the worker that this process becomes fail at `point`."""
    from workers.handler_table import HANDLERS
    from workers.publish import Publisher

    counter = Counter()
    if point == "before_commit":
        # Needs BBGRAM_DATABASE_POOLED: then every batch has a transaction to commit.
        from sqlalchemy import Engine, event

        event.listen(Engine, "commit", lambda _: counter.pass_by())
    elif point in ("after_commit", "after_publication"):
        publish = Publisher.publish

        def publish_or_die(
            self: Publisher, outcome: Outcome, batches: Sequence[Batch] = (), closed: Sequence[Batch] = ()
        ) -> None:
            if outcome.emits and point == "after_commit":
                counter.pass_by()
            publish(self, outcome, batches, closed)
            if outcome.emits and point == "after_publication":
                counter.pass_by()

        Publisher.publish = publish_or_die  # type: ignore[method-assign]
    elif point == "stopping":
        from celery.worker import state

        publish = Publisher.publish

        def publish_when_stopping(
            self: Publisher, outcome: Outcome, batches: Sequence[Batch] = (), closed: Sequence[Batch] = ()
        ) -> None:
            if outcome.emits and counter.is_due():
                print("fault point: a batch is held until SIGTERM", flush=True)
                while state.should_stop is None:
                    time.sleep(0.01)
            publish(self, outcome, batches, closed)

        Publisher.publish = publish_when_stopping  # type: ignore[method-assign]
    elif point == "lost_publication":
        publish = Publisher.publish

        def publish_to_nobody(
            self: Publisher, outcome: Outcome, batches: Sequence[Batch] = (), closed: Sequence[Batch] = ()
        ) -> None:
            if batches:  # the sweep has none
                outcome.emits = [_without_recipients(emit) for emit in outcome.emits]
            publish(self, outcome, batches, closed)

        Publisher.publish = publish_to_nobody  # type: ignore[method-assign]
    elif point == "failing_handler":
        send = HANDLERS["send_message"]

        def send_or_fail(
            conn: Connection, requests: Sequence[Request[Any]], context: HandlerContext
        ) -> Outcome:
            if any(request.command.text.startswith("failing") for request in requests):
                raise RuntimeError("a handler that always fails for one text")
            return send.handle(conn, requests, context)

        HANDLERS["send_message"] = replace(send, handle=send_or_fail)
    else:
        raise ValueError(f"there is no fault point {point!r}")


def _without_recipients(emit: Emit) -> Emit:
    """Return the emit without recipients if its message begins with `unpublished`."""
    if b'"text":"unpublished' not in bytes(emit.data):
        return emit
    return msgspec.structs.replace(emit, to=[target for target in emit.to if not target.ack])


if POINT and "worker" in sys.orig_argv:
    arm(POINT)
