"""The command: shows an overview, once or again and again."""

import time
from typing import Final

import click
import msgspec

from infra.cli.local import local_option
from infra.cli.unreachable import errors_in_one_line
from infra.settings.status import StatusSettings

_EVERY_S: Final = 2.0


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines; with --watch, a line each.")
@local_option
def status(watch: bool, as_json: bool) -> None:
    """Show what runs and what piles up.

    Exits with 1 if something is wrong, or Redis or Postgres does not answer.
    """
    settings = StatusSettings.load()
    while True:
        is_well = _show(settings, as_json=as_json, clear=watch and not as_json)
        if not watch:
            break
        time.sleep(_EVERY_S)
    if not is_well:
        raise click.exceptions.Exit(1)


def _show(settings: StatusSettings, *, as_json: bool, clear: bool) -> bool:
    from infra.cli.status.overview import read_overview
    from infra.cli.status.render import render

    with errors_in_one_line("status", settings.database_url or "", settings.redis_url):
        overview = read_overview(settings)
    if clear:
        click.clear()
    click.echo(msgspec.json.encode(overview) if as_json else render(overview))
    return not overview.problems
