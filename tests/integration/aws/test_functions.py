"""How the stack configures the functions."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.aws import handlers
from functions.channels.outbound import EXCHANGE_S, TIMEOUTS_S
from functions.webhooks.sender import _START_S
from infra.settings.base import PREFIX
from infra.settings.functions import FunctionSettings
from tests.integration.aws.stack import EVERYTHING, FUNCTIONS, Create, ignore_moto_warnings, of_type

pytestmark = ignore_moto_warnings


def function_of(template: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [
        one for one in of_type(template, "AWS::Lambda::Function") if one["Handler"].endswith(f".{name}")
    ]
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_a_handler_on_python_3_13(name: str, create: Create) -> None:
    create()
    found = boto3.client("lambda").get_function_configuration(FunctionName=f"bbgram-functions-dev-{name}")
    assert found["Runtime"] == "python3.13"
    module, _, handler = found["Handler"].rpartition(".")
    assert module == "functions/aws/handlers"
    assert callable(getattr(handlers, handler))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_setting_of_a_function_is_one(name: str, create: Create) -> None:
    create(**EVERYTHING)
    found = boto3.client("lambda").get_function_configuration(FunctionName=f"bbgram-functions-dev-{name}")
    given = [key for key in found["Environment"]["Variables"] if key.startswith(PREFIX)]
    fields = [key.removeprefix(PREFIX).lower() for key in given]
    assert fields
    known = FunctionSettings.model_fields.keys()
    assert not [
        field for field in fields if field not in known and field.removesuffix("_secret") not in known
    ]


def test_no_secret_stands_in_the_template(packaged: Path) -> None:
    template = json.loads((packaged / "cloudformation-template-update-stack.json").read_text())
    for function in of_type(template, "AWS::Lambda::Function"):
        named = {
            key
            for key in function["Environment"]["Variables"]
            if key.endswith(("_URL", "_KEY", "WEBHOOK_SECRET", "WEBHOOKS_SECRETS"))
        }
        assert named <= {"BBGRAM_PUSH_QUEUE_URL"}


def test_the_functions_run_on_arm64(template: dict[str, Any]) -> None:
    assert all(
        function["Architectures"] == ["arm64"] for function in of_type(template, "AWS::Lambda::Function")
    )


def test_no_run_outlasts_its_function(template: dict[str, Any]) -> None:
    for function in of_type(template, "AWS::Lambda::Function"):
        run_s = float(function["Environment"]["Variables"].get("BBGRAM_RUN_S", 0))
        assert run_s <= function["Timeout"] - 15
    ours = ("offline_delivery", "erase_users", "cleanup", "archive", "webhooks")
    scheduled = [one for one in of_type(template, "AWS::Lambda::Function") if one["Handler"].endswith(ours)]
    assert len(scheduled) == len(ours)
    assert all(function["ReservedConcurrentExecutions"] == 1 for function in scheduled)


def test_a_run_of_webhooks_ends_before_its_function_does(template: dict[str, Any]) -> None:
    function = function_of(template, "webhooks")
    run_s, stay_s = (
        float(function["Environment"]["Variables"][f"BBGRAM_{name}_S"]) for name in ("RUN", "WEBHOOKS_STAY")
    )
    assert stay_s <= run_s - 10  # so that usually no run is cut short
    assert run_s + _START_S + TIMEOUTS_S[0] + EXCHANGE_S <= function["Timeout"]


def test_whatever_notes_events_knows_who_wants_them(create: Create) -> None:
    create(**EVERYTHING)
    for name in FUNCTIONS:
        found = boto3.client("lambda").get_function_configuration(FunctionName=f"bbgram-functions-dev-{name}")
        assert found["Environment"]["Variables"]["BBGRAM_WEBHOOKS"] == EVERYTHING["Webhooks"]


def test_functions_join_a_vpc_only_if_told_to(create: Create, template: dict[str, Any]) -> None:
    client = boto3.client("ec2")
    vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    create(SecurityGroupIds="sg-1,sg-2", SubnetIds=subnet)
    for name in FUNCTIONS:
        found = boto3.client("lambda").get_function_configuration(FunctionName=f"bbgram-functions-dev-{name}")
        assert found["VpcConfig"]["SubnetIds"] == [subnet]
        assert found["VpcConfig"]["SecurityGroupIds"] == ["sg-1", "sg-2"]
    policy = template["Resources"]["NetworkPolicy"]
    assert policy["Condition"] == "InVpc"
    allowed, denied = policy["Properties"]["PolicyDocument"]["Statement"]
    assert allowed["Action"] == denied["Action"]
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert "function:bbgram-functions-dev-*" in json.dumps(denied["Condition"])


def test_without_a_vpc_no_function_has_vpc_settings(create: Create) -> None:
    create()
    for function in boto3.client("lambda").list_functions()["Functions"]:
        assert not function.get("VpcConfig", {}).get("SubnetIds")
