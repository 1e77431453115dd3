"""The Dockerfile and compose.yaml, as far as they can be checked without Docker."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cli.main import main
from infra.settings.unknown import unknown_variables

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "infra" / "deploy" / "docker"
ROLES = ("edge", "worker", "functions", "beat", "migrate", "tools")
ONCE = {"migrate", "tools", "doctor"}
"""They end by themselves, so nothing asks whether they hang."""
TAG = re.compile(r"[\w./-]+:v?\d[\w.-]*")


@dataclass
class Stage:
    """A stage of the Dockerfile."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """Return the words after the last such instruction, here or in the stage that this one extends."""
        own = [words for name, words in self.steps if name == instruction]
        if own:
            return own[-1]
        return STAGES[self.base].last(instruction) if self.base in STAGES else ""


def stages() -> dict[str, Stage]:
    text = "\n".join(
        line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#")
    )
    found: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        instruction, _, words = line.partition(" ")
        match instruction:
            case "":
                continue
            case "ARG":
                name, _, value = words.partition("=")
                arguments[name] = value
            case "FROM":
                base, _, name = words.partition(" AS ")
                for argument, value in arguments.items():
                    base = base.replace(f"${{{argument}}}", value)
                found[name] = Stage(base)
            case _:
                [*found.values()][-1].steps.append((instruction, words.strip()))
    return found


STAGES = stages()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("bbgram-chat-")}


def copied() -> Iterator[tuple[str, str]]:
    """Yield the options and sources of each COPY."""
    for stage in STAGES.values():
        for instruction, words in stage.steps:
            if instruction == "COPY":
                *sources, _ = words.split()
                yield from ((words, source) for source in sources if not source.startswith("--"))


def test_whatever_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = {
        line.removeprefix("!")
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for words, source in copied():
        if words.startswith("--from="):
            assert words.removeprefix("--from=").split()[0] in STAGES
        else:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in sent, source
    assert all((ROOT / path).exists() for path in sent)


def test_every_stage_begins_with_another_one_or_with_an_image_of_a_fixed_version() -> None:
    for stage in STAGES.values():
        assert stage.base in STAGES or TAG.fullmatch(stage.base), stage.base


@pytest.mark.parametrize("role", ROLES)
def test_an_image_of_a_role_runs_its_command_as_somebody_else_than_root(role: str) -> None:
    stage = STAGES[role]
    assert stage.last("USER") == "10001:10001"
    assert json.loads(stage.last("ENTRYPOINT")) == ["bbgram"]
    assert json.loads(stage.last("CMD"))[0] in main.commands
    assert (stage.last("HEALTHCHECK") == "NONE") is (role in ONCE)


def test_the_health_check_is_copied_and_asks_a_port_that_is_set() -> None:
    checks = [STAGES[role].last("HEALTHCHECK") for role in ROLES if role not in ONCE]
    for check in checks:
        _, script, variable = json.loads(check.partition(" CMD ")[2])
        assert any(words.endswith(script) for words, _ in copied())
        assert f"{variable}=" in str(STAGES)


def test_everything_is_installed_by_its_hash() -> None:
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text()
        assert not re.search(r"^--?\w|://", re.sub(r"^ +#.*", "", text, flags=re.MULTILINE), re.MULTILINE)
        pins = re.findall(r"^\S+==.*(?:\n .*)*", text, re.MULTILINE)
        assert pins
        assert all("--hash=sha256:" in pin for pin in pins), path
    for stage in STAGES.values():
        for instruction, words in stage.steps:
            for command in words.split("&&") if instruction == "RUN" else ():
                if "-r requirements" in command:
                    assert "--require-hashes" in command
                elif " install " in command and "pip" in command:
                    assert "--no-index" in shlex.split(command)


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "example.env"])
def test_every_variable_is_a_setting(file: str) -> None:
    names = set(re.findall(r"\bBBGRAM_[A-Z_]+\b", (DOCKER / file).read_text()))
    assert [*unknown_variables(dict.fromkeys(names, "x"))] == []


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_built_from_a_target_and_may_do_nothing_special(name: str) -> None:
    service = OURS[name]
    role = service["image"].removeprefix("bbgram-chat-")
    assert role in ROLES
    if name != "doctor":
        assert service["build"]["target"] == role
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert (DOCKER / service["build"]["context"]).resolve() == ROOT
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_fixed_version_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    if name not in OURS:
        assert TAG.fullmatch(service["image"]), service["image"]
    of_image = (
        STAGES[service["image"].removeprefix("bbgram-chat-")].last("HEALTHCHECK") if name in OURS else ""
    )
    assert "healthcheck" in service or of_image.startswith("--") or name in ONCE


def test_only_this_machine_reaches_the_published_ports() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_files_that_services_mount_exist() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    for source in (mount.split(":")[0] for mount in mounts):
        assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_the_variables_that_must_be_set_are_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert needed == set(re.findall(r"^(\w+)=$", (DOCKER / "example.env").read_text(), re.MULTILINE))
    optional = set(re.findall(r"\$\{(\w+):-", (DOCKER / "compose.yaml").read_text())) - {"LOG_LEVEL"}
    assert optional == set(re.findall(r"^#(\w+)=", (DOCKER / "example.env").read_text(), re.MULTILINE))


def test_the_addresses_in_the_files_beside_it_are_those_of_services() -> None:
    (scraped,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    targets = {tuple(target.split(":")) for target in scraped["static_configs"][0]["targets"]}
    serving = {name for name, service in OURS.items() if name not in ONCE and name != "signin"}
    assert targets == {(name, "9464") for name in serving}
    assert "BBGRAM_METRICS_PORT=9464" in STAGES["runtime"].last("ENV")
    nginx = (DOCKER / "nginx.conf").read_text()
    hosts = set(re.findall(r"^\s+server ([\w-]+):3000;|proxy_pass http://(signin):", nginx, re.MULTILINE))
    assert {edge or other for edge, other in hosts} == {"edge-1", "edge-2", "signin"} <= set(SERVICES)


def test_the_network_that_edges_trust_is_theirs() -> None:
    (pool,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert SERVICES["edge-1"]["environment"]["FORWARDED_ALLOW_IPS"] == pool["subnet"]


def test_no_password_is_in_the_repository() -> None:
    assert not re.search(r"PASSWORD[\w]*[=:] *[^\s$].*", (DOCKER / "example.env").read_text())
    assert ".env" in (ROOT / ".gitignore").read_text().split(os.linesep)
