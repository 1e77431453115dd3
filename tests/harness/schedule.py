"""Which worker of pytest-xdist runs which tests: whole files, and those that share a stack together."""

from functools import cache
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_IN_PIECES: Final = ("tests/faults/test_short.py",)
"""Files whose tests share nothing and take long: each test is a unit by itself."""

STACKS: Final = {
    "the hasty servers": ("tests/conformance/test_heartbeat.py",),
    "the shared chat": ("tests/conformance/",),
    "the shared chat, again": (
        "tests/e2e/test_javascript_client.py",
        "tests/e2e/test_reference_client.py",
        "tests/integration/bad_input/",
        "tests/security/test_caps.py",
        "tests/security/test_openapi.py",
        "tests/security/test_rate_limits.py",
        "tests/security/test_usernames.py",
    ),
    "two edges": (
        "tests/e2e/test_devices.py",
        "tests/e2e/test_many_edges.py",
        "tests/e2e/test_names.py",
        "tests/e2e/test_offline.py",
        "tests/e2e/test_published_contract.py",
        "tests/e2e/test_sync.py",
        "tests/e2e/test_token_life.py",
        "tests/e2e/test_typescript_client.py",
    ),
    "the package for AWS": ("tests/integration/aws/",),
}
"""Files that use the same processes, which each worker that runs one of them has to start; or that wait for
the same package. None takes so long that the others would have to wait for it."""

LONGEST: Final = (
    *_IN_PIECES,
    *(file for files in STACKS.values() for file in files),
    "tests/integration/local/",
    "tests/integration/functions/archive/",
    "tests/e2e/",
    "tests/unit/clients/",
    "tests/integration/test_dead_letters.py",
    "tests/integration/test_metrics.py",
    "tests/integration/test_statements.py",
    "tests/integration/test_status.py",
    "tests/integration/",
    "tests/migrations/",
    "tests/contract/",
    "tests/security/",
    "tests/unit/socket_edge/connection/",
    "tests/unit/test_settings.py",
)
"""What is handed out first, in this order; everything else follows."""

_ALONE: Final = "\npytestmark = pytest.mark.alone\n"
_WAITING: Final = ("tests/security/test_server_api.py", "tests/security/test_sockets.py")
"""Files that run when all others are done, and mostly wait: the other ones that do run beside them."""


class ByStack(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out files, the files of a stack as one, and the files that run alone as two."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._unit_of = cache(self._look_up)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in _IN_PIECES else self._unit_of(file)

    def _look_up(self, file: str) -> str:
        if _ALONE in (self.config.rootpath / file).read_text():
            return "alone, waiting" if file in _WAITING else "alone"
        return next((stack for stack, files in STACKS.items() if file.startswith(files)), file)


def order(items: list[pytest.Item]) -> None:
    """Put long tests first, so that none of them is still running when everything else is done.

    Tests that run alone come last: until then, no worker has to wait for them.
    """
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    module = item.getparent(pytest.Module)
    if module and any(mark.name == "alone" for mark in module.own_markers):
        return len(LONGEST) + 1
    return _rank_of_file(item.nodeid.partition("::")[0])


@cache
def _rank_of_file(file: str) -> int:
    return next((rank for rank, place in enumerate(LONGEST) if file.startswith(place)), len(LONGEST))
