"""The commands of the page, run one after another, and what runs after each."""

import re
import subprocess
from pathlib import Path
from typing import Final

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet import Kubelet
from tests.cluster.pod import Pod
from tests.harness.helm import ROOT
from tests.harness.waiting import eventually

ROLES: Final = ("edge", "worker", "functions", "beat")
_COMMANDS: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
