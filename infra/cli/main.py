"""The `bbgram` command and how it reports errors. A command imports what it needs when it runs."""

import errno
import os
import platform
import sys
from typing import IO, Any, Final

import click

from infra.cli.api_key import api_key
from infra.cli.dead_letters import dead_letters
from infra.cli.deployables import beat, edge, migrate, worker
from infra.cli.doctor.command import doctor
from infra.cli.extras import advice
from infra.cli.local import dev, local_hint, token
from infra.cli.message import message
from infra.cli.program import with_program
from infra.cli.reports import reports
from infra.cli.run import run
from infra.cli.status.command import status
from infra.cli.user import user
from infra.cli.webhooks import webhooks
from infra.errors import CommandError
from infra.logs import printable
from infra.settings.base import SettingsError
from infra.settings.unknown import unknown_variables
from infra.version import VERSION

_FILE_ERRORS: Final = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}


class _Failure(click.ClickException):
    def __init__(self, *lines: object) -> None:
        super().__init__("\n".join(" ".join(str(line).split()) for line in lines))

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"Error: {with_program(line)}", file=file or sys.stderr)


class _Misconfigured(_Failure):
    exit_code = 2


class _Group(click.Group):
    """Turns errors that a user can fix into a line each and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            # Without the three lines of usage that click prints before it.
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
            raise _Misconfigured(*error.lines(local_hint())) from error
        except CommandError as error:
            raise _Failure(error) from error
        except OSError as error:
            if error.errno not in _FILE_ERRORS:
                raise
            raise _Failure(
                f"{error.filename or 'a file'} cannot be written ({error.strerror}); "
                "make it writable, free some space, or set BBGRAM_DATA_DIR to another folder"
            ) from error
        except ModuleNotFoundError as error:
            raise _Failure(advice(str(ctx.invoked_subcommand), error)) from error


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"bbgram {VERSION}, Python {platform.python_version()}")
        context.exit()


@click.group(cls=_Group)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Run BB-Gram chat, or a part of it. Settings come from the environment, prefix BBGRAM_."""
    # The doctor reports them itself.
    if context.invoked_subcommand != doctor.name:
        for name, nearest in unknown_variables(os.environ):
            hint = f"did you mean {nearest}?" if nearest else "docs/deployment.md lists all settings"
            click.echo(f"Warning: {printable(name)} is not a setting and has no effect; {hint}", err=True)


for command in (
    api_key,
    beat,
    dead_letters,
    dev,
    doctor,
    edge,
    message,
    migrate,
    reports,
    run,
    status,
    token,
    user,
    webhooks,
    worker,
):
    main.add_command(command)
