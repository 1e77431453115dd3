"""`export_user`: pages of what the chat holds of a user, for the app's own backend."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.store.erasures import has_traces
from infra.store.export import read_page
from infra.wire.commands import ExportUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.export import ExportAck
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request


def export_users(
    conn: Connection, requests: Sequence[Request[ExportUser]], context: HandlerContext
) -> Outcome:
    """Answer each request with a page. It says what is in the archive, which workers do not read."""
    outcome = Outcome()
    for request in requests:
        with outcome.rejections(request):
            outcome.succeed(request, _page(conn, request.command, context.page_max))
    return outcome


def _page(conn: Connection, command: ExportUser, rows: int) -> ExportAck:
    if not has_traces(conn, command.user_id):
        raise Rejection(ErrorCode.USER_NOT_FOUND)
    try:
        lines, cursor = read_page(conn, command.user_id, command.cursor, rows, archived=True)
    except ValueError as error:
        text = "The cursor is not one that export_user returned."
        raise Rejection(ErrorCode.INVALID_PAYLOAD, text) from error
    return ExportAck(lines=lines, next_cursor=cursor)
