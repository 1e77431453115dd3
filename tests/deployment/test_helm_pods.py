"""The pods of the chart: their settings, their secrets, their rights, and who selects them."""

from typing import Any

import pytest

from infra.settings.base import PREFIX, Settings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.store import StoreSettings
from infra.settings.unknown import unknown_variables
from infra.settings.worker import WorkerSettings
from tests.harness.helm import Manifest, render

READ: dict[str, list[type[Settings]]] = {
    "edge": [EdgeSettings],
    "worker": [WorkerSettings, FunctionSettings],
    "functions": [WorkerSettings, FunctionSettings],
    "beat": [WorkerSettings, FunctionSettings],
    "migrate": [StoreSettings],
}
"""The settings that each role loads."""
COMMANDS = {
    "edge": ["bbgram", "edge"],
    "worker": ["bbgram", "worker"],
    "functions": ["bbgram", "worker", "--functions"],
    "beat": ["bbgram", "beat"],
    "migrate": ["bbgram", "migrate"],
}
SECRET = {
    "BBGRAM_REDIS_URL": "rediss://:secret@redis.example:6379",
    "BBGRAM_DATABASE_URL": "postgresql://chat:secret@postgres.example/chat",
    "BBGRAM_SUPABASE_JWT_SECRET": "a-secret-of-at-least-32-characters",
    "BBGRAM_SUPABASE_KEY": "sb_publishable_key",
    "BBGRAM_VAPID_PRIVATE_KEY": "4fs9dEyw2DoTJWPuZAJpvuWJQwSQdRaHqZs0zaDZqpo",
    "BBGRAM_VAPID_PREVIOUS_KEY": "4fs9dEyw2DoTJWPuZAJpvuWJQwSQdRaHqZs0zaDZqpo",
    "BBGRAM_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "BBGRAM_WEBHOOKS_SECRETS": "app=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "BBGRAM_HOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "BBGRAM_FCM_CREDENTIALS": "{}",
    "BBGRAM_APNS_KEY": "-----BEGIN PRIVATE KEY-----",
}
EXAMPLES = ["everything", "production", "small"]


def pods(values: str, *args: str) -> dict[str, Manifest]:
    """Return the templates of pods, by their role."""
    workloads = [one for one in render(values, *args) if one["kind"] in {"Deployment", "Job"}]
    templates = [one["spec"]["template"] for one in workloads]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in templates}


def environment(pod: Manifest, *, optional: bool = False) -> dict[str, str]:
    """Return the variables of the container, those of keys that the Secret may lack only if asked to."""
    (container,) = pod["spec"]["containers"]
    return {
        one["name"]: one["value"] if "value" in one else SECRET[one["valueFrom"]["secretKeyRef"]["key"]]
        for one in container["env"]
        if optional or not one.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
    }


@pytest.mark.parametrize("role", READ)
@pytest.mark.parametrize("values", EXAMPLES)
def test_a_process_can_read_its_settings(values: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(pods(values)[role], optional=values == "everything")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for settings in READ[role]:
        settings.load()
    assert list(unknown_variables(given)) == []


def test_large_numbers_and_booleans_stay_what_they_are() -> None:
    made = pods("everything")
    assert environment(made["edge"])["BBGRAM_SEND_BYTES"] == "16000000"
    assert environment(made["worker"])["BBGRAM_PROVISION_PROFILES"] == "true"
    assert environment(made["migrate"])["BBGRAM_DATABASE_SCHEMA"] == "chat"


@pytest.mark.parametrize("role", COMMANDS)
def test_a_container_runs_the_command_of_its_role(role: str) -> None:
    assert pods("small")[role]["spec"]["containers"][0]["command"] == COMMANDS[role]


def test_edges_never_get_the_address_of_the_database() -> None:
    assert "BBGRAM_DATABASE_URL" not in environment(pods("small")["edge"])
    assert "BBGRAM_REDIS_URL" not in environment(pods("small")["migrate"])


@pytest.mark.parametrize("role", ["edge", "worker", "functions", "beat"])
def test_every_secret_that_a_role_reads_comes_from_the_secret(role: str) -> None:
    read = {PREFIX + name.upper() for settings in READ[role] for name in settings.model_fields}
    (container,) = pods("small")[role]["spec"]["containers"]
    referred = {one["name"] for one in container["env"] if "valueFrom" in one}
    assert referred == read & set(SECRET)


def test_beat_schedules_no_functions_where_lambda_runs_them() -> None:
    made = pods("small", "--set", "functions.enabled=false")
    assert "functions" not in made
    assert environment(made["beat"])["BBGRAM_BEAT_FUNCTIONS"] == "false"


@pytest.mark.parametrize("values", EXAMPLES)
def test_no_container_has_more_rights_than_it_needs(values: str) -> None:
    tests = [one for one in render(values) if one["kind"] == "Pod"]
    for pod in [*pods(values).values(), *tests]:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_service_called_bbgram_sets_no_variables() -> None:
    """It would set BBGRAM_PORT=tcp://..., which an edge cannot read."""
    assert {pod["spec"]["enableServiceLinks"] for pod in pods("small").values()} == {False}


def test_there_is_one_beat_and_never_two() -> None:
    named = [one for one in render("everything") if one["metadata"]["name"] == "talk-beat"]
    (beat,) = [one for one in named if one["kind"] == "Deployment"]
    assert (beat["spec"]["replicas"], beat["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_an_edge_has_time_to_drain() -> None:
    """It needs DRAIN_S, after the pause, and 10 s."""
    default = EdgeSettings.model_fields["drain_s"].default
    for arguments, drain_s in (([], default), (["--set", "settings.edge.DRAIN_S=60.5"], 61)):
        edge = pods("small", *arguments)["edge"]["spec"]
        pause = edge["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert edge["terminationGracePeriodSeconds"] == pause + drain_s + 10


def test_a_functions_worker_has_time_to_finish_its_run() -> None:
    default = FunctionSettings.model_fields["run_s"].default
    for arguments, run_s in (([], default), (["--set", "settings.worker.RUN_S=1200"], 1200)):
        made = pods("small", *arguments)["functions"]["spec"]
        assert made["terminationGracePeriodSeconds"] == run_s + 30


@pytest.mark.parametrize(
    ("kind", "name", "selected"),
    [
        ("Service", "talk-edge", {"edge"}),
        ("Service", "talk-metrics", {"edge", "worker", "functions", "beat"}),
        ("PodDisruptionBudget", "talk-edge", {"edge"}),
        ("PodDisruptionBudget", "talk-worker", {"worker"}),
        ("NetworkPolicy", "talk-edge", {"edge"}),
        ("NetworkPolicy", "talk-worker", {"worker"}),
        ("NetworkPolicy", "talk-functions", {"functions"}),
        ("NetworkPolicy", "talk-beat", {"beat"}),
        ("NetworkPolicy", "talk-migrate", {"migrate"}),
    ],
)
def test_a_selector_finds_its_pods_and_no_others(kind: str, name: str, selected: set[str]) -> None:
    (one,) = [one for one in render("everything") if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    spec = one["spec"]
    labels = spec.get("podSelector", spec.get("selector"))
    labels = labels.get("matchLabels", labels)
    assert {role for role, pod in pods("everything").items() if is_in(labels, pod)} == selected


def is_in(labels: dict[str, Any], pod: Manifest) -> bool:
    found: dict[str, Any] = pod["metadata"]["labels"]
    return labels.items() <= found.items()


@pytest.mark.parametrize("role", COMMANDS)
def test_only_those_who_need_postgres_may_reach_it(role: str) -> None:
    rules = egress(role)
    assert (5432 in ports(rules)) == (role != "edge")
    assert all(rule.get("ports") for rule in rules)


@pytest.mark.parametrize("role", COMMANDS)
def test_workers_may_reach_the_endpoint_of_a_hook(role: str) -> None:
    url = "https://app.example/hook"
    assert (443 in ports(egress(role))) == (role in {"edge", "functions"})
    for settings in ("worker", "common"):
        rules = egress(role, "--set", f"settings.{settings}.HOOK_URL={url}")
        assert (443 in ports(rules)) == (role in {"edge", "functions", "worker"})


def egress(role: str, *args: str) -> list[Manifest]:
    (policy,) = [
        one
        for one in render("everything", *args)
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == f"talk-{role}"
    ]
    rules: list[Manifest] = policy["spec"]["egress"]
    return rules


def ports(rules: list[Manifest]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}
