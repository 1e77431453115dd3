"""A real Prometheus with our rules, which scrapes the processes of a test."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from infra.local.tether import tether
from tests.harness.engines import free_port
from tests.harness.promtool import RULE_FILES, RULES, program
from tests.harness.waiting import eventually

Sample = dict[str, Any]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False)

    def is_ready(self) -> bool:
        """Tell whether it answers queries."""
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expr: str) -> list[Sample]:
        """Return what a query returns now; fail if it is wrong, or if its result is no vector."""
        answer = self._http.get("/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer['error']}"
        assert not answer.get("warnings"), f"{expr}: {answer['warnings']}"
        assert answer["data"]["resultType"] == "vector", expr
        found: list[Sample] = answer["data"]["result"]
        return found

    def broken_rules(self) -> dict[str, str]:
        """Return the error of each rule whose evaluation failed."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"}

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()


@contextmanager
def prometheus(targets: Iterable[int], folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus as the example configures it, on these ports, each second."""
    folder.mkdir()
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(path) for path in RULE_FILES]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(tether(command), stdout=log, stderr=log)
    server = Prometheus(port)
    try:
        eventually(lambda: process.poll() is not None or server.is_ready(), "Prometheus is ready")
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        server.close()
        process.terminate()
        process.wait(10)
