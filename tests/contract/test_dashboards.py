"""Dashboards can be imported anywhere, and each panel says what it shows.

Grafana's own linter is a program in Go, which CI cannot install; these are its checks that matter, and ours.
"""

import re
from typing import Any

import pytest

from infra.deploy.grafana.__main__ import DASHBOARDS, text_of
from infra.deploy.grafana.panel import SCHEMA, WIDTH, Dashboard
from tests.harness.promql import DASHBOARDS as FOLDER
from tests.harness.promql import dashboards, groupings, panels


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: str(dashboard.name))
def test_the_files_of_dashboards_are_up_to_date(dashboard: Dashboard) -> None:
    assert (FOLDER / f"{dashboard.name}.json").read_text() == text_of(dashboard), "run `make tables`"


def test_there_is_no_other_dashboard() -> None:
    assert set(dashboards()) == {dashboard.name for dashboard in DASHBOARDS}


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
def test_a_dashboard_can_be_imported_anywhere(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == SCHEMA
    assert "id" not in dashboard  # an installation gives its own
    assert dashboard["uid"].startswith("bbgram-")
    assert dashboard["tags"] == ["bbgram"]
    (variable,) = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
def test_panels_have_titles_of_their_own(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))


PANELS = {
    f"{name}: {panel['title']}": panel
    for name, dashboard in dashboards().items()
    for panel in panels(dashboard)
}


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["type"] in {"stat", "timeseries"}
    assert panel["targets"]
    for place, target in enumerate(panel["targets"]):
        assert target["refId"] == chr(ord("A") + place)
        assert target["legendFormat"]


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_asks_the_datasource_that_the_reader_chose(panel: dict[str, Any]) -> None:
    assert {part["datasource"]["uid"] for part in (panel, *panel["targets"])} == {"${datasource}"}


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_the_labels_in_a_legend_are_in_the_result(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert shown <= groupings(target["expr"])


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_counter_is_shown_as_a_rate(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        for counter in re.findall(r"\w+_(?:total|sum|count|bucket)\b", target["expr"]):
            if not counter.startswith("pg_"):
                assert re.search(rf"(rate|increase)\({counter}(\{{[^}}]*\}})?\[", target["expr"])


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
