"""The table of alerts in docs/operations.md, from the rules of Prometheus: `make tables` writes it."""

from collections.abc import Iterator
from typing import Final

from tests.contract.metric_table import PAGE
from tests.harness.promtool import alerts

_BEGIN: Final = "<!-- alerts: written by `make tables` -->\n"
_END: Final = "<!-- end of alerts -->\n"


def with_table(page: str) -> str:
    """Return the page with today's table between its markers. Raises ValueError without markers."""
    before, found_begin, rest = page.partition(_BEGIN)
    _, found_end, after = rest.partition(_END)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no {_BEGIN.strip()} ... {_END.strip()}")
    return "\n".join([before + _BEGIN, *_lines(), "", _END + after])


def _lines() -> Iterator[str]:
    yield "| alert | severity | when it lasts for | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, alert in alerts().items():
        severity, summary = alert["labels"]["severity"], alert["annotations"]["summary"]
        yield f"| [`{name}`](#{name.lower()}) | {severity} | {alert.get('for', '')} | {summary} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
