"""The command: runs all checks and prints a line for each."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from infra.cli.doctor.configuration import Configuration
from infra.cli.doctor.finding import Finding
from infra.cli.doctor.functions import bucket_finding, channels_finding, jobs_finding
from infra.cli.doctor.processes import process_findings
from infra.cli.doctor.services import postgres_finding, python_finding, redis_findings
from infra.cli.doctor.signin import signin_finding
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
    """Check settings, engines, sign-in, workers, beat, jobs, channels, archive; say how to fix problems."""
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


def examine(*, local: bool, token: str | None) -> Iterator[Finding]:
    """Run all checks. Problems are findings, not exceptions. `local` includes the local stack."""
    yield python_finding()
    configuration = Configuration.load()
    yield from configuration.findings
    yield from _servers(configuration, token)
    if configuration.worker and configuration.functions:
        yield channels_finding(configuration.worker, configuration.functions)
    if configuration.functions:
        yield jobs_finding(configuration.functions)
        yield bucket_finding(configuration.functions)
    if local:
        from infra.cli.doctor.local import port_finding, stack_finding

        yield stack_finding()
        yield port_finding()


def _servers(configuration: Configuration, token: str | None) -> Iterator[Finding]:
    """Check the services, and the processes that can only be asked through a Redis that answers."""
    edge, worker = configuration.edge, configuration.worker
    answers = False
    if settings := edge or worker:
        found = list(redis_findings(settings.redis_url))
        answers = len(found) > 1
        yield from found
    if worker:
        yield postgres_finding(worker)
    if edge:
        yield signin_finding(edge, token)
    if worker and answers:
        yield from process_findings(worker)
