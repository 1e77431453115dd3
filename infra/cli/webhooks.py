"""`bbgram webhooks`: shows what waits for the app's backend, and tries or replays an endpoint."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from infra.cli.local import local_option
from infra.cli.stored import ListByDefault, in_columns, json_option, open_store
from infra.errors import CommandError
from infra.logs import printable
from infra.settings.functions import FunctionSettings
from infra.wire.events import iso_ms

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.group("webhooks", cls=ListByDefault)
def webhooks() -> None:
    """List the endpoints of webhooks and what waits for them; or test or replay one."""


@webhooks.command("list")
@json_option
@local_option
def list_endpoints(as_json: bool) -> None:
    """List all endpoints: what waits for them, for how long, and how it goes."""
    settings = FunctionSettings.load()
    with _store(settings) as engine:
        from functions.webhooks.outbox import read_health

        with engine.connect() as conn:
            rows = [{**row._mapping} for row in read_health(conn, settings.endpoints)]
    for row in rows:
        row["configured"] = row["endpoint"] in settings.endpoints
    if as_json:
        click.echo(msgspec.json.encode(rows))
    elif not rows:
        click.echo("there are no endpoints; BBGRAM_WEBHOOKS names none")
    else:
        for line in in_columns([_HEADS, *map(_cells, rows)]):
            click.echo(line)


@webhooks.command()
@click.argument("endpoint")
@local_option
def test(endpoint: str) -> None:
    """Send an event to an endpoint that says that it is a test. Success ends the pause of the endpoint."""
    settings = _require(endpoint)
    from functions.errors import FunctionError
    from functions.webhooks.outbox import note_well
    from functions.webhooks.sender import make_endpoint
    from functions.webhooks.trial import make_trial

    try:
        make_endpoint(settings, endpoint).post([make_trial()])
    except FunctionError as error:
        raise CommandError(f"{endpoint} did not accept the test: {error}") from error
    with _store(settings) as engine, engine.begin() as conn:
        note_well(conn, endpoint)
    click.echo(f"{endpoint} accepted the test")


@webhooks.command()
@click.argument("endpoint")
@local_option
def replay(endpoint: str) -> None:
    """Send again what was given up, and end all pauses of an endpoint. It may have got some of it before."""
    settings = _require(endpoint)
    with _store(settings) as engine, engine.begin() as conn:
        from functions.webhooks.outbox import replay as replay_dead

        count = replay_dead(conn, endpoint)
    click.echo(f"{count} events will be sent again")


def _require(endpoint: str) -> FunctionSettings:
    settings = FunctionSettings.load()
    if endpoint not in settings.endpoints:
        raise click.UsageError(f"BBGRAM_WEBHOOKS names no endpoint {printable(endpoint)}")
    return settings


def _store(settings: FunctionSettings) -> AbstractContextManager["Engine"]:
    from infra.cli.unreachable import errors_in_one_line

    return open_store(settings, errors_in_one_line("webhooks", settings.database_url))


_HEADS = ("ENDPOINT", "WAITING", "OLDEST", "GIVEN UP", "STATE")


def _cells(row: dict[str, Any]) -> Sequence[str]:
    oldest = iso_ms(row["oldest"]) if row["oldest"] else "-"
    return row["endpoint"], str(row["waiting"]), oldest, str(row["dead"]), "; ".join(_states(row)) or "well"


def _states(row: dict[str, Any]) -> Iterator[str]:
    if not row["configured"]:
        yield "not in BBGRAM_WEBHOOKS, so nothing is sent"
    if row["failing_since"]:
        yield (
            f"failing since {iso_ms(row['failing_since'])} ({printable(row['error'])}), "
            f"tried again at {iso_ms(row['next_at'])}"
        )
