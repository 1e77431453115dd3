"""Runs promtool: unit tests of rules, on series that a test makes up."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[2] / "infra" / "deploy" / "prometheus"
RULE_FILES: Final = (RULES / "recording.yml", RULES / "alerts.yml")

Rule = Mapping[str, Any]


def program(name: str) -> str:
    """Return the path of a program of Prometheus; fail if it is missing."""
    found = shutil.which(name)
    assert found, f"{name} is missing: install it with `apt-get install prometheus`, as .ci/run does"
    return found


def promtool(*arguments: str | Path) -> None:
    """Run promtool; fail with what it prints if it finds something wrong."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def groups() -> dict[str, list[Rule]]:
    """Return the groups of rules by name, each after those that it builds on. Change nothing in them."""
    found = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
    return {group["name"]: group["rules"] for group in found}


def rules() -> list[Rule]:
    """Return all rules: alerts have `alert`, the others `record`."""
    return [rule for group in groups().values() for rule in group]


def alerts() -> dict[str, Rule]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def assert_firing(
    folder: Path,
    series: Mapping[str, str],
    expected: Mapping[str, Iterable[str]],
    *,
    interval: str,
    only: str = ".*",
) -> None:
    """Fail unless exactly these alerts fire at these times, given series in promtool's notation."""
    firing = [
        {
            "expr": f'group by (alertname) (ALERTS{{alertstate="firing",alertname=~"{only}"}})',
            "eval_time": time,
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in names],
        }
        for time, names in expected.items()
    ]
    _test_rules(folder, series, interval, {"promql_expr_test": firing})


def assert_described(
    folder: Path, series: Mapping[str, str], time: str, alert: str, expected: Mapping[str, str]
) -> None:
    """Fail unless at this time the alert fires for exactly these instances, with these descriptions."""
    rule = alerts()[alert]
    described = [
        {
            "exp_labels": {**rule["labels"], "job": "bbgram", "instance": instance},
            "exp_annotations": {**rule["annotations"], "description": description},
        }
        for instance, description in expected.items()
    ]
    test = {"alertname": alert, "eval_time": time, "exp_alerts": described}
    _test_rules(folder, series, "15s", {"alert_rule_test": [test]})


def _test_rules(
    folder: Path, series: Mapping[str, str], interval: str, expectations: Mapping[str, Sequence[Any]]
) -> None:
    test = {
        "rule_files": [str(path) for path in RULE_FILES],
        "evaluation_interval": interval,
        "group_eval_order": [*groups()],
        "tests": [
            {
                "interval": interval,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                **expectations,
            }
        ],
    }
    path = folder / "alerts.test.yml"
    path.write_text(json.dumps(test))  # JSON is YAML
    promtool("test", "rules", path)
