"""The packaged template, created as a stack: what it makes, and what each part of it may do."""

import ast
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from functions import aws
from infra.settings.base import PREFIX
from infra.settings.functions import FunctionSettings
from tests.integration.aws.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")
"""Of resources that moto does not make; see UNSUPPORTED."""

FUNCTIONS = ("offline_delivery", "cleanup", "archive", "push")
HOME = "eu-central-1:123456789012"
DATABASE = f"arn:aws:secretsmanager:{HOME}:secret:database"
REDIS = f"arn:aws:ssm:{HOME}:parameter/redis"
EVERYTHING = {
    "VapidPrivateKeySecret": f"arn:aws:secretsmanager:{HOME}:secret:vapid",
    "WebhookSecretSecret": f"arn:aws:secretsmanager:{HOME}:secret:webhook",
    "SecretsKeyArn": f"arn:aws:kms:{HOME}:key/one",
    "SecurityGroupIds": "sg-1",
    "SubnetIds": "subnet-1,subnet-2",
    "AlarmTopicArn": f"arn:aws:sns:{HOME}:alarms",
    "ArchiveBucketName": "of-our-own",
    "SnsFcmArn": f"arn:aws:sns:{HOME}:app/GCM/chat",
    "SnsApnsArn": f"arn:aws:sns:{HOME}:app/APNS/chat",
    "EmailIdentityArn": f"arn:aws:ses:{HOME}:identity/example.com",
}
UNSUPPORTED = {
    "AWS::CloudWatch::Alarm",
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
}
"""What moto does not make; these are looked at in the template."""

Create = Callable[..., "Stack"]


class Stack:
    """A stack that was created."""

    def __init__(self, name: str) -> None:
        client = boto3.client("cloudformation")
        self.status = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        self.resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        self.ids = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in self.resources}

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Return what a role may do."""
        iam, name = boto3.client("iam"), self.ids[role]
        found: list[dict[str, Any]] = []
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            document: Any = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            if isinstance(document, str):  # moto answers with Python's own notation
                document = ast.literal_eval(document)
            found += [statement for statement in document["Statement"] if statement]
        return found

    def may(self, role: str) -> dict[str, set[str]]:
        """Return the resources that a role may use, by action."""
        found: dict[str, set[str]] = {}
        for statement in self.statements(role):
            for action in as_list(statement["Action"]):
                found.setdefault(action, set()).update(one for one in as_list(statement["Resource"]) if one)
        return found


@pytest.fixture
def create(account: None, packaged: Path) -> Create:
    """Return a function that deploys as osls does: bucket, code, everything."""

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


def test_every_resource_is_made(create: Create, template: dict[str, Any]) -> None:
    stack = create()
    assert stack.status == "UPDATE_COMPLETE"
    made = {one["LogicalResourceId"] for one in stack.resources if one.get("PhysicalResourceId")}
    expected = {name for name, one in template["Resources"].items() if one["Type"] not in UNSUPPORTED}
    assert made >= expected


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_a_handler_on_python_3_13(name: str, create: Create) -> None:
    create()
    found = boto3.client("lambda").get_function_configuration(FunctionName=f"bbgram-functions-dev-{name}")
    assert found["Runtime"] == "python3.13"
    module, _, handler = found["Handler"].rpartition(".")
    assert module == "functions/aws"
    assert callable(getattr(aws, handler))


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
            if key.endswith(("_URL", "_KEY", "WEBHOOK_SECRET"))
        }
        assert named <= {"BBGRAM_PUSH_QUEUE_URL"}


def test_each_function_has_a_role_of_its_own(create: Create) -> None:
    create()
    functions = boto3.client("lambda").list_functions()["Functions"]
    assert len({function["Role"] for function in functions}) == len(functions) == len(FUNCTIONS)


def test_the_functions_run_on_arm64(template: dict[str, Any]) -> None:
    assert all(
        function["Architectures"] == ["arm64"] for function in of_type(template, "AWS::Lambda::Function")
    )


@pytest.mark.parametrize("parameters", [{}, EVERYTHING])
def test_no_role_may_do_anything_or_use_everything(parameters: dict[str, str], create: Create) -> None:
    stack = create(**parameters)
    for role in ("OfflineDeliveryRole", "CleanupRole", "ArchiveRole", "PushRole", "SchedulerRole"):
        for action, resources in stack.may(role).items():
            assert "*" not in action
            assert resources
            assert not {one for one in resources if one == "*" or not one.startswith("arn:aws:")}, (
                role,
                action,
            )


def test_a_role_holds_what_its_function_does_and_nothing_else(create: Create) -> None:
    stack = create(**EVERYTHING)
    secrets = {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
    }
    secrets |= {"kms:Decrypt"}
    sns = {
        "CreatePlatformEndpoint",
        "DeleteEndpoint",
        "GetEndpointAttributes",
        "Publish",
        "SetEndpointAttributes",
    }
    sqs = {"ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"}
    assert stack.may("CleanupRole").keys() == secrets
    assert stack.may("OfflineDeliveryRole").keys() == secrets | {"sqs:SendMessage"}
    assert stack.may("ArchiveRole").keys() == secrets | {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}
    assert stack.may("PushRole").keys() == (
        secrets | {f"sns:{name}" for name in sns} | {f"sqs:{name}" for name in sqs} | {"ses:SendEmail"}
    )
    assert stack.may("SchedulerRole").keys() == {"lambda:InvokeFunction"}


def test_a_function_reads_only_the_secrets_that_it_needs(create: Create) -> None:
    stack = create(**EVERYTHING)
    read = {
        role: stack.may(role)["secretsmanager:GetSecretValue"]
        for role in ("ArchiveRole", "CleanupRole", "PushRole")
    }
    assert read == {
        "ArchiveRole": {DATABASE},
        "CleanupRole": {DATABASE, REDIS},
        "PushRole": {DATABASE, EVERYTHING["VapidPrivateKeySecret"], EVERYTHING["WebhookSecretSecret"]},
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_writes_only_its_own_log(name: str, create: Create) -> None:
    stack = create()
    role = "".join(part.capitalize() for part in name.split("_")) + "Role"
    assert stack.may(role)["logs:PutLogEvents"] == {
        f"arn:aws:logs:{HOME}:log-group:/aws/lambda/bbgram-functions-dev-{name}:*"
    }


def test_push_sends_through_what_it_was_given_only(create: Create) -> None:
    may = create(**EVERYTHING).may("PushRole")
    assert may["sns:Publish"] == {
        f"arn:aws:sns:{HOME}:app/GCM/chat",
        f"arn:aws:sns:{HOME}:endpoint/GCM/chat/*",
        f"arn:aws:sns:{HOME}:app/APNS/chat",
        f"arn:aws:sns:{HOME}:endpoint/APNS/chat/*",
    }
    assert may["ses:SendEmail"] == {EVERYTHING["EmailIdentityArn"]}


def test_without_channels_push_may_send_nothing(create: Create) -> None:
    assert not {action for action in create().may("PushRole") if action.startswith(("sns:", "ses:", "kms:"))}


def test_the_archive_reaches_its_prefix_only(create: Create) -> None:
    stack = create(**EVERYTHING)
    may = stack.may("ArchiveRole")
    assert may["s3:PutObject"] == may["s3:GetObject"] == {"arn:aws:s3:::of-our-own/archive/*"}
    (listing,) = [one for one in stack.statements("ArchiveRole") if one["Sid"] == "List"]
    assert listing["Resource"] == "arn:aws:s3:::of-our-own"
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "archive/*"}}
    assert "ArchiveBucket" not in stack.ids


def test_the_archive_is_encrypted(create: Create) -> None:
    bucket = create().ids["ArchiveBucket"]
    assert boto3.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
        "Rules"
    ]


def test_the_archive_is_private_versioned_and_stays(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["ArchiveBucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = template["Resources"]["ArchiveBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (rule["Effect"], rule["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_a_notification_is_tried_as_often_as_push_counts(create: Create) -> None:
    stack = create()
    sqs = boto3.client("sqs")

    def attributes(name: str) -> dict[Any, str]:
        return sqs.get_queue_attributes(QueueUrl=stack.ids[name], AttributeNames=["All"])["Attributes"]

    queue, dead = attributes("NotificationQueue"), attributes("NotificationDeadLetters")
    redrive = json.loads(queue["RedrivePolicy"])
    push = boto3.client("lambda").get_function_configuration(FunctionName="bbgram-functions-dev-push")
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == int(push["Environment"]["Variables"]["BBGRAM_PUSH_TRIES"]) == 5
    assert int(queue["VisibilityTimeout"]) >= 6 * push["Timeout"]
    assert int(dead["MessageRetentionPeriod"]) == 14 * 86_400
    assert queue["SqsManagedSseEnabled"] == dead["SqsManagedSseEnabled"] == "true"


def test_the_queue_feeds_push_record_by_record(create: Create, template: dict[str, Any]) -> None:
    stack = create()
    (mapping,) = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    queue = boto3.client("sqs").get_queue_attributes(
        QueueUrl=stack.ids["NotificationQueue"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    assert mapping["EventSourceArn"] == queue
    assert mapping["FunctionArn"].endswith(":bbgram-functions-dev-push")
    (properties,) = of_type(template, "AWS::Lambda::EventSourceMapping")
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_no_run_outlasts_its_function(template: dict[str, Any]) -> None:
    for function in of_type(template, "AWS::Lambda::Function"):
        run_s = float(function["Environment"]["Variables"].get("BBGRAM_RUN_S", 0))
        assert run_s <= function["Timeout"] - 15
    scheduled = [one for one in of_type(template, "AWS::Lambda::Function") if "push" not in one["Handler"]]
    assert all(function["ReservedConcurrentExecutions"] == 1 for function in scheduled)


def test_a_schedule_invokes_with_a_role_that_only_the_scheduler_of_this_account_takes(create: Create) -> None:
    stack = create()
    role: Any = boto3.client("iam").get_role(RoleName=stack.ids["SchedulerRole"])["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    invoked = {arn.rpartition("-dev-")[2] for arn in stack.may("SchedulerRole")["lambda:InvokeFunction"]}
    assert invoked == {"offline_delivery", "cleanup", "archive"}


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


def test_outside_of_a_vpc_no_function_has_one(create: Create) -> None:
    create()
    for function in boto3.client("lambda").list_functions()["Functions"]:
        assert not function.get("VpcConfig", {}).get("SubnetIds")


def test_alarms_watch_the_dead_letters_the_wait_and_every_function(template: dict[str, Any]) -> None:
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    watched = {(one["MetricName"], json.dumps(one["Dimensions"][0]["Value"])) for one in alarms}
    of_queue = {name for name, value in watched if "Fn::GetAtt" in value}
    of_functions = {value for name, value in watched if name == "Errors"}
    assert of_queue == {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}
    assert len(of_functions) == len(FUNCTIONS)
    (dead,) = [one for one in alarms if one["MetricName"] == "ApproximateNumberOfMessagesVisible"]
    assert dead["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["NotificationDeadLetters", "QueueName"]}
    assert (dead["Threshold"], dead["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    told = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert all(one["AlarmActions"] == told for one in alarms)


def test_every_parameter_of_the_stack_is_filled_in(template: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "serverless.yml").read_text())
    filled = {one["ParameterKey"] for one in config["provider"]["stackParameters"]}
    assert filled == template["Parameters"].keys()


def of_type(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in template["Resources"].values() if one["Type"] == kind]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def code_key(template: str) -> str:
    key: str = json.loads(template)["Resources"]["PushLambdaFunction"]["Properties"]["Code"]["S3Key"]
    return key


def some_zip() -> bytes:
    """Return code for functions that nobody calls."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("empty.py", "")
    return buffer.getvalue()
