"""A pod, whose container is a process of this machine."""

import base64
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from infra.local.tether import tether
from tests.cluster.control_plane import ControlPlane, Object
from tests.harness.engines import free_port
from tests.harness.stack import clean_env

ROOT: Final = Path(__file__).parents[2]
_PORT_SETTINGS: Final = {"http": "BBGRAM_PORT", "metrics": "BBGRAM_METRICS_PORT"}
_HOST_SETTINGS: Final = ("BBGRAM_HOST", "BBGRAM_METRICS_HOST")
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")


class Pod:
    """A pod that was scheduled, and the process that is its container."""

    def __init__(
        self, cluster: ControlPlane, manifest: Object, folder: Path, services: dict[str, str]
    ) -> None:
        self.name: str = manifest["metadata"]["name"]
        self.path = f"/api/v1/namespaces/{manifest['metadata']['namespace']}/pods/{self.name}"
        self.labels: dict[str, str] = manifest["metadata"].get("labels", {})
        (self._container,) = manifest["spec"]["containers"]
        self.image: str = self._container["image"]
        self._cluster = cluster
        self._namespace = manifest["metadata"]["namespace"]
        self.ports = {port["name"]: free_port() for port in self._container.get("ports", [])}
        self._folder: Path = folder / self.name
        self._folder.mkdir(parents=True)
        self._since = now()
        self._ready: bool | None = None
        self.process = self._start(services)

    def stop(self) -> None:
        """Ask the process to stop."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def report(self) -> None:
        """Tell the API server if something has changed."""
        ended = self.process.poll()
        ready = ended is None and self._answers()
        if (ended is not None and self._ready is None) or ready != self._ready:
            self._since = now()
            self._cluster.patch(f"{self.path}/status", {"status": self._status(ended, ready)})
        self._ready = ready

    def _status(self, ended: int | None, ready: bool) -> Object:
        state: Object = {"running": {"startedAt": self._since}}
        if ended is not None:
            state = {"terminated": {"exitCode": ended, "finishedAt": self._since, "startedAt": self._since}}
        phase = "Running" if ended is None else "Failed" if ended else "Succeeded"
        kinds = {"Ready": ready, "ContainersReady": ready, "Initialized": True, "PodScheduled": True}
        conditions = [
            {"type": kind, "status": str(value), "lastTransitionTime": self._since}
            for kind, value in kinds.items()
        ]
        container = {
            "name": self._container["name"],
            "ready": ready,
            "restartCount": 0,
            "state": state,
            "image": self.image,
            "imageID": self.image,
        }
        return {
            "phase": phase,
            "podIP": "127.0.0.1",
            "startTime": self._since,
            "conditions": conditions,
            "containerStatuses": [container],
        }

    def _answers(self) -> bool:
        """Ask every probe."""
        probes = [self._container[kind]["httpGet"] for kind in _PROBES if kind in self._container]
        return all(
            self._is_ok(f"http://127.0.0.1:{self.ports[probe['port']]}{probe['path']}") for probe in probes
        )

    def _is_ok(self, url: str) -> bool:
        try:
            return httpx.get(url, timeout=2).status_code < 400
        except httpx.HTTPError:
            return False

    def _start(self, services: dict[str, str]) -> subprocess.Popen[bytes]:
        argv = [self._here(word, services) for word in self._container["command"]]
        program = {"bbgram": [sys.executable, "-m", "infra.cli"], "python": [sys.executable]}[argv[0]]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                tether([*program, *argv[1:]]),
                env=clean_env(self._environment()),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _here(self, word: str, services: dict[str, str]) -> str:
        """Replace the addresses of Services, for there is no DNS."""
        for service, address in services.items():
            word = word.replace(service, address)
        return word

    def _environment(self) -> dict[str, str]:
        found = {}
        for variable in self._container.get("env", []):
            value = variable.get("value")
            if "valueFrom" in variable:
                value = self._secret(**variable["valueFrom"]["secretKeyRef"])
            if value is not None:
                found[variable["name"]] = value
        found |= {_PORT_SETTINGS[name]: str(port) for name, port in self.ports.items()}
        found |= {name: "127.0.0.1" for name in _HOST_SETTINGS if name in found}
        if "BBGRAM_DATA_DIR" in found:
            found["BBGRAM_DATA_DIR"] = str(self._folder)
        return {**found, "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")}

    def _secret(self, name: str, key: str, optional: bool = False) -> str | None:
        answer = self._cluster.http.get(f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        data: dict[str, str] = answer.raise_for_status().json().get("data", {})
        assert optional or key in data, f"the Secret {name} has no {key}"
        return base64.b64decode(data[key]).decode() if key in data else None

    def log(self) -> str:
        """Return what the process has printed."""
        return (self._folder / "log").read_text()


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
