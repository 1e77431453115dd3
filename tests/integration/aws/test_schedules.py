"""Lambda runs the functions at the same times as beat."""

import json
import subprocess
from typing import Any

import pytest
import yaml

from functions.schedule import built_in_jobs
from infra.settings.base import variable
from infra.settings.jobs import JobSettings
from tests.integration.aws.conftest import ROOT


def aws_cron(cron: str) -> str:
    """Convert a cron expression to that of AWS: six fields, one of the two days is `?`, and Sunday is 1."""
    minute, hour, day, month, weekday = cron.split()
    if weekday == "*":
        return f"cron({minute} {hour} {day} {month} ? *)"
    assert day == "*", "AWS cannot ask for a day of the month and a day of the week"
    days = ",".join(str(int(number) % 7 + 1) for number in weekday.split(","))
    return f"cron({minute} {hour} ? {month} {days} *)"


class _WithBucket(JobSettings):
    archive_bucket: str = "bucket"


DEFAULTS = JobSettings.model_construct()
JOBS = built_in_jobs(_WithBucket.model_construct())
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


def test_serverless_yml_has_the_defaults_of_the_settings() -> None:
    loaded = yaml.safe_load((ROOT / "serverless.yml").read_text())
    given, environment = loaded["params"]["default"], loaded["provider"]["environment"]
    for setting, param in {
        "offline_delivery_cron": "offlineDeliveryCron",
        "erase_users_cron": "eraseUsersCron",
        "cleanup_cron": "cleanupCron",
        "archive_cron": "archiveCron",
        "cron_zone": "cronZone",
    }.items():
        assert given[param] == getattr(DEFAULTS, setting)
        assert environment[variable(setting)] == f"${{param:{param}}}"


def test_a_function_may_be_as_late_as_its_job() -> None:
    functions = yaml.safe_load((ROOT / "serverless.yml").read_text())["functions"]
    assert {job.name: functions[job.name]["maximumEventAge"] for job in JOBS} == {
        job.name: job.late_s for job in JOBS
    }


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", "cron(* * * * ? *)"),
        ("17 3 * * *", "cron(17 3 * * ? *)"),
        ("*/15 8-10 * * *", "cron(0,15,30,45 8,9,10 * * ? *)"),
        ("0 4 1 */4 *", "cron(0 4 1 1,5,9 ? *)"),
        ("0 9 * * 1", "cron(0 9 ? * 2 *)"),
        ("0 9 * * MON-fri", "cron(0 9 ? * 2,3,4,5,6 *)"),
        ("30 5 * * 0,3,7", "cron(30 5 ? * 1,4 *)"),
        ("0 0 1 * 1", None),
        ("0 0 L * *", None),
        ("*/0 0 * * *", None),
        ("0 0 * *", None),
    ],
)
def test_a_cron_expression_is_rewritten_for_aws(cron: str, expected: str | None) -> None:
    script = (
        "const {cleanup} = require('./infra/deploy/aws/schedules.js');"
        "cleanup({resolveVariable: async () => process.argv[1]}).then(console.log)"
    )
    done = subprocess.run(["node", "-e", script, cron], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip() or None) == expected
    assert (done.returncode == 0) is (expected is not None)


def test_the_packaged_template_has_it_too(template: dict[str, Any]) -> None:
    found = {}
    for name, schedule in schedules(template).items():
        assert schedule["Target"]["RoleArn"] == {"Fn::GetAtt": ["SchedulerRole", "Arn"]}
        if name == "webhooks":
            continue
        found[name] = (
            schedule["ScheduleExpression"],
            schedule["ScheduleExpressionTimezone"],
            schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"],
        )
        assert schedule["State"] == "ENABLED"
        assert json.loads(schedule["Target"]["Input"]) == {"dueAt": "<aws.scheduler.scheduled-time>"}
    assert found == TABLE


def test_webhooks_are_sent_each_minute_if_there_are_endpoints(template: dict[str, Any]) -> None:
    schedule = schedules(template)["webhooks"]
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["State"] == {"Fn::If": ["SendsWebhooks", "ENABLED", "DISABLED"]}
    assert template["Conditions"]["SendsWebhooks"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "Webhooks"}, ""]}]}
    assert json.loads(schedule["Target"]["Input"]) == {}


def schedules(template: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of the schedules, by the function that each starts."""
    resources = template["Resources"]
    found = {}
    for one in resources.values():
        if one["Type"] == "AWS::Scheduler::Schedule":
            target = one["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0]
            handler = resources[target]["Properties"]["Handler"]
            found[handler.removeprefix("functions/aws/handlers.")] = one["Properties"]
    return found


def test_jobs_of_a_team_have_schedules_of_their_own() -> None:
    jobs = [{"name": "weekly_digest", "cron": "0 9 * * 1", "zone": "Europe/Berlin", "late_s": 600}]
    script = (
        "const schedules = require('./infra/deploy/aws/schedules.js');"
        "require('fs').readFileSync = () => process.argv[1];"
        "schedules.ownJobs().then((made) => console.log(JSON.stringify(made)))"
    )
    given = json.dumps({"package": "weekly_digest", "jobs": jobs})
    done = subprocess.run(["node", "-e", script, given], cwd=ROOT, capture_output=True, text=True, check=True)
    (schedule,) = json.loads(done.stdout)["Resources"].values()
    properties, target = schedule["Properties"], schedule["Properties"]["Target"]
    assert properties["ScheduleExpression"] == "cron(0 9 ? * 2 *)"
    assert properties["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert json.loads(target["Input"]) == {"job": "weekly_digest", "dueAt": "<aws.scheduler.scheduled-time>"}
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 600
