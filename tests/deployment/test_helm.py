"""What the chart makes of values is valid, and wrong values are refused."""

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.harness.helm import CHART, ROOT, VALUES, Manifest, helm, installed, refusal, render

EXAMPLES = sorted(path.stem for path in VALUES.glob("*.yaml"))
KUBERNETES = {"oldest": "v1.30.0", "newest": "v1.37.0"}
CRDS = Path(__file__).parent / "crds"


@pytest.mark.parametrize("values", EXAMPLES)
def test_the_linter_has_nothing_to_say(values: str) -> None:
    done = helm("lint", "--strict", CHART, "--values", VALUES / f"{values}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", KUBERNETES.values(), ids=KUBERNETES)
@pytest.mark.parametrize("values", EXAMPLES)
def test_kubernetes_knows_every_field(values: str, version: str) -> None:
    manifests = [manifest for manifest in render(values) if not is_custom(manifest)]
    assert len(manifests) > 8
    assert [line for manifest in manifests for line in errors(manifest, built_in(manifest, version))] == []


@pytest.mark.parametrize("values", ["production", "everything"])
def test_the_operators_know_every_field(values: str) -> None:
    manifests = [manifest for manifest in render(values) if is_custom(manifest)]
    assert [line for manifest in manifests for line in errors(manifest, custom(manifest["kind"]))] == []


def test_everything_has_every_kind() -> None:
    assert {manifest["kind"] for manifest in render("everything")} == {
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "PrometheusRule",
        "ScaledObject",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }


def test_the_schema_catches_a_misspelled_field() -> None:
    (beat,) = [one for one in render("small") if one["metadata"]["name"].endswith("-beat")]
    beat["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert any("readynessProbe" in line for line in errors(beat, built_in(beat, KUBERNETES["newest"])))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--set", "existingSecret="], "existingSecret", id="no secret"),
        pytest.param(["--set", "settings.edge.SUPABASE_URL=null"], "SUPABASE_URL", id="no project"),
        pytest.param(["--set", "settings.edge.SUPABASE_KEY=x"], "SUPABASE_KEY", id="a secret in plain"),
        pytest.param(["--set", "settings.worker.HOOK_SECRETS=x"], "HOOK_SECRETS", id="that of the hook"),
        pytest.param(["--set", "settings.worker.WEBHOOKS_SECRETS=x"], "WEBHOOKS_SECRETS", id="of webhooks"),
        pytest.param(["--set", "settings.common.BBGRAM_LANES=2"], "BBGRAM_LANES", id="a prefix"),
        pytest.param(["--set", "settings.edge.METRICS_PORT=1"], "METRICS_PORT", id="what the chart sets"),
        pytest.param(["--set", "beat.replicas=2"], "replicas", id="a second beat"),
        pytest.param(["--set", "edge.replica=2"], "replica", id="misspelled"),
        pytest.param(["--set", "ingress.enabled=true"], "ingress.host", id="an ingress without a host"),
        pytest.param(["--kube-version", "1.29.0"], "1.30", id="an old Kubernetes"),
    ],
)
def test_wrong_values_are_refused(arguments: list[str], words: str) -> None:
    assert words in refusal("small", *arguments)


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["appVersion"], chart["version"]) == (project, project)


def test_the_rules_are_those_for_prometheus() -> None:
    names = ("alerts.yml", "recording.yml")
    theirs = [(ROOT / "infra/deploy/prometheus" / name).read_text() for name in names]
    assert [(CHART / "rules" / name).read_text() for name in names] == theirs, "run `make tables`"
    groups = [group for text in theirs for group in yaml.safe_load(text)["groups"]]
    (made,) = [one for one in render("production") if one["kind"] == "PrometheusRule"]
    assert made["spec"]["groups"] == groups


def test_the_alerts_look_for_the_job_that_the_service_monitor_makes() -> None:
    made = {one["kind"]: one for one in render("production") if one["kind"].startswith(("Service", "Prom"))}
    services = [one["metadata"]["labels"] for one in render("production") if one["kind"] == "Service"]
    job = {labels[made["ServiceMonitor"]["spec"]["jobLabel"]] for labels in services}
    wanted = set(re.findall(r'job=~"([^"]*)"', json.dumps(made["PrometheusRule"]).replace('\\"', '"')))
    assert wanted
    assert all(re.fullmatch(pattern, name) for pattern in wanted for name in job)


def test_alerts_lead_to_a_copy_of_the_runbook() -> None:
    made = render("production", "--set", "prometheusRule.runbookPrefix=https://wiki.example/chat/")
    (rule,) = [one for one in made if one["kind"] == "PrometheusRule"]
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"] if "alert" in alert]
    urls = {alert["annotations"]["runbook_url"].partition("#")[0] for alert in alerts}
    assert urls == {"https://wiki.example/chat/docs/operations.md"}


def is_custom(manifest: Manifest) -> bool:
    return manifest["apiVersion"].split("/")[0] in {"keda.sh", "monitoring.coreos.com"}


def errors(manifest: Manifest, validator: Validator) -> Iterator[str]:
    """Yield a line for each field that is wrong or unknown."""
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    return (f"{name}: {error.json_path} {error.message}" for error in validator.iter_errors(manifest))


def built_in(manifest: Manifest, version: str) -> Validator:
    """Return the schema of a kind of Kubernetes, which refuses unknown fields."""
    group, _, api = manifest["apiVersion"].rpartition("/")
    name = "-".join(filter(None, [manifest["kind"].lower(), group.split(".")[0], api]))
    return Draft7Validator(
        json.loads((schemas(version) / f"{name}.json").read_text()), registry=definitions(version)
    )


def schemas(version: str) -> Path:
    return installed(f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict")


@cache
def definitions(version: str) -> Registry[Any]:
    """Return the definitions that schemas refer to."""
    name = "_definitions.json"
    resource = DRAFT7.create_resource(json.loads((schemas(version) / name).read_text()))
    registry: Registry[Any] = Registry().with_resource(name, resource)
    return registry


def custom(kind: str) -> Validator:
    """Return the schema of a kind of an operator, made to refuse unknown fields."""
    resource = yaml.safe_load((CRDS / f"{kind.lower()}s.yaml").read_text())
    (version,) = [one for one in resource["spec"]["versions"] if one["storage"]]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"x-kubernetes-preserve-unknown-fields": True}
    return Draft7Validator(closed(schema))


def closed(schema: Any) -> Any:
    """Return a schema that refuses what it does not list, as an API server with strict validation does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner
