"""The commands of docs/deployment.md, from one server to AWS, name files, units and images that exist."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text()
PATH = PAGE.partition("\n## One server\n")[2].partition("\n## Settings\n")[0]
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", PATH, re.DOTALL))
UNITS = ROOT / "infra" / "deploy" / "systemd"
DOCKERFILE = (ROOT / "infra" / "deploy" / "docker" / "Dockerfile").read_text()


def test_the_files_that_commands_name_exist() -> None:
    files = set(re.findall(r"(?:infra/[\w./@*-]+|requirements-\w+\.txt)", COMMANDS))
    made = {"infra/deploy/docker/.env"}
    assert len(files) > 8
    assert not [file for file in files - made if not [*ROOT.glob(file)]]


def test_the_units_that_commands_name_exist() -> None:
    named = set(re.findall(r"(?<![\w./-])bbgram-[a-z]+(?:@\d)?(?![\w@*./-])", PATH))
    images = {f"bbgram-chat-{role}" for role in re.findall(r" AS (\w+)$", DOCKERFILE, re.MULTILINE)}
    units = {re.sub(r"@\d", "@", name) for name in named - images - {"bbgram-chat"}}
    assert len(units) == 5
    assert not [unit for unit in units if not (UNITS / f"{unit}.service").exists()]


def test_all_images_are_built() -> None:
    (roles,) = re.findall(r"^for role in ([\w ]+); do$", COMMANDS, re.MULTILINE)
    final = {name for name in re.findall(r" AS ([\w-]+)$", DOCKERFILE, re.MULTILINE) if "-" not in name}
    assert {*roles.split()} == final - {"python", "build", "runtime"}


@pytest.mark.parametrize("line", [line for line in COMMANDS.splitlines() if "pip install" in line])
def test_packages_are_installed_by_their_hashes(line: str) -> None:
    words = shlex.split(line)
    assert "--require-hashes" in words or "--no-deps" in words
    assert "-r" not in words or "--require-hashes" in words


def test_every_step_between_servers_has_a_heading() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert headings[:5] == ["One server", "Several servers", "Containers", "Kubernetes", "AWS"]
