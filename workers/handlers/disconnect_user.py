"""`disconnect_user`: signs users out everywhere, for the app's own backend."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection

from infra.wire.commands import DisconnectUser
from infra.wire.events import ERROR, SignOutAck, iso_ms, signed_out
from infra.wire.inbox import Emit, Target
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request


def disconnect_users(
    conn: Connection, requests: Sequence[Request[DisconnectUser]], context: HandlerContext
) -> Outcome:
    """End the users' sessions, and have edges refuse the tokens that they have had so far."""
    outcome = Outcome()
    moment_ms = sign_out({str(request.command.user_id) for request in requests}, context, outcome)
    signed_out_at = iso_ms(datetime.fromtimestamp(moment_ms / 1000, UTC))
    for request in requests:
        outcome.succeed(request, SignOutAck(signed_out_at=signed_out_at))
    return outcome


def sign_out(user_ids: Collection[str], context: HandlerContext, outcome: Outcome) -> int:
    """Sign users out everywhere. Return the moment, in ms since the epoch.

    It is in Redis before edges hear of it, so none misses it where a user comes online meanwhile.
    """
    moment_ms = context.sign_outs.record(sorted(user_ids))
    data = msgspec.Raw(msgspec.json.encode(signed_out()))
    for user_id in sorted(user_ids):
        outcome.emits.append(Emit([Target(user_id, ERROR)], data, signed_out_ms=moment_ms))
    return moment_ms
