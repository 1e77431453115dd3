"""Lambda runs the functions at the same times as beat."""

from typing import Any

import pytest
import yaml

from functions.schedule import JOBS
from tests.integration.aws.conftest import ROOT


def aws_cron(cron: str) -> str:
    """Convert a cron expression to that of AWS: six fields, one of the two days is `?`, and Sunday is 1."""
    minute, hour, day, month, weekday = cron.split()
    if weekday == "*":
        return f"cron({minute} {hour} {day} {month} ? *)"
    assert day == "*", "AWS cannot ask for a day of the month and a day of the week"
    days = ",".join(str(int(number) % 7 + 1) for number in weekday.split(","))
    return f"cron({minute} {hour} ? {month} {days} *)"


TABLE = {job.name: (aws_cron(job.cron), job.zone, job.late_s) for job in JOBS}


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", "cron(* * * * ? *)"),
        ("17 3 * * *", "cron(17 3 * * ? *)"),
        ("0 4 1 */2 *", "cron(0 4 1 */2 ? *)"),
        ("30 5 * * 0,3,7", "cron(30 5 ? * 1,4,1 *)"),
    ],
)
def test_a_schedule_is_rewritten_for_aws(cron: str, expected: str) -> None:
    assert aws_cron(cron) == expected


def test_serverless_yml_has_the_table_of_the_schedule() -> None:
    functions = yaml.safe_load((ROOT / "serverless.yml").read_text())["functions"]
    found = {
        one["handler"].removeprefix("functions/aws/handlers."): (
            event["schedule"]["rate"][0],
            event["schedule"]["timezone"],
            one["maximumEventAge"],
        )
        for one in functions.values()
        for event in one["events"]
        if "schedule" in event
    }
    assert found == TABLE


def test_the_packaged_template_has_it_too(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    found = {}
    for schedule in (
        one["Properties"] for one in resources.values() if one["Type"] == "AWS::Scheduler::Schedule"
    ):
        function = resources[schedule["Target"]["Arn"]["Fn::GetAtt"][0]]["Properties"]
        name = function["Handler"].removeprefix("functions/aws/handlers.")
        found[name] = (
            schedule["ScheduleExpression"],
            schedule["ScheduleExpressionTimezone"],
            schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"],
        )
        assert schedule["State"] == "ENABLED"
        assert schedule["Target"]["RoleArn"] == {"Fn::GetAtt": ["SchedulerRole", "Arn"]}
    assert found == TABLE
