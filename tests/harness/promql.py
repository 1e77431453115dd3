"""What a query of PromQL asks for. It reads queries as simple as ours; Prometheus checks their syntax."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.harness.promtool import rules

DASHBOARDS: Final = Path(__file__).parents[2] / "infra" / "deploy" / "grafana" / "dashboards"

_METRIC: Final = r"(?:bbgram|redis|pg|process)[\w:]+|up|ALERTS"
_SELECTOR: Final = re.compile(rf"\b({_METRIC})\b(?!\s*\()(?:\{{([^}}]*)\}})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    """A metric, and the values that its labels must, or must not, have."""

    metric: str
    labels: dict[str, list[str]]


def selectors(expr: str) -> list[Selector]:
    """Return what a query selects."""
    return [
        Selector(metric, {label: values.split("|") for label, _, values in _MATCHER.findall(matchers)})
        for metric, matchers in _SELECTOR.findall(_GROUPING.sub("", expr))
    ]


def groupings(expr: str) -> set[str]:
    """Return the labels by which a query groups or joins."""
    return {label for labels in _GROUPING.findall(expr) for label in re.findall(r"\w+", labels)}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, which rows do not."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries() -> dict[str, str]:
    """Return all queries of dashboards and rules, by where they are."""
    shown = {
        f"{name}: {panel['title']} ({target['legendFormat']})": target["expr"]
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel["targets"]
    }
    ruled = {
        f"{rule.get('alert') or rule['record']} {rule.get('labels', {})}": rule["expr"] for rule in rules()
    }
    return {**shown, **ruled}
