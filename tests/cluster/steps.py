"""What must be true after the commands of the page."""

from typing import Final

from tests.cluster.walk import Walk, page
from tests.harness.helm import CHART, ROOT, VALUES

_CRDS: Final = ROOT / "tests/deployment/crds"


def follow(walk: Walk) -> None:
    """Run the commands of the page and look at what they leave."""
    commands = page()
    upgrades = [command for command in commands if "imageTag" in command or "wait --for" in command]
    first = commands.index(next(command for command in commands if "worker.replicas=2" in command))
    install(walk, commands[:first])
    walk.run(commands[first])
    walk.expect(edge=("0.2.0", 1), worker=("0.2.0", 2), functions=("0.2.0", 1), beat=("0.2.0", 1))
    assert zones(walk) == 2, "the workers are in one zone"
    check_order(walk, upgrades)
    check_examples(walk)
    check_autoscaled(walk, upgrades)
    walk.run(commands[-1])
    walk.expect(edge=("", 0), worker=("", 0), functions=("", 0), beat=("", 0))


def install(walk: Walk, commands: list[str]) -> None:
    """Namespace, Secret, values, installation, test."""
    for command in commands:
        if " install " in command:
            check_failed_migration(walk)
        printed = walk.run(command)
        if " install " in command:
            assert any("up to date" in log for log in migrations(walk)), (
                "the migration has not said that it is done"
            )
            walk.expect(edge=("0.2.0", 1), worker=("0.2.0", 1), functions=("0.2.0", 1), beat=("0.2.0", 1))
        if " test " in command:
            assert "Succeeded" in printed, printed


def check_failed_migration(walk: Walk) -> None:
    """Where the database cannot be reached, nothing is made but the migration, which says why."""
    addresses = {"REDIS": "redis://127.0.0.1:1", "DATABASE": "postgresql://127.0.0.1:1/chat"}
    keys = [f"--from-literal=BBGRAM_{name}_URL={address}" for name, address in addresses.items()]
    walk.run(f"kubectl -n chat create secret generic wrong {' '.join(keys)}")
    values = "-f values.yaml --set existingSecret=wrong,migrate.backoffLimit=0"
    walk.run(f"helm -n chat install wrong {CHART} {values} --wait", ok=False)
    assert "No resources found" in walk.run("kubectl -n chat get deployments")
    assert any("127.0.0.1:1" in log for log in migrations(walk)), "the migration has not said why"
    walk.run("helm -n chat uninstall wrong && kubectl -n chat delete job --all")


def migrations(walk: Walk) -> list[str]:
    """Return what the migrations have printed."""
    label = "app.kubernetes.io/component"
    return [pod.log() for pod in walk.kubelet.pods.values() if pod.labels.get(label) == "migrate"]


def check_order(walk: Walk, commands: list[str]) -> None:
    """The three steps of an upgrade; the last one is refused before the others."""
    stop, gone, workers, edges = commands
    assert "replaces workers before edges" in walk.run(edges, ok=False)
    old = ("0.2.0", 1)
    new = ("0.2.1", 1)
    walk.run(stop)
    walk.run(gone)
    walk.expect(edge=old, worker=("", 0), functions=("", 0), beat=("", 0))
    assert "replaces workers before edges" in walk.run(edges, ok=False)
    walk.run(workers)
    walk.expect(edge=old, worker=new, functions=new, beat=new)
    walk.run(edges)
    walk.expect(edge=new, worker=new, functions=new, beat=new)
    later = edges.replace("0.2.1", "0.2.2 --set rollout.order=edges-first")
    assert "replaces edges before workers" in walk.run(later, ok=False)


def check_examples(walk: Walk) -> None:
    """The API server takes every file of values, with strict validation, and knows all kinds."""
    walk.run(f"kubectl apply --server-side -f {_CRDS} && kubectl wait --for=condition=Established crd --all")
    walk.run("kubectl label namespace chat pod-security.kubernetes.io/warn=restricted")
    for values in sorted(VALUES.glob("*.yaml")):
        made = f"helm template talk {CHART} -n chat -f {values}"
        checked = f"{made} | kubectl apply --dry-run=server --validate=strict -n chat -f -"
        assert "Warning" not in walk.run(checked)


def check_autoscaled(walk: Walk, commands: list[str]) -> None:
    """What an autoscaler has decided stays, and nothing conflicts with it; `scale` stands in for KEDA."""
    scaled = " --set worker.autoscaling.enabled=true"
    stop, _, start, upgrade = (command + scaled for command in commands)
    one = ("0.2.1", 1)
    walk.run(upgrade)
    for step, workers in ((upgrade, 4), (stop, 0)):
        walk.run(f"kubectl -n chat scale deployment bbgram-chat-worker --replicas={workers}")
        walk.run(step)
        others = one if workers else ("", 0)
        walk.expect(edge=one, worker=("0.2.1", workers), functions=others, beat=others)
    walk.run(start)
    walk.run("kubectl -n chat scale deployment bbgram-chat-worker --replicas=2")
    walk.run("kubectl -n chat rollout status deployment bbgram-chat-worker")
    walk.run(upgrade)
    walk.expect(edge=one, worker=("0.2.1", 2), functions=one, beat=one)


def zones(walk: Walk) -> int:
    """Return in how many zones the workers are."""
    pods = walk.cluster.items("/api/v1/pods", labelSelector="app.kubernetes.io/component=worker")
    return len({pod["spec"]["nodeName"] for pod in pods})
