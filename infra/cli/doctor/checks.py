"""All checks, in order."""

from collections.abc import Iterator

from infra.cli.doctor.configuration import Configuration
from infra.cli.doctor.finding import Finding
from infra.cli.doctor.functions import (
    bucket_finding,
    channels_finding,
    jobs_finding,
    webhooks_finding,
)
from infra.cli.doctor.hook import hook_findings
from infra.cli.doctor.processes import process_findings
from infra.cli.doctor.services import postgres_finding, python_finding, redis_findings
from infra.cli.doctor.signin import signin_finding


def examine(*, local: bool, token: str | None) -> Iterator[Finding]:
    """Run all checks. Problems are findings, not exceptions. `local` includes the local stack."""
    yield python_finding()
    configuration = Configuration.load()
    yield from configuration.findings
    yield from _servers(configuration, token)
    if configuration.worker and configuration.functions:
        yield channels_finding(configuration.worker, configuration.functions)
    if configuration.worker:
        yield from hook_findings(configuration.edge, configuration.worker)
    if configuration.functions:
        yield jobs_finding(configuration.functions)
        yield bucket_finding(configuration.functions)
        yield webhooks_finding(configuration.functions)
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
