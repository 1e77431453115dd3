"""`bbgram reports`: lists, shows and closes the reports of messages."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click
import msgspec

from infra.cli.local import local_option
from infra.cli.stored import ListByDefault, in_columns, json_option, open_store
from infra.logs import printable
from infra.settings.store import StoreSettings
from infra.wire.events import iso_ms

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from infra.wire.events import Message
    from workers.reports import ReportHead, WholeReport

_LIMIT_MAX: Final = 100_000


@click.group("reports", cls=ListByDefault)
def reports() -> None:
    """List the messages that users have reported; or show or close reports."""


@reports.command("list")
@click.option("--all", "with_closed", is_flag=True, help="List closed ones, too.")
@click.option(
    "--limit",
    type=click.IntRange(1, _LIMIT_MAX),
    default=50,
    show_default=True,
    help="Number of reports, newest first.",
)
@json_option
@local_option
def list_reports(with_closed: bool, limit: int, as_json: bool) -> None:
    """List the newest open reports, without what users wrote to each other."""
    with _store() as engine:
        from workers.reports import newest

        found = newest(engine, limit + 1, with_closed=with_closed)
    if as_json:
        click.echo(msgspec.json.encode(found[:limit]))
    elif not found:
        click.echo("there are no reports" if with_closed else "there are no open reports")
    else:
        for line in _table(found[:limit], with_closed=with_closed):
            click.echo(line)
        if len(found) > limit:
            click.echo("there are older ones; --limit shows more")


@reports.command()
@click.argument("report_id", metavar="ID", type=click.UUID)
@json_option
@local_option
def show(report_id: UUID, as_json: bool) -> None:
    """Show one report with the messages, as they were when it was made."""
    with _store() as engine:
        from workers.reports import find

        report = find(engine, str(report_id))
    if report is None:
        raise _unknown(report_id)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for line in _page(report):
            click.echo(line)


@reports.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@local_option
def close(ids: tuple[UUID, ...]) -> None:
    """Close reports: they are listed with --all only."""
    with _store() as engine:
        from workers.reports import close as close_reports
        from workers.reports import known_ids

        known = known_ids(engine, map(str, ids))
        for report_id in ids:
            if str(report_id) not in known:
                raise _unknown(report_id)
        close_reports(engine, known)
    for report_id in ids:
        click.echo(f"{report_id}  closed")


def _unknown(report_id: UUID) -> click.UsageError:
    return click.UsageError(f"there is no report {report_id}")


def _store() -> AbstractContextManager["Engine"]:
    from infra.cli.unreachable import errors_in_one_line

    settings = StoreSettings.load()
    return open_store(settings, errors_in_one_line("reports", settings.database_url))


def _table(found: Sequence["ReportHead"], *, with_closed: bool) -> Iterator[str]:
    rows = [("ID", "WHEN", "REASON", "REPORTED USER ID", "REPORTER ID", "CLOSED")]
    for report in found:
        closed = iso_ms(report.closed_at) if report.closed_at else ""
        people = (report.reported_id, report.reporter_id)
        rows.append((report.id, iso_ms(report.created_at), printable(report.reason), *people, closed))
    yield from in_columns(rows if with_closed else [row[:-1] for row in rows])


def _page(report: "WholeReport") -> Iterator[str]:
    yield f"id        {report.id}"
    yield f"when      {iso_ms(report.created_at)}"
    yield f"reason    {printable(report.reason)}"
    yield f"note      {printable(report.note or '')}".rstrip()
    yield f"reported  {report.reported_id}"
    yield f"reporter  {report.reporter_id}"
    yield f"chat      {report.chat_id}"
    yield f"seq       {report.seq}"
    yield f"closed    {iso_ms(report.closed_at) if report.closed_at else 'no'}"
    yield ""
    for message in report.messages:
        yield _line(message)


def _line(message: "Message") -> str:
    """Return a message of the copy. The last one is the reported one."""
    said_by = "" if message.kind is msgspec.UNSET else f" ({message.kind})"
    what = [f"{message.created_at}  {message.seq}  {message.sender_username}{said_by}:"]
    if message.text:
        what.append(message.text)
    if not isinstance(message.data, msgspec.UnsetType):
        what.append(bytes(message.data).decode())
    if message.deleted_at is not msgspec.UNSET:
        what.append("(unsent)")
    elif message.edited_at is not msgspec.UNSET:
        what.append("(edited)")
    return printable(" ".join(what))
