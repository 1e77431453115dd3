"""The packaged template, created as a stack in moto."""

import ast
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import boto3
import pytest

ignore_moto_warnings = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")
"""For each resource that moto does not create; see UNSUPPORTED."""

FUNCTIONS = ("offline_delivery", "erase_users", "cleanup", "archive", "webhooks", "job", "push")
HOME = "eu-central-1:123456789012"
DATABASE = f"arn:aws:secretsmanager:{HOME}:secret:database"
REDIS = f"arn:aws:ssm:{HOME}:parameter/redis"
EVERYTHING = {
    "VapidPrivateKeySecret": f"arn:aws:secretsmanager:{HOME}:secret:vapid",
    "WebhookSecretSecret": f"arn:aws:secretsmanager:{HOME}:secret:webhook",
    "WebhooksSecretsSecret": f"arn:aws:ssm:{HOME}:parameter/webhooks",
    "Webhooks": "app:message.created report.created,audit",
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
"""What moto does not create. Tests look at these in the template."""

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
        """Return the policy statements of a role."""
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
