"""Checks the hook before sending: the endpoint of the app's backend that is asked about messages."""

from collections.abc import Iterator
from typing import Final

from infra.cli.doctor.finding import Finding, finding
from infra.settings.base import variable
from infra.settings.edge import EdgeSettings
from infra.settings.worker import WorkerSettings

_ADVICE: Final = 'have the endpoint answer {"messages": []} with {"results": []}, or correct BBGRAM_HOOK_URL'
_OTHERWISE: Final = {"open": "pass", "closed": "are refused"}


def hook_findings(edge: EdgeSettings | None, worker: WorkerSettings) -> Iterator[Finding]:
    """Ask the endpoint about no message, and check that edges wait for its answers."""
    if worker.hook_url is None:
        yield Finding("hook", "BBGRAM_HOOK_URL is not set, so nobody is asked about messages")
        return
    yield finding("hook", _ADVICE, lambda: _endpoint(worker), "the endpoint")
    if edge and worker.hook_timeout_s >= edge.redispatch_s:
        yield Finding(
            "hook",
            f"{variable('hook_timeout_s')} ({worker.hook_timeout_s:g}) is not less than "
            f"{variable('redispatch_s')} ({edge.redispatch_s:g}), so edges send messages again meanwhile",
            f"lower {variable('hook_timeout_s')}, or raise {variable('redispatch_s')}",
        )


def _endpoint(settings: WorkerSettings) -> Finding:
    from workers.hook import make_hook

    hook = make_hook(settings)
    try:
        hook.request([])
    finally:
        hook.close()
    becomes = _OTHERWISE[settings.hook_failure or ""]
    return Finding("hook", f"the endpoint answers; messages without an answer {becomes}")
