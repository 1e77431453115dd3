"""`bbgram user`: makes, shows and signs out users, and exports or erases what the chat holds of one."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from infra.cli.calls import verbs
from infra.cli.local import local_option
from infra.cli.run import NoQueue
from infra.errors import CommandError
from infra.logs import printable
from infra.settings.functions import FunctionSettings

if TYPE_CHECKING:
    from functions.context import Context
    from functions.people import Person

_who = click.argument("id_or_name", metavar="ID_OR_NAME")


@click.group("user")
def user() -> None:
    """Make, show or sign out users; list chats and blocks; export or erase what the chat holds of one."""


for command in verbs("user"):
    user.add_command(command)


@user.command("export")
@_who
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write to this file, which must not exist yet.",
)
@click.option("--s3", "to_s3", is_flag=True, help="Write to EXPORT_BUCKET, and print a signed link.")
@local_option
def export_user(id_or_name: str, out: Path | None, to_s3: bool) -> None:
    """Print what the chat holds of a user as JSON Lines."""
    if out is not None and to_s3:
        raise click.UsageError("give --out or --s3, not both")
    with _context("user export") as context:
        from functions.export import export_lines
        from functions.exported import upload

        person = _require(context, id_or_name)
        lines = export_lines(context, person)
        if to_s3:
            click.echo(upload(context.settings, person.id, lines).link)
        elif out is not None:
            _write(out, lines)
        else:
            _print(lines)


@user.command("delete")
@_who
@click.option(
    "--mode",
    type=click.Choice(["delete", "anonymise"]),
    help="Erase the texts of messages, too; or keep messages of somebody who is nobody any more.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@local_option
def delete_user(id_or_name: str, mode: str | None, yes: bool) -> None:
    """Erase a user, and print what was done. It can be repeated, also after it was cut short."""
    if mode is None:
        raise click.UsageError("say what becomes of the messages: --mode delete, or --mode anonymise")
    with _context("user delete") as context:
        from functions.erasure.announcer import QueueAnnouncer
        from functions.erasure.job import erase
        from functions.pacer import Pacer
        from infra.store.erasures import Mode

        person = _require(context, id_or_name)
        if not yes:
            name = printable(person.username or "removed for good")
            click.confirm(f"{mode} {person.id} ({name})? This cannot be undone", abort=True, err=True)
        manifest = erase(context, Pacer(math.inf), QueueAnnouncer(context), person.id, Mode(mode))
    click.echo(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    if not manifest.complete:
        raise click.exceptions.Exit(1)


def _print(lines: Iterator[bytes]) -> None:
    """Print lines until nobody reads them any more."""
    try:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # Python would try, and complain, once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(1) from error


def _write(path: Path, lines: Iterator[bytes]) -> None:
    """Write a file that only its owner can read. What is not complete is removed."""
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.writelines(lines)
    except FileExistsError as error:
        raise click.UsageError(f"{path} exists already") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _require(context: "Context", id_or_name: str) -> "Person":
    from functions.people import find_person

    person = find_person(context.engine, id_or_name)
    if person is None:
        raise click.UsageError(f"there is no user {printable(id_or_name)}")
    return person


@contextmanager
def _context(what: str) -> Iterator["Context"]:
    """Yield what functions work with. Errors of services become one line each."""
    settings = FunctionSettings.load()
    from botocore.exceptions import BotoCoreError, ClientError

    from functions.context import Context
    from functions.errors import FunctionError
    from infra.cli.unreachable import errors_in_one_line
    from infra.logs import configure_logs

    configure_logs(as_json=settings.log_json, level=settings.log_level)
    try:
        with errors_in_one_line(what, settings.database_url, settings.redis_url):
            yield Context.make(settings, NoQueue())
    except (BotoCoreError, ClientError, FunctionError) as error:
        raise CommandError(f"{what} failed: {error}") from error
