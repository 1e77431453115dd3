"""Panels and dashboards as Grafana keeps them. What all of them share is said here once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SCHEMA: Final = 42
"""The schema of Grafana 13; newer versions migrate it."""
WIDTH: Final = 24
"""Columns of Grafana's grid."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. `queries` are PromQL by legend; labels stand in it as `{{label}}`."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    red_from: float | None = None
    """From this value on, a number is red, or a line is drawn."""
    red_below: float | None = None
    """The same for what is bad when it is low."""
    stacked: bool = False

    def json(self, number: int, *, kind: str, x: int, y: int, width: int, height: int) -> Json:
        """Return it as Grafana keeps it, at a place of the grid."""
        return {
            "id": number,
            "type": kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": self._field(kind), "overrides": []},
            "options": _OPTIONS[kind],
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": DATASOURCE,
                    "expr": expr,
                    "legendFormat": legend,
                }
                for place, (legend, expr) in enumerate(self.queries.items())
            ],
        }

    def _field(self, kind: str) -> Json:
        has_limit = self.red_from is not None or self.red_below is not None
        color = {"mode": "thresholds"} if kind == "stat" else {"mode": "palette-classic"}
        shared = {
            "unit": self.unit,
            "color": color,
            "thresholds": {"mode": "absolute", "steps": self._steps()},
        }
        if kind == "stat":
            return shared
        line = {
            "drawStyle": "line",
            "fillOpacity": 20 if self.stacked else 5,
            "showPoints": "auto",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if has_limit else "off"},
        }
        return {**shared, "min": 0, "custom": line}

    def _steps(self) -> list[Json]:
        if self.red_below is not None:
            return [{"color": "red", "value": None}, {"color": "green", "value": self.red_below}]
        red = [] if self.red_from is None else [{"color": "red", "value": self.red_from}]
        return [{"color": "green", "value": None}, *red]


_OPTIONS: Final[Mapping[str, Json]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading: numbers first, then graphs, three in a line."""

    title: str
    graphs: Sequence[Panel]
    numbers: Sequence[Panel] = field(default=())


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard, of rows."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]

    def json(self) -> Json:
        """Return it as Grafana imports it."""
        return {
            "uid": f"bbgram-{self.name}",
            "title": f"BB-Gram: {self.title}",
            "description": self.description,
            "tags": ["bbgram"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": [_CHOICE_OF_DATASOURCE]},
            "annotations": {"list": [_FIRING]},
            "links": [_OTHER_DASHBOARDS],
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        panels: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "panels": [],
                    "gridPos": place,
                }
            )
            y += 1
            for kind, each, height in (("stat", row.numbers, 4), ("timeseries", row.graphs, 8)):
                width = WIDTH // max(len(each), 1) if kind == "stat" else WIDTH // 3
                in_line = WIDTH // width
                for start in range(0, len(each), in_line):
                    for column, panel in enumerate(each[start : start + in_line]):
                        panels.append(
                            panel.json(
                                len(panels) + 1, kind=kind, x=column * width, y=y, width=width, height=height
                            )
                        )
                    y += height
        return panels


_CHOICE_OF_DATASOURCE: Final = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
}
_FIRING: Final = {
    "name": "Alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Bbgram.*",alertstate="firing"}',
    "titleFormat": "{{alertname}}",
}
_OTHER_DASHBOARDS: Final = {
    "title": "BB-Gram",
    "type": "dashboards",
    "tags": ["bbgram"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
}
