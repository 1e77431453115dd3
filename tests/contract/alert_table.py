"""The table of alerts in docs/operations.md, from the rules of Prometheus: `make tables` writes it."""

from collections.abc import Iterator

from tests.contract.generated import with_lines
from tests.contract.metric_table import PAGE
from tests.harness.promtool import alerts


def with_table(page: str) -> str:
    """Return the page with today's table between its markers. Raises ValueError without markers."""
    return with_lines(page, "alerts", _lines())


def _lines() -> Iterator[str]:
    yield "| alert | severity | when it lasts for | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, alert in alerts().items():
        severity, summary = alert["labels"]["severity"], alert["annotations"]["summary"]
        yield f"| [`{name}`](#{name.lower()}) | {severity} | {alert.get('for', '')} | {summary} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
