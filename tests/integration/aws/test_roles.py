"""What each role of the stack may do, and on what."""

from typing import Any

import boto3
import pytest

from tests.integration.aws.stack import (
    DATABASE,
    EVERYTHING,
    FUNCTIONS,
    HOME,
    REDIS,
    Create,
    ignore_moto_warnings,
)

pytestmark = ignore_moto_warnings

ROLES = (
    "OfflineDeliveryRole",
    "EraseUsersRole",
    "CleanupRole",
    "ArchiveRole",
    "WebhooksRole",
    "JobRole",
    "PushRole",
)


def test_each_function_has_a_role_of_its_own(create: Create) -> None:
    create()
    functions = boto3.client("lambda").list_functions()["Functions"]
    assert len({function["Role"] for function in functions}) == len(functions) == len(FUNCTIONS)


@pytest.mark.parametrize("parameters", [{}, EVERYTHING])
def test_no_role_may_do_anything_or_use_everything(parameters: dict[str, str], create: Create) -> None:
    stack = create(**parameters)
    for role in (*ROLES, "SchedulerRole"):
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
    for role in ("CleanupRole", "WebhooksRole", "JobRole"):
        assert stack.may(role).keys() == secrets
    assert stack.may("OfflineDeliveryRole").keys() == secrets | {"sqs:SendMessage"}
    assert stack.may("ArchiveRole").keys() == secrets | {
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:ListBucket",
    }
    assert stack.may("EraseUsersRole").keys() == stack.may("ArchiveRole").keys() | {
        "s3:DeleteObjectVersion",
        "s3:ListBucketVersions",
    }
    assert stack.may("PushRole").keys() == (
        secrets | {f"sns:{name}" for name in sns} | {f"sqs:{name}" for name in sqs} | {"ses:SendEmail"}
    )
    assert stack.may("SchedulerRole").keys() == {"lambda:InvokeFunction"}


def test_a_function_reads_only_the_secrets_that_it_needs(create: Create) -> None:
    stack = create(**EVERYTHING)
    read = {role: stack.may(role)["secretsmanager:GetSecretValue"] for role in ROLES}
    assert read == {
        "ArchiveRole": {DATABASE},
        "CleanupRole": {DATABASE},
        "EraseUsersRole": {DATABASE, REDIS},
        "JobRole": {DATABASE, REDIS},
        "OfflineDeliveryRole": {DATABASE, REDIS},
        "PushRole": {DATABASE, EVERYTHING["VapidPrivateKeySecret"], EVERYTHING["WebhookSecretSecret"]},
        "WebhooksRole": {DATABASE, EVERYTHING["WebhooksSecretsSecret"]},
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
    assert may["s3:DeleteObject"] == {"arn:aws:s3:::of-our-own/archive/*.manifest.json"}
    (listing,) = [one for one in stack.statements("ArchiveRole") if one["Sid"] == "List"]
    assert listing["Resource"] == "arn:aws:s3:::of-our-own"
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "archive/*"}}
    assert "ArchiveBucket" not in stack.ids


def test_an_erasure_writes_and_deletes_below_the_prefix_of_the_archive_only(create: Create) -> None:
    may = create(**EVERYTHING).may("EraseUsersRole")
    for action in ("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion"):
        assert may[f"s3:{action}"] == {"arn:aws:s3:::of-our-own/archive/*"}
    assert may["s3:ListBucketVersions"] == {"arn:aws:s3:::of-our-own"}


def test_a_schedule_invokes_with_a_role_that_only_the_scheduler_of_this_account_takes(create: Create) -> None:
    stack = create()
    role: Any = boto3.client("iam").get_role(RoleName=stack.ids["SchedulerRole"])["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    invoked = {arn.rpartition("-dev-")[2] for arn in stack.may("SchedulerRole")["lambda:InvokeFunction"]}
    assert invoked == {"offline_delivery", "erase_users", "cleanup", "archive", "webhooks", "job"}
