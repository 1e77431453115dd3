"""What the command line knows about the local stack: its commands, and the `--local` option of the others.

No command reads what the local stack has written unless it belongs to the stack or is given `--local`.
"""

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from infra.cli.program import program
from infra.errors import CommandError
from infra.settings.base import SettingsError, data_dir, variable

_Command = TypeVar("_Command", bound=Callable[..., Any])

LOCAL_HELP: Final = "Take missing settings from the local stack in BBGRAM_DATA_DIR (.bbgram)."
_PORT_DIGITS: Final = 5


@click.command()
def dev() -> None:
    """Run everything on this machine.

    PORT (default BBGRAM_PORT or 3000) and BBGRAM_DATA_DIR (default .bbgram) set its port and data folder.
    """
    from infra.local.stack import run_stack
    from infra.local.terminal import Terminal

    run_stack(data_dir(), stack_port(), Terminal(), program())


@click.command()
@click.argument("username")
@click.option("--ttl", default=3600, show_default=True, help="Seconds until the token expires.")
def token(username: str, ttl: int) -> None:
    """Print an access token of the local stack for USERNAME, who is created if needed."""
    from infra.local.access_token import local_token

    click.echo(local_token(data_dir(), username, ttl))


def local_option(command: _Command) -> _Command:
    """Give a command the option `--local`."""

    def use_if_asked(_: click.Context, __: click.Parameter, is_local: bool) -> None:
        if is_local:
            use_local_stack()

    option = click.option("--local", is_flag=True, expose_value=False, callback=use_if_asked, help=LOCAL_HELP)
    return option(command)


def use_local_stack() -> set[str]:
    """Put missing settings of the local stack into the environment; return their names.

    Raises CommandError if there are none.
    """
    from infra.local.stack_env import NAME, read_stack_env

    folder = data_dir()
    try:
        found = read_stack_env(folder)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{folder / NAME} cannot be read: {error}") from error
    if not found:
        raise CommandError(f"no local stack was ever started in {folder}: start it with `make run` first")
    missing = {name: value for name, value in found.items() if not os.environ.get(name)}
    os.environ.update(missing)
    return set(missing)


def local_hint() -> str:
    """Return what to do about a missing setting."""
    from infra.local.stack_env import NAME

    folder = data_dir()
    if os.path.exists(folder / NAME):  # which, unlike Path.exists, says False if the folder is not ours
        return f"Set it, or add --local to use the local stack in {folder}."
    return "Set it: see docs/deployment.md."


def stack_port() -> int:
    """Return the port of the local stack's edge. Raises SettingsError."""
    name = "PORT" if os.environ.get("PORT") else variable("port")
    text = os.environ.get(name) or "3000"
    is_number = text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS
    if not is_number or not 1 <= int(text) <= 65535:
        raise SettingsError(f"{name} must be a number from 1 to 65535, not {text[:20]!a}")
    return int(text)
