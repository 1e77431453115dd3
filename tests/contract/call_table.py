"""The table of calls in docs/server-api.md, from their registry: `make tables` writes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.wire.server_api import CALLS, STATUS
from tests.contract.generated import with_lines

PAGE: Final = Path(__file__).parents[2] / "docs" / "server-api.md"


def with_tables(page: str) -> str:
    """Return the page with today's tables between their markers. Raises ValueError without markers."""
    return with_lines(with_lines(page, "calls", _calls()), "statuses", _statuses())


def _calls() -> Iterator[str]:
    yield "| call | what it does | scope | errors of its own |"
    yield "| --- | --- | --- | --- |"
    for call in CALLS.values():
        errors = ", ".join(f"`{code}`" for code in call.errors)
        yield f"| `{call.method} {call.path}` | {call.summary} | `{call.scope}` | {errors} |"


def _statuses() -> Iterator[str]:
    yield "| HTTP status | codes |"
    yield "| --- | --- |"
    for status in sorted(set(STATUS.values())):
        codes = ", ".join(f"`{code}`" for code, one in STATUS.items() if one == status)
        yield f"| {int(status)} | {codes} |"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
