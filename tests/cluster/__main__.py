"""`make cluster`: follows "Kubernetes" in docs/deployment.md on a real control plane.

Its pods are processes of this machine. Exits with 1 and the logs of the pods when a command fails, or leaves
the wrong things running.
"""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet import Kubelet
from tests.cluster.pod import Pod
from tests.harness.engines import Engines
from tests.harness.helm import CHART, ROOT, VALUES, program
from tests.harness.waiting import eventually

CRDS: Final = ROOT / "tests/integration/deploy/crds"
_COMMANDS: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROLES: Final = ("edge", "worker", "functions", "beat")


Part = TypeVar("Part", Engines, ControlPlane, Kubelet)


class Walk:
    """The commands of the page, one after another, and what must be true after each."""

    def __init__(self, cluster: ControlPlane, kubelet: Kubelet, env: dict[str, str], folder: Path) -> None:
        self.cluster = cluster
        self.kubelet = kubelet
        self._env = env
        self._folder = folder

    def run(self, command: str, *, ok: bool = True) -> str:
        """Run a command of a shell and return what it printed."""
        print(f"$ {command}", flush=True)
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            shell, env=self._env, cwd=self._folder, capture_output=True, text=True, timeout=600
        )
        assert (done.returncode == 0) == ok, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def expect(self, **images: tuple[str, int]) -> None:
        """Assert the tag and the number of the pods that run of each role."""
        wanted = {role: [tag] * count for role, (tag, count) in images.items()}
        eventually(
            lambda: self._running() == wanted, f"{wanted}, but it is {self._running()}", 60, pause_s=0.5
        )
        print(f"  {wanted}", flush=True)

    def _running(self) -> dict[str, list[str]]:
        return {role: [tag(pod) for pod in self.kubelet.running(role)] for role in ROLES}


def tag(pod: Pod) -> str:
    """Return the tag of the image that the pod would have."""
    return pod.image.rpartition(":")[2]


def page() -> list[str]:
    """Return the commands of the page."""
    text = (ROOT / "docs/deployment.md").read_text()
    section = text.partition("\n## Kubernetes\n")[2].partition("\n## ")[0]
    blocks = _COMMANDS.findall(section)
    return [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]


def install(walk: Walk, commands: list[str]) -> None:
    """Namespace, Secret, values, installation, test."""
    for command in commands:
        printed = walk.run(command)
        if " install " in command:
            assert any("up to date" in log for log in migrations(walk)), (
                "the migration has not said that it is done"
            )
            walk.expect(edge=("0.1.0", 1), worker=("0.1.0", 1), functions=("0.1.0", 1), beat=("0.1.0", 1))
        if " test " in command:
            assert "Succeeded" in printed, printed


def migrations(walk: Walk) -> list[str]:
    """Return what the migrations have printed."""
    label = "app.kubernetes.io/component"
    return [pod.log() for pod in walk.kubelet.pods.values() if pod.labels.get(label) == "migrate"]


def check_order(walk: Walk, commands: list[str]) -> None:
    """The three steps of an upgrade; the last one is refused before the others."""
    stop, gone, workers, edges = commands
    assert "replaces workers before edges" in walk.run(edges, ok=False)
    old = ("0.1.0", 1)
    new = ("0.1.1", 1)
    walk.run(stop)
    walk.run(gone)
    walk.expect(edge=old, worker=("", 0), functions=("", 0), beat=("", 0))
    assert "replaces workers before edges" in walk.run(edges, ok=False)
    walk.run(workers)
    walk.expect(edge=old, worker=new, functions=new, beat=new)
    walk.run(edges)
    walk.expect(edge=new, worker=new, functions=new, beat=new)
    later = edges.replace("0.1.1", "0.1.2 --set rollout.order=edges-first")
    assert "replaces edges before workers" in walk.run(later, ok=False)


def check_examples(walk: Walk) -> None:
    """The API server takes every file of values, with strict validation, and knows all kinds."""
    walk.run(f"kubectl apply --server-side -f {CRDS} && kubectl wait --for=condition=Established crd --all")
    walk.run("kubectl label namespace chat pod-security.kubernetes.io/warn=restricted")
    for values in sorted(VALUES.glob("*.yaml")):
        made = f"helm template talk {CHART} -n chat -f {values}"
        checked = f"{made} | kubectl apply --dry-run=server --validate=strict -n chat -f -"
        assert "Warning" not in walk.run(checked)


def check_autoscaled(walk: Walk, commands: list[str]) -> None:
    """What an autoscaler has decided stays, and nothing conflicts with it; `scale` stands in for KEDA."""
    scaled = " --set worker.autoscaling.enabled=true"
    stop, _, start, upgrade = (command + scaled for command in commands)
    one = ("0.1.1", 1)
    walk.run(upgrade)
    for step, workers in ((upgrade, 4), (stop, 0)):
        walk.run(f"kubectl -n chat scale deployment bbgram-chat-worker --replicas={workers}")
        walk.run(step)
        others = one if workers else ("", 0)
        walk.expect(edge=one, worker=("0.1.1", workers), functions=others, beat=others)
    walk.run(start)
    walk.run("kubectl -n chat scale deployment bbgram-chat-worker --replicas=2")
    walk.run("kubectl -n chat rollout status deployment bbgram-chat-worker")
    walk.run(upgrade)
    walk.expect(edge=one, worker=("0.1.1", 2), functions=one, beat=one)


def main() -> int:
    """Walk through the page."""
    built = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres of root runs as another user
        engines = started(stack, Engines(folder / "engines"))
        cluster = started(stack, ControlPlane(built, folder))
        kubelet = started(stack, Kubelet(cluster, folder / "pods"))
        walk = Walk(cluster, kubelet, environment(cluster, engines), workplace(folder))
        try:
            follow(walk)
        except AssertionError as error:
            print(f"\n{error}\n", file=sys.stderr)
            for pod in kubelet.pods.values():
                print(f"--- {pod.name}\n{pod.log()[-3000:]}", file=sys.stderr)
            print(walk.run("kubectl get all,events -A -o wide", ok=True), file=sys.stderr)
            return 1
    print("the chart does what the page says")
    return 0


def follow(walk: Walk) -> None:
    """Run the commands of the page and look at what they leave."""
    commands = page()
    upgrades = [command for command in commands if "imageTag" in command or "wait --for" in command]
    first = commands.index(next(command for command in commands if "worker.replicas=2" in command))
    install(walk, commands[:first])
    walk.run(commands[first])
    walk.expect(edge=("0.1.0", 1), worker=("0.1.0", 2), functions=("0.1.0", 1), beat=("0.1.0", 1))
    assert zones(walk) == 2, "the workers are in one zone"
    check_order(walk, upgrades)
    check_examples(walk)
    check_autoscaled(walk, upgrades)
    walk.run(commands[-1])
    walk.expect(edge=("", 0), worker=("", 0), functions=("", 0), beat=("", 0))


def zones(walk: Walk) -> int:
    """Return in how many zones the workers are."""
    pods = walk.cluster.items("/api/v1/pods", labelSelector="app.kubernetes.io/component=worker")
    return len({pod["spec"]["nodeName"] for pod in pods})


def started(stack: ExitStack, part: Part) -> Part:
    """Start a part, and stop it at the end."""
    stack.callback(part.stop)
    part.start()
    return part


def environment(cluster: ControlPlane, engines: Engines) -> dict[str, str]:
    """Return the variables of the shell: programs, cluster, and the addresses of Redis and Postgres."""
    store = engines.new_store(migrated=False)
    path = os.pathsep.join([str(Path(program("helm")).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": path,
        "HOME": str(cluster.kubeconfig.parent),
        "KUBECONFIG": str(cluster.kubeconfig),
        "REDIS_URL": store.redis_url,
        "DATABASE_URL": store.database_url,
    }


def workplace(folder: Path) -> Path:
    """Return a folder that looks like the root of the repository to the commands of the page."""
    (folder / "work").mkdir()
    (folder / "work" / "infra").symlink_to(ROOT / "infra")
    return folder / "work"


if __name__ == "__main__":
    sys.exit(main())
