"""An AWS account in this process (moto), and the Lambda handlers as their host calls them."""

import fcntl
import io
import json
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch
from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS
from moto import mock_aws

from functions import aws
from functions.aws_logs import logger

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "build" / "package"
SOURCES = (
    "serverless.yml",
    "requirements-functions.txt",
    "infra/deploy/aws/*.*",
    "functions/**/*.py",
    "infra/*.py",
    "infra/store/*.py",
    "infra/wire/*.py",
)


@dataclass(frozen=True)
class LambdaContext:
    """What Lambda hands to a handler next to the event."""

    function_name: str = "function"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id: str = "a-request"


@dataclass
class Output:
    """What the handlers have written."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        """All of it."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line, which must be JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events of that name."""
        return [line for line in self.lines if line.get("message") == name]

    def metric(self, name: str) -> float:
        """Return the sum of a metric over all invocations."""
        return sum(sum(line[name]) for line in self.lines if "_aws" in line and name in line)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Be in an empty AWS account, with no settings but those that the test makes."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BBGRAM_", "POWERTOOLS_"))]:
        monkeypatch.delenv(name)
    # Else a local stack in this folder would lend its settings.
    monkeypatch.setenv("BBGRAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    DEFAULT_PROVIDERS.clear()
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


@pytest.fixture
def output(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """Start a process of Lambda, so to say, and catch what it writes."""
    output = Output()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = logger.registered_handler.setStream(output.stream)  # type: ignore[attr-defined]
    monkeypatch.setattr(cloudwatch, "print", partial(print, file=output.stream), raising=False)
    yield output
    if aws._context.cache_info().currsize:
        aws._forget(aws._context())
    logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def packaged() -> Path:
    """Return the folder with the packaged templates, made anew if something of theirs has changed."""
    template = PACKAGE / "cloudformation-template-update-stack.json"
    sources = [path.stat().st_mtime for pattern in SOURCES for path in ROOT.glob(pattern)]
    with (ROOT / "serverless.yml").open() as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not template.exists() or template.stat().st_mtime < max(sources):
            made = subprocess.run(["make", "package"], cwd=ROOT, capture_output=True, text=True)
            assert made.returncode == 0, made.stdout + made.stderr
    return PACKAGE


@pytest.fixture(scope="session")
def template(packaged: Path) -> dict[str, Any]:
    """Return the packaged CloudFormation template."""
    loaded: dict[str, Any] = json.loads((packaged / "cloudformation-template-update-stack.json").read_text())
    return loaded
