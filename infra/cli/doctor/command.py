"""The command: prints a line for each check."""

import sys
from typing import Final

import click

from infra.cli.local import LOCAL_HELP, use_local_stack
from infra.cli.program import with_program
from infra.logs import configure_logs

_TOKEN_BYTES: Final = 1_000_000
"""Longer than any real token, so that an oversized one is read far enough to be reported as too long."""


def _only_stdin(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    # The value is not quoted: it may be the token itself.
    if value not in (None, "-"):
        raise click.BadParameter(
            "must be `-`: the token is read from standard input, where nobody else sees it"
        )
    return value


@click.command()
@click.option("--local", is_flag=True, help=LOCAL_HELP)
@click.option(
    "--token",
    metavar="-",
    callback=_only_stdin,
    help="Check an access token, read from standard input, as an edge with these settings would.",
)
def doctor(local: bool, token: str | None) -> None:
    """Check settings, engines, sign-in, workers, beat, hook, jobs, channels, archive, webhooks; advise."""
    from infra.cli.doctor.checks import examine

    # What the parts of an edge would log is in the findings.
    configure_logs(as_json=False, level="critical")
    filled = use_local_stack() if local else set()
    if token is not None:
        token = sys.stdin.buffer.read(_TOKEN_BYTES).decode(errors="replace").strip()
    is_well = True
    for found in examine(local=local, token=token):
        if local:
            from infra.cli.doctor.local import for_local_stack

            found = for_local_stack(found, filled)
        click.echo(with_program(found.line(), ["--local"] if local else []))
        is_well = is_well and found.advice is None
    if not is_well:
        raise click.exceptions.Exit(1)
