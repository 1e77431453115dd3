"""In which order the chart replaces what runs."""

import pytest

from tests.harness.helm import Manifest, refusal, render

ROLES = ("edge", "worker", "functions", "beat")


def deployments(*args: str) -> dict[str, Manifest]:
    """Return the specs of the Deployments of an upgrade, by their role."""
    made = render("everything", "--is-upgrade", *args)
    return {
        one["metadata"]["name"].removeprefix("talk-"): one["spec"]
        for one in made
        if one["kind"] == "Deployment"
    }


def kinds(*args: str) -> set[str]:
    return {one["kind"] for one in render("everything", "--is-upgrade", *args)}


@pytest.mark.parametrize(
    ("step", "paused", "migrates"),
    [
        ("all", set(), True),
        ("stop-workers", {"edge"}, False),
        ("workers", {"edge"}, True),
        ("edges", {"worker", "functions", "beat"}, False),
    ],
)
def test_a_step_leaves_the_others_as_they_are(step: str, paused: set[str], migrates: bool) -> None:
    made = deployments("--set", f"rollout.step={step}")
    assert {role for role in ROLES if made[role]["paused"]} == paused
    assert ("Job" in kinds("--set", f"rollout.step={step}")) == migrates


def test_stopped_workers_stay_stopped() -> None:
    made = deployments("--set", "rollout.step=stop-workers", "--set", "worker.autoscaling.enabled=false")
    replicas = {role: spec.get("replicas") for role, spec in made.items()}
    assert replicas == {"edge": None, "worker": 0, "functions": 0, "beat": 0}


@pytest.mark.parametrize(("step", "replicas"), [("stop-workers", "0"), ("workers", None), ("all", None)])
def test_keda_stops_the_workers_that_it_scales(step: str, replicas: str | None) -> None:
    """Only KEDA may change the number: with any other one, the upgrade would conflict with it."""
    made = render("everything", "--is-upgrade", "--set", f"rollout.step={step}")
    (scaled,) = [one["metadata"] for one in made if one["kind"] == "ScaledObject"]
    assert scaled.get("annotations", {}).get("autoscaling.keda.sh/paused-replicas") == replicas


def test_what_an_autoscaler_scales_has_no_number_of_its_own() -> None:
    made = deployments()
    assert {role for role in ROLES if "replicas" not in made[role]} == {"edge", "worker"}


def test_the_migration_comes_before_everything_else() -> None:
    (job,) = [one for one in render("everything") if one["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "serviceAccountName" not in job["spec"]["template"]["spec"], "it does not exist yet"


def test_its_network_policy_comes_before_the_migration() -> None:
    made = {one["kind"]: one for one in render("everything") if one["metadata"]["name"] == "talk-migrate"}
    weights = [
        int(made[kind]["metadata"]["annotations"]["helm.sh/hook-weight"]) for kind in ("NetworkPolicy", "Job")
    ]
    assert weights == sorted(set(weights))


def test_an_installation_has_no_steps() -> None:
    assert "rollout.step is for upgrades" in refusal("small", "--set", "rollout.step=workers")
