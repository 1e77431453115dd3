"""`list_reports`, `get_report`, `close_report`: what users have reported, for the app's own backend."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from infra.wire.commands import CloseReport, GetReport, ListReports
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import KeptReport, KeptReportAck, ReportCopy, ReportCopyAck, ReportsAck, iso_ms
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.reports import Page, ReportHead, close_all, find_all, read_pages
from workers.requests import Request
from workers.time_cursor import TimeCursor, encode


def list_reports(
    conn: Connection, requests: Sequence[Request[ListReports]], context: HandlerContext
) -> Outcome:
    """Answer each request with a page of reports, without what users wrote to each other."""
    outcome = Outcome()
    asked: list[tuple[Request[ListReports], Page]] = []
    for request in requests:
        with outcome.rejections(request):
            command = request.command
            cursor = TimeCursor.decode(command.cursor, "list_reports")
            # One more, which says whether there is another page.
            page = Page(cursor, context.page_size(command.limit) + 1, command.with_closed)
            asked.append((request, page))
    found = read_pages(conn, [page for _, page in asked])
    for (request, page), heads in zip(asked, found, strict=True):
        shown = heads[: page.limit - 1]
        next_cursor = encode(shown[-1].created_at, shown[-1].id) if len(heads) > len(shown) else None
        reports = [KeptReport(**_fields(head)) for head in shown]
        outcome.succeed(request, ReportsAck(reports=reports, next_cursor=next_cursor))
    return outcome


def get_reports(conn: Connection, requests: Sequence[Request[GetReport]], context: HandlerContext) -> Outcome:
    """Return reports with the copies of messages."""
    outcome = Outcome()
    found = find_all(conn, _ids(requests))
    for request in requests:
        with outcome.rejections(request):
            report = found.get(str(request.command.report_id))
            if report is None:
                raise Rejection(ErrorCode.REPORT_NOT_FOUND)
            copy = ReportCopy(**_fields(report), note=report.note, messages=report.messages)
            outcome.succeed(request, ReportCopyAck(report=copy))
    return outcome


def close_reports(
    conn: Connection, requests: Sequence[Request[CloseReport]], context: HandlerContext
) -> Outcome:
    """Note that somebody is done with reports. Closed ones stay as they are."""
    outcome = Outcome()
    found = close_all(conn, _ids(requests))
    for request in requests:
        with outcome.rejections(request):
            head = found.get(str(request.command.report_id))
            if head is None:
                raise Rejection(ErrorCode.REPORT_NOT_FOUND)
            outcome.succeed(request, KeptReportAck(report=KeptReport(**_fields(head))))
    return outcome


def _ids(requests: Sequence[Request[GetReport]] | Sequence[Request[CloseReport]]) -> set[str]:
    return {str(request.command.report_id) for request in requests}


def _fields(head: ReportHead) -> dict[str, Any]:
    return {
        "report_id": head.id,
        "created_at": iso_ms(head.created_at),
        "reason": head.reason,
        "reported_id": head.reported_id,
        "reporter_id": head.reporter_id,
        "chat_id": head.chat_id,
        "seq": head.seq,
        "closed_at": iso_ms(head.closed_at) if head.closed_at else None,
    }
