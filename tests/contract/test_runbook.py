"""Each alert has its part of the runbook in docs/operations.md, and what is to be watched has an alert."""

import re
from typing import Any

import pytest

from tests.contract.alert_table import with_table
from tests.contract.metric_table import PAGE
from tests.harness.promtool import alerts


def section(heading: str) -> str:
    """Return a section of docs/operations.md."""
    _, found, rest = PAGE.read_text().partition(f"\n## {heading}\n")
    assert found
    return rest.partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


@pytest.mark.parametrize(("name", "alert"), alerts().items(), ids=alerts())
def test_an_alert_leads_to_its_part_of_the_runbook(name: str, alert: dict[str, Any]) -> None:
    assert name.startswith("Bbgram")
    assert set(alert["labels"]) == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["description"].endswith(".")
    assert notes["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert f"\n### {name}\n" in section("Runbook")


def test_the_runbook_is_about_alerts_that_exist_in_their_order() -> None:
    assert re.findall(r"^### (\w+)$", section("Runbook"), re.MULTILINE) == [*alerts()]


def test_each_row_of_what_to_watch_has_an_alert_or_says_why_none() -> None:
    named: set[str] = set()
    for what, *_, told_by in rows("What to watch"):
        found = re.findall(r"\[`(Bbgram\w+)`\]\(#(\w+)\)", told_by)
        assert found or told_by.startswith("none: "), what
        assert all(anchor == alert.lower() for alert, anchor in found)
        named |= {alert for alert, _ in found}
    assert named == set(alerts())


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "run `make tables`"
