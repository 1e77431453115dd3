"""The resources of the stack besides functions and roles."""

import json
from typing import Any

import boto3
import yaml

from tests.integration.aws.conftest import ROOT
from tests.integration.aws.stack import FUNCTIONS, UNSUPPORTED, Create, ignore_moto_warnings, of_type

pytestmark = ignore_moto_warnings


def test_every_resource_is_made(create: Create, template: dict[str, Any]) -> None:
    stack = create()
    assert stack.status == "UPDATE_COMPLETE"
    made = {one["LogicalResourceId"] for one in stack.resources if one.get("PhysicalResourceId")}
    expected = {name for name, one in template["Resources"].items() if one["Type"] not in UNSUPPORTED}
    assert made >= expected


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
