"""The Lambda handlers, called as Lambda calls them, and the packaged stack."""

import fcntl
import io
import json
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import structlog
from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch
from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS

from functions.aws import handlers
from functions.aws.logs import logger
from tests.integration.aws.stack import DATABASE, REDIS, Create, Stack, code_key, some_zip

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
    """What Lambda passes to a handler together with the event."""

    function_name: str = "function"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id: str = "a-request"


@dataclass
class Output:
    """What the handlers wrote."""

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
def output(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """Simulate a fresh Lambda process and capture what it writes."""
    DEFAULT_PROVIDERS.clear()
    output = Output()
    root = logging.getLogger()
    root_handlers, level = root.handlers, root.level
    stream = logger.registered_handler.setStream(output.stream)  # type: ignore[attr-defined]
    monkeypatch.setattr(cloudwatch, "print", partial(print, file=output.stream), raising=False)
    configure = structlog.configure
    # Loggers of modules that other tests capture must not keep what they are told here.
    monkeypatch.setattr(
        structlog, "configure", lambda **how: configure(**{**how, "cache_logger_on_first_use": False})
    )
    yield output
    if handlers._context.cache_info().currsize:
        handlers._discard(handlers._context())
    logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    root.handlers, root.level = root_handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def packaged() -> Path:
    """Return the folder with the packaged templates. Package again if their sources have changed."""
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


@pytest.fixture
def create(account: None, packaged: Path) -> Create:
    """Return a function that deploys a stack as osls does, with bucket and code."""

    def create(**parameters: str) -> Stack:
        client = boto3.client("cloudformation")
        client.create_stack(
            StackName="chat",
            TemplateBody=(packaged / "cloudformation-template-create-stack.json").read_text(),
        )
        bucket = client.describe_stacks(StackName="chat")["Stacks"][0]["Outputs"][0]["OutputValue"]
        template = (packaged / "cloudformation-template-update-stack.json").read_text()
        boto3.client("s3").put_object(Bucket=bucket, Key=code_key(template), Body=some_zip())
        given = {"DatabaseUrlSecret": DATABASE, "RedisUrlSecret": REDIS, **parameters}
        client.update_stack(
            StackName="chat",
            TemplateBody=template,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        return Stack("chat")

    return create
