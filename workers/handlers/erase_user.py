"""`erase_user`: takes the wish that a user be erased, for the app's own backend. A function does the rest."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from infra.store import erasures
from infra.store.erasures import ErasedAlready, Mode
from infra.wire.commands import EraseUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import Erasure, ErasureAck, Manifest, iso_ms
from workers.context import HandlerContext
from workers.handlers.disconnect_user import sign_out
from workers.outcome import Outcome
from workers.requests import Request


def erase_users(conn: Connection, requests: Sequence[Request[EraseUser]], context: HandlerContext) -> Outcome:
    """Begin erasures: from now on the users are deleted, and signed out everywhere.

    A request that comes again changes nothing, unless the user has come back after the erasure.
    """
    outcome = Outcome()
    ids = set()
    # In the same order in all batches, so that none waits for another one that waits for it.
    for request in sorted(requests, key=lambda one: one.command.user_id):
        with outcome.rejections(request):
            erasure = _begin(conn, request.command)
            outcome.succeed(request, ErasureAck(erasure=_to_erasure(erasure)))
            if erasure.finished_at is None:
                ids.add(str(erasure.user_id))
    if ids:
        sign_out(ids, context, outcome)
    return outcome


def _begin(conn: Connection, command: EraseUser) -> erasures.Erasure:
    if not erasures.has_traces(conn, command.user_id):
        raise Rejection(ErrorCode.USER_NOT_FOUND)
    try:
        erasure = erasures.begin(conn, command.user_id, Mode(command.mode), again=False)
    except ErasedAlready as error:
        text = "The user's messages are erased already, or are being erased."
        raise Rejection(ErrorCode.NOT_ALLOWED, text) from error
    erasures.take_name(conn, command.user_id)
    return erasure


def _to_erasure(row: erasures.Erasure) -> Erasure:
    return Erasure(
        user_id=str(row.user_id),
        mode=row.mode,
        requested_at=iso_ms(row.started_at),
        finished_at=iso_ms(row.finished_at) if row.finished_at else None,
        manifest=msgspec.convert(row.manifest, type=Manifest) if row.manifest else msgspec.UNSET,
    )
