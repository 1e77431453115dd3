"""`make cluster`: follows "Kubernetes" in docs/deployment.md on a real control plane.

Its pods are processes of this machine. Exits with 1 and the logs of the pods when a command fails, or leaves
the wrong things running.
"""

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet import Kubelet
from tests.cluster.steps import follow
from tests.cluster.walk import Walk
from tests.harness.engines import Engines
from tests.harness.helm import ROOT, program

Part = TypeVar("Part", Engines, ControlPlane, Kubelet)


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
