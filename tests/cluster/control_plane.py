"""A Kubernetes control plane on this machine: etcd, API server, controller manager, scheduler."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.local.tether import tether
from tests.harness.engines import free_port
from tests.harness.waiting import eventually

Object = dict[str, Any]
_TOKEN: Final = "administrator"
_ZONES: Final = ("a", "b", "c")
_START_S: Final = 120.0


class ControlPlane:
    """Starts all parts; objects are read and changed with its HTTP client."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self.url = f"https://127.0.0.1:{free_port()}"
        self.kubeconfig = folder / "kubeconfig"
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        self.http = httpx.Client(base_url=self.url, headers=headers, verify=False, timeout=30)

    def start(self) -> None:
        """Start the parts, and make three nodes in three zones."""
        self._write_files()
        self._start_etcd()
        self._start_apiserver()
        eventually(self._is_ready, "the API server is ready", _START_S, pause_s=0.5)
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--service-account-private-key-file={self._folder}/accounts.key",
            "--controllers=*,-node-lifecycle-controller",
            "--concurrent-deployment-syncs=2",
        )
        self._start(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"
        )
        for zone in _ZONES:
            self._make_node(zone)

    def stop(self) -> None:
        """Stop the parts, the last one first."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait()

    def items(self, path: str, **selector: str) -> list[Object]:
        """Return the objects of a collection."""
        answer = self.http.get(path, params=selector).raise_for_status()
        found: list[Object] = answer.json()["items"]
        return found

    def patch(self, path: str, change: Object) -> None:
        """Change an object, if it is still there."""
        content = {"Content-Type": "application/strategic-merge-patch+json"}
        answer = self.http.patch(path, content=json.dumps(change), headers=content)
        if answer.status_code not in {404, 409}:
            answer.raise_for_status()

    def _start(self, part: str, *flags: str) -> None:
        with (self._folder / f"{part}.log").open("wb") as log:
            argv = tether([str(self._program), part, *flags])
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT))

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{free_port()}"
        self._start(
            "etcd",
            f"--data-dir={self._folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )

    def _start_apiserver(self) -> None:
        keys = f"{self._folder}/accounts.key"
        self._start(
            "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--cert-dir={self._folder}/certificates",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._folder}/tokens.csv",
            "--service-account-issuer=https://cluster.invalid",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
        )

    def _write_files(self) -> None:
        (self._folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        key = ec.generate_private_key(ec.SECP256R1())
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        (self._folder / "accounts.key").write_bytes(key.private_bytes(*pem, serialization.NoEncryption()))
        named = {"cluster": {"server": self.url, "insecure-skip-tls-verify": True}, "user": {"token": _TOKEN}}
        context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "contexts": [context]}
        config |= {f"{kind}s": [{"name": "here", kind: value}] for kind, value in named.items()}
        self.kubeconfig.write_text(json.dumps(config))

    def _make_node(self, zone: str) -> None:
        name = f"node-{zone}"
        labels = {
            "topology.kubernetes.io/zone": zone,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        self.http.post("/api/v1/nodes", json=node).raise_for_status()
        room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True"}
        self.patch(
            f"/api/v1/nodes/{name}/status",
            {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}},
        )
        self.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.http.get("/readyz").status_code == 200
        return False
