"""Writes the dashboards that Grafana reads: `make dashboards`."""

import json
from pathlib import Path
from typing import Final

from infra.deploy.grafana.edges import EDGES
from infra.deploy.grafana.functions import FUNCTIONS
from infra.deploy.grafana.overview import OVERVIEW
from infra.deploy.grafana.panel import Dashboard
from infra.deploy.grafana.workers import WORKERS

FOLDER: Final = Path(__file__).parent / "dashboards"
DASHBOARDS: Final = (OVERVIEW, EDGES, WORKERS, FUNCTIONS)


def text_of(dashboard: Dashboard) -> str:
    """Return the file of a dashboard."""
    return json.dumps(dashboard.json(), indent=2) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each.name}.json").write_text(text_of(each))
