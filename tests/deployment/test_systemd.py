"""The units for systemd are valid, may do little, and run commands that exist with settings that exist."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli.main import _Misconfigured, main
from infra.settings.edge import EdgeSettings
from infra.settings.unknown import unknown_variables
from infra.settings.worker import WorkerSettings

UNITS = Path(__file__).parents[2] / "infra" / "deploy" / "systemd"
DROP_IN = UNITS / "bbgram-.service.d" / "bbgram.conf"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
EXPOSURE = 3.0
"""The highest that `systemd-analyze security` may find; 10 is no protection at all."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server on which docs/deployment.md was followed, as far as systemd looks at it."""
    root = tmp_path_factory.mktemp("server")
    shutil.copytree(UNITS, root / "etc" / "systemd" / "system")
    shutil.copytree("/usr/lib/systemd/system", root / "usr" / "lib" / "systemd" / "system", symlinks=True)
    program = root / "opt" / "bbgram" / "bin" / "bbgram"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    return root


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install it with `apt-get install systemd`, as .ci/run does"
    return subprocess.run([program, *words], capture_output=True, text=True)


def instance(unit: str) -> str:
    return unit.replace("@.", "@1.")


@pytest.mark.parametrize("unit", [*SERVICES, "bbgram.target"])
def test_a_unit_is_valid(root: Path, unit: str) -> None:
    checked = analyze("verify", "--man=no", f"--root={root}", instance(unit))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_mistake_in_a_unit_would_be_found(root: Path, tmp_path: Path) -> None:
    broken = tmp_path / "root"
    shutil.copytree(root, broken, symlinks=True)
    unit = broken / "etc" / "systemd" / "system" / "bbgram-beat.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStrat="))
    assert analyze("verify", "--man=no", f"--root={broken}", unit.name).returncode == 1


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_may_do_little(root: Path, unit: str) -> None:
    checked = analyze(
        "security",
        "--no-pager",
        "--offline=true",
        f"--root={root}",
        f"--threshold={EXPOSURE * 10:.0f}",
        instance(unit),
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_runs_a_command_that_exists(unit: str) -> None:
    (command,) = re.findall(r"^ExecStart=/opt/bbgram/bin/bbgram (\S+)", text(unit), re.MULTILINE)
    assert command in main.commands


@pytest.mark.parametrize("unit", sorted({*SERVICES} - {"bbgram-migrate.service"}))
def test_a_service_is_part_of_the_whole_and_starts_again(unit: str) -> None:
    assert {"PartOf=bbgram.target", "WantedBy=bbgram.target", "Restart=always"} <= {*text(unit).splitlines()}


def test_a_service_with_wrong_settings_is_not_started_again_and_again() -> None:
    assert f"\nRestartPreventExitStatus={_Misconfigured.exit_code}\n" in DROP_IN.read_text()


def test_every_variable_is_a_setting() -> None:
    for path in (*UNITS.glob("*.*"), DROP_IN):
        if path.is_file():
            names = set(re.findall(r"\bBBGRAM_[A-Z_]+\b", path.read_text()))
            assert [*unknown_variables(dict.fromkeys(names, "x"))] == [], path


def test_the_example_has_all_settings_that_are_required() -> None:
    required = {
        f"BBGRAM_{name.upper()}"
        for settings in (EdgeSettings, WorkerSettings)
        for name, field in settings.model_fields.items()
        if field.is_required()
    }
    assert required <= set(re.findall(r"^(\w+)=", text("bbgram.env"), re.MULTILINE))


def ports() -> Iterator[str]:
    """Yield the ports of all services, with as many instances as the comments allow."""
    for unit in SERVICES:
        last = re.search(r"up to (\d)", text(unit))
        for number in range(1, int(last[1]) + 1) if last else (1,):
            found = re.findall(r"BBGRAM_(?:METRICS_)?PORT=([\d%i]+)", text(unit))
            yield from (port.replace("%i", str(number)) for port in found)


def test_each_service_has_ports_of_its_own() -> None:
    found = [*ports()]
    assert len(found) == len(set(found)) == 2 * 9 + 8 + 2


def text(name: str) -> str:
    return (UNITS / name).read_text()
