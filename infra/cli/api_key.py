"""`bbgram api-key`: makes keys for the server API."""

from typing import Final

import click

from infra.settings.api_keys import is_key_name, make_key
from infra.settings.base import variable
from infra.wire.server_api import Scope

_VARIABLE: Final = variable("api_keys")


@click.group("api-key")
def api_key() -> None:
    """Make keys with which the app's own backend calls the server API."""


@api_key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    default=[scope.value for scope in Scope],
    help="What the key may be used for; may be repeated. All by default.",
)
def create(name: str, scopes: tuple[str, ...]) -> None:
    """Print a new key, once, and the entry of BBGRAM_API_KEYS that lets it in."""
    if not is_key_name(name):
        raise click.UsageError("NAME must have 1 to 32 of a-z, 0-9, - and _")
    key, known = make_key(name, [Scope(scope) for scope in scopes])
    click.echo(f"key    {key}")
    click.echo(f"entry  {known}")
    click.echo(
        "\nGive the key to your backend: it is not shown again, and no part of BB-Gram chat keeps it.\n"
        f"Add the entry to {_VARIABLE} of all edges, after a comma if there are others, and restart them.",
        err=True,
    )
