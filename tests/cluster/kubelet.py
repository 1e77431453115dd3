"""Stands in for the kubelets: runs the command of each pod as a process here, and asks its probes.

There are no images, networks or volumes. The ports of a pod become free ports of the loopback interface,
and the pause before a container stops is left out.
"""

import threading
from pathlib import Path
from typing import Final

from tests.cluster.control_plane import ControlPlane
from tests.cluster.pod import Pod

_PAUSE_S: Final = 0.2


class Kubelet:
    """Runs all pods of the cluster."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet")
        self.pods: dict[str, Pod] = {}
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop all pods."""
        self._over.set()
        self._thread.join()
        for pod in self.pods.values():
            pod.stop()
        for pod in self.pods.values():
            pod.process.wait()

    def running(self, role: str) -> list[Pod]:
        """Return the pods of a role that run."""
        return [
            pod
            for pod in list(self.pods.values())
            if pod.labels.get("app.kubernetes.io/component") == role and pod.process.poll() is None
        ]

    def _run(self) -> None:
        try:
            while not self._over.wait(_PAUSE_S):
                self._look()
        except Exception as error:
            self.error = error
            raise

    def _look(self) -> None:
        """Start what was scheduled, stop what was deleted, and report."""
        manifests = {one["metadata"]["uid"]: one for one in self._cluster.items("/api/v1/pods")}
        for uid in set(self.pods) - set(manifests):
            self.pods.pop(uid).stop()
        for uid, manifest in manifests.items():
            if uid not in self.pods:
                if manifest["spec"].get("nodeName") and not manifest["metadata"].get("deletionTimestamp"):
                    self.pods[uid] = Pod(self._cluster, manifest, self._folder, self._services())
                continue
            pod = self.pods[uid]
            if manifest["metadata"].get("deletionTimestamp"):
                pod.stop()
                if pod.process.poll() is not None:
                    self._cluster.http.delete(pod.path, params={"gracePeriodSeconds": 0})
            else:
                pod.report()

    def _services(self) -> dict[str, str]:
        """Return the address of an edge for each Service, as pods write it: name and port."""
        edges = self.running("edge")
        if not edges:
            return {}
        address = f"127.0.0.1:{edges[0].ports['http']}"
        found = [(one["metadata"], one["spec"]) for one in self._cluster.items("/api/v1/services")]
        return {f"{metadata['name']}:{spec['ports'][0]['port']}": address for metadata, spec in found}
