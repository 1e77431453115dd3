"""`bbgram`: starts each deployable, and the local stack. What a command needs is imported when it runs."""

import os
import sys
from typing import Any

import click

from infra.local.dead_letters import dead_letters
from infra.local.errors import StackError
from infra.local.run import run
from infra.settings import (
    EdgeSettings,
    FunctionSettings,
    SettingsError,
    StoreSettings,
    WorkerSettings,
    data_dir,
)
from infra.wire.names import FUNCTIONS_QUEUE, QUEUE


class _Failure(click.ClickException):
    def __init__(self, error: object) -> None:
        super().__init__(" ".join(str(error).split()))


class _Misconfigured(_Failure):
    exit_code = 2


class _Group(click.Group):
    """Turns the errors that people can do something about into one line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except click.UsageError as error:
            # Without the three lines of usage that click puts before it.
            hint = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
            click.echo(f"Error: {error.format_message().rstrip('.')}{hint}", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise _Misconfigured(error) from error
        except StackError as error:
            raise _Failure(error) from error
        except ModuleNotFoundError as error:
            raise _Failure(
                f"{error.name} is not installed here; {ctx.invoked_subcommand} needs it"
            ) from error


@click.group(cls=_Group)
def main() -> None:
    """Run BB-Gram chat, or a part of it. Settings come from the environment, prefix BBGRAM_."""


@main.command()
def dev() -> None:
    """Run everything on this machine. PORT (3000) and BBGRAM_DATA_DIR (.bbgram) move it."""
    from infra.local.stack import run_stack
    from infra.local.terminal import Terminal

    run_stack(data_dir(), _port(), Terminal())


@main.command()
@click.option("--host", help="Address to listen on; default BBGRAM_HOST or localhost.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default BBGRAM_PORT or 3000.")
def edge(host: str | None, port: int | None) -> None:
    """Run one edge."""
    overrides = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = EdgeSettings.load(**overrides)
    from socket_edge.app import serve

    serve(settings)


@main.command()
@click.option("--functions", is_flag=True, help="Run scheduled functions and send notifications instead.")
def worker(functions: bool) -> None:
    """Run one worker process, which handles what the edges relay."""
    settings, function_settings = WorkerSettings.load(), FunctionSettings.load()
    from workers.app import run_worker

    run_worker(settings, function_settings, FUNCTIONS_QUEUE if functions else QUEUE)


@main.command()
def beat() -> None:
    """Run the scheduler; one is enough."""
    settings, function_settings = WorkerSettings.load(), FunctionSettings.load()
    from workers.app import run_beat

    run_beat(settings, function_settings)


@main.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    database_url = StoreSettings.load().database_url
    from sqlalchemy.exc import SQLAlchemyError

    from infra.store.migrate import upgrade

    try:
        upgrade(database_url)
    except SQLAlchemyError as error:
        raise StackError(f"the migration failed: {getattr(error, 'orig', None) or error}") from error
    click.echo("the database is up to date")


@main.command()
@click.argument("username")
@click.option("--ttl", default=3600, show_default=True, help="Seconds until the token expires.")
def token(username: str, ttl: int) -> None:
    """Print an access token of the local stack for USERNAME, who is created if needed."""
    from infra.local.token import local_token

    click.echo(local_token(data_dir(), username, ttl))


@main.command()
def doctor() -> None:
    """Check everything that the system needs, and say what to do about what is wrong."""
    from infra.local.doctor import examine

    findings = examine(data_dir(), _port())
    for finding in findings:
        click.echo(finding.line())
    if any(finding.advice for finding in findings):
        raise click.exceptions.Exit(1)


main.add_command(dead_letters)
main.add_command(run)


def _port() -> int:
    text = os.environ.get("PORT") or "3000"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StackError(f"PORT must be a number from 1 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
