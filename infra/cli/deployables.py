"""The commands that run a deployable, and the migrations before it."""

import click

from infra.cli.local import local_option
from infra.errors import CommandError
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.store import StoreSettings
from infra.settings.worker import WorkerSettings
from infra.wire.names import FUNCTIONS_QUEUE, QUEUE


@click.command()
@click.option("--host", help="Address to listen on; default BBGRAM_HOST or localhost.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default BBGRAM_PORT or 3000.")
@local_option
def edge(host: str | None, port: int | None) -> None:
    """Run one edge."""
    overrides = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = EdgeSettings.load(**overrides)
    from socket_edge.app import serve

    serve(settings)


@click.command()
@click.option("--functions", is_flag=True, help="Run scheduled functions and send notifications instead.")
@local_option
def worker(functions: bool) -> None:
    """Run one worker process, which handles what the edges relay."""
    settings, function_settings = WorkerSettings.load(), FunctionSettings.load()
    from workers.app import run_worker

    run_worker(settings, function_settings, FUNCTIONS_QUEUE if functions else QUEUE)


@click.command()
@local_option
def beat() -> None:
    """Run the scheduler; one is enough."""
    settings, function_settings = WorkerSettings.load(), FunctionSettings.load()
    from workers.app import run_beat

    run_beat(settings, function_settings)


@click.command()
@local_option
def migrate() -> None:
    """Bring the database to the newest schema."""
    settings = StoreSettings.load()
    from infra.cli.unreachable import errors_in_one_line
    from infra.store.migrate import MigrationError, upgrade

    try:
        with errors_in_one_line("the migration", settings.database_url):
            notes = upgrade(settings.database_url, settings.database_schema)
    except MigrationError as error:
        raise CommandError(str(error)) from error
    for note in notes:
        click.echo(note)
    click.echo("the database is up to date")
