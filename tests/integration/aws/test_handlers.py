"""The scheduled handlers: settings from secrets, connections kept between invocations, logs and metrics."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
import structlog
from redis.exceptions import AuthenticationError
from sqlalchemy import text

from functions.aws import handlers
from functions.context import Context
from functions.webhooks import sender
from infra.settings.base import PREFIX, SettingsError
from infra.settings.functions import FunctionSettings
from infra.store.engine import make_engine
from infra.wire.webhooks import Event
from tests.harness import weekly_digest
from tests.harness.engines import Store
from tests.integration.aws.conftest import LambdaContext, Output

HANDLERS = {
    "cleanup": handlers.cleanup,
    "offline_delivery": handlers.offline_delivery,
    "archive": handlers.archive,
    "webhooks": handlers.webhooks,
    "erase_users": handlers.erase_users,
}
SIGNS = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Runs:
    """Stands in for `functions.run`: asks Postgres for the connection and the user that it runs with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.backends: list[int] = []
        self.users: list[str] = []
        self.settings: Any = None
        self.summary: dict[str, Any] = {}
        self.error: Exception | None = None

    def __call__(self, name: str, context: Context, *, dry_run: bool = False) -> dict[str, Any]:
        self.calls.append((name, dry_run))
        self.settings = context.settings
        if self.error is not None:
            raise self.error
        with context.engine.connect() as conn:
            backend, user = conn.execute(text("SELECT pg_backend_pid(), current_user")).one()
        self.backends.append(backend)
        self.users.append(user)
        structlog.get_logger("functions.run").info("function_finished", function=name, module="cleanup")
        return self.summary


class Backend:
    """Stands in for the app's backend: notes what is posted, where, and what would sign it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, list[str], str]] = []
        self._at: tuple[str, list[str]] = ("", [])

    def at(self, settings: FunctionSettings, name: str) -> "Backend":
        self._at = (settings.url_of(name), settings.secrets_of(name))
        return self

    def post(self, events: Sequence[Event]) -> None:
        self.posted += [(*self._at, event.id) for event in events]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs()
    monkeypatch.setattr(handlers, "run", runs)
    return runs


@pytest.fixture
def database_secret(account: None, bench_store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep the address of the database in Secrets Manager; return the name of the secret."""
    arn = boto3.client("secretsmanager").create_secret(
        Name="database", SecretString=bench_store.database_url
    )["ARN"]
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL_SECRET", arn)
    return "database"


@pytest.mark.parametrize("name", HANDLERS)
def test_each_handler_runs_its_function(name: str, database_secret: str, output: Output, runs: Runs) -> None:
    runs.summary = {"removed": 3, "days": [date(2026, 1, 2)], "user": UUID(int=7), "complete": True}

    answer = HANDLERS[name]({}, LambdaContext())

    assert runs.calls == [(name, False)]
    assert answer == {
        "removed": 3,
        "days": ["2026-01-02"],
        "user": "00000000-0000-0000-0000-000000000007",
        "complete": True,
    }
    assert output.metric("runs") == 1
    assert output.metric("removed") == 3
    assert next(line for line in output.lines if "_aws" in line)["function"] == name
    assert output.metric("complete") == 0


def test_a_dry_run_is_asked_for_in_the_event(database_secret: str, output: Output, runs: Runs) -> None:
    runs.summary = {"removed": 3}
    handlers.cleanup({"dryRun": True}, LambdaContext())
    assert runs.calls == [("cleanup", True)]
    assert output.metric("removed") == 0


def test_our_events_leave_as_json_with_their_fields(database_secret: str, output: Output, runs: Runs) -> None:
    handlers.cleanup({"detail": "private"}, LambdaContext())
    (event,) = output.events("function_finished")
    assert event["function"] == "cleanup"
    assert event["module_"] == "cleanup"
    assert event["level"] == "INFO"
    assert event["function_request_id"] == "a-request"
    assert "private" not in output.text


def test_the_connection_and_the_secret_are_kept_between_invocations(
    database_secret: str, output: Output, runs: Runs
) -> None:
    handlers.cleanup({}, LambdaContext())
    boto3.client("secretsmanager").delete_secret(SecretId=database_secret, ForceDeleteWithoutRecovery=True)
    handlers.archive({}, LambdaContext())
    assert len(set(runs.backends)) == 1


def test_a_connection_that_died_while_the_process_was_frozen_is_replaced(
    database_secret: str, output: Output, runs: Runs, bench_store: Store
) -> None:
    handlers.cleanup({}, LambdaContext())
    end_backend(bench_store, runs.backends[0])
    handlers.cleanup({}, LambdaContext())
    assert len(set(runs.backends)) == 2


def test_a_rotated_secret_is_read_when_the_old_login_is_refused(
    database_secret: str, output: Output, runs: Runs, bench_store: Store
) -> None:
    for user in ("lambda_old", "lambda_new"):
        administer(
            bench_store, f"DROP ROLE IF EXISTS {user}", f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'word'"
        )
    rotate(database_secret, bench_store, "lambda_old")
    handlers.cleanup({}, LambdaContext())

    rotate(database_secret, bench_store, "lambda_new")
    administer(bench_store, "ALTER ROLE lambda_old NOLOGIN")
    end_backend(bench_store, runs.backends[0])
    handlers.cleanup({}, LambdaContext())

    assert runs.users == ["lambda_old", "lambda_new"]


def test_a_redis_that_refuses_the_login_makes_the_next_invocation_reconnect(
    database_secret: str, output: Output, runs: Runs
) -> None:
    handlers.cleanup({}, LambdaContext())
    runs.error = AuthenticationError("wrong password")
    with pytest.raises(AuthenticationError):
        handlers.cleanup({}, LambdaContext())
    runs.error = None
    handlers.cleanup({}, LambdaContext())
    assert len(set(runs.backends)) == 2


def test_secrets_may_lie_in_systems_manager(
    database_secret: str, output: Output, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/chat/redis", Value="redis://cache", Type="SecureString")
    ssm.put_parameter(Name="/chat/webhook", Value="whsec_c2VjcmV0", Type="SecureString")
    arn = ssm.get_parameter(Name="/chat/webhook")["Parameter"]["ARN"]
    monkeypatch.setenv(f"{PREFIX}REDIS_URL_SECRET", "/chat/redis")
    monkeypatch.setenv(f"{PREFIX}WEBHOOK_SECRET_SECRET", arn)
    monkeypatch.setenv(f"{PREFIX}VAPID_PRIVATE_KEY_SECRET", "")

    handlers.offline_delivery({}, LambdaContext())

    assert runs.settings.redis_url == "redis://cache"
    assert runs.settings.webhook_secret == "whsec_c2VjcmV0"
    assert runs.settings.vapid_private_key is None


def test_a_missing_database_address_is_reported(output: Output, runs: Runs) -> None:
    with pytest.raises(SettingsError, match="BBGRAM_DATABASE_URL"):
        handlers.cleanup({}, LambdaContext())
    assert runs.calls == []


@pytest.mark.parametrize("name", sorted(HANDLERS.keys() - {"webhooks"}))  # it logs nothing if nothing waits
def test_the_functions_themselves_run_behind_the_handlers(
    name: str, database_secret: str, output: Output, bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", bench_store.redis_url)
    monkeypatch.setenv(f"{PREFIX}ARCHIVE_BUCKET", "archive")
    boto3.client("s3").create_bucket(
        Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    HANDLERS[name]({"dryRun": True}, LambdaContext())
    (event,) = output.events("function_finished")
    assert (event["function"], event["dry_run"]) == (name, True)


def test_a_schedule_runs_a_function_once_for_a_time(
    database_secret: str, output: Output, bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EventBridge Scheduler and Lambda may both deliver an event twice."""
    due = {"dueAt": f"{date.today():%Y-%m-%d}T00:00:00Z"}
    administer(bench_store, "DELETE FROM bbgram.job_runs")
    first, again = (handlers.cleanup(due, LambdaContext()) for _ in range(2))
    assert "dead_letters" in first
    assert again == {"already_run": True}
    (event,) = output.events("job_already_run")
    assert event["function"] == "cleanup"
    assert "dead_letters" in handlers.cleanup({}, LambdaContext())


def test_what_was_missed_is_a_metric(database_secret: str, output: Output, bench_store: Store) -> None:
    administer(bench_store, "DELETE FROM bbgram.job_runs")
    for days in (5, 1):
        due = date.today() - timedelta(days=days)
        handlers.cleanup({"dueAt": f"{due:%Y-%m-%d}T02:17:00Z"}, LambdaContext())
        administer(bench_store, "UPDATE bbgram.job_runs SET seen_until = due_at WHERE name = 'cleanup'")
    assert output.metric("missed") >= 3
    assert output.events("job_missed")[0]["function"] == "cleanup"


def test_a_job_of_the_team_runs_once_for_a_time(
    database_secret: str, output: Output, bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}JOBS", weekly_digest.NAME)
    monkeypatch.syspath_prepend(str(weekly_digest.EXAMPLES))
    administer(bench_store, "DELETE FROM bbgram.job_runs")
    bob = weekly_digest.seed(bench_store)
    event = {"job": weekly_digest.NAME, "dueAt": weekly_digest.newest()}
    answers = [handlers.job(event, LambdaContext()) for _ in range(2)]
    assert answers == [{"digests": 1}, {"already_run": True}]
    assert weekly_digest.digests(bench_store, bob) == [2]
    assert output.metric("digests") == 1
    assert handlers.job({"job": weekly_digest.NAME, "dryRun": True}, LambdaContext()) == {"digests": 1}


def test_a_job_that_is_not_there_is_reported(
    database_secret: str, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="There is no job weekly_digest; set BBGRAM_JOBS"):
        handlers.job({"job": "weekly_digest", "dueAt": "2026-01-05T08:00:00Z"}, LambdaContext())


def test_events_are_sent_with_what_is_kept_as_a_secret(
    database_secret: str, output: Output, bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = boto3.client("secretsmanager").create_secret(Name="webhooks", SecretString=f"app={SIGNS}")["ARN"]
    for name, value in {
        "WEBHOOKS": "app:report.created",
        "WEBHOOKS_URLS": "app=https://app.example/hook",
        "WEBHOOKS_SECRETS_SECRET": arn,
        "WEBHOOKS_STAY_S": "0.3",
        "WEBHOOKS_S": "0.1",
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    backend = Backend()
    monkeypatch.setattr(sender, "make_endpoint", backend.at)
    administer(
        bench_store,
        "TRUNCATE bbgram.outbox, bbgram.webhook_endpoints",
        "INSERT INTO bbgram.outbox (endpoint, event, id, about, body)"
        " VALUES ('app', 'report.created', 'report.created/1', gen_random_uuid(), '{}')",
    )
    answer = handlers.webhooks({}, LambdaContext())
    assert answer == {"sent": 1, "refused": 0, "dead": 0}
    assert backend.posted == [("https://app.example/hook", [SIGNS], "report.created/1")]
    assert output.metric("sent") == 1
    assert output.events("function_finished")[0]["function"] == "webhooks"
    assert SIGNS not in output.text


def rotate(secret: str, store: Store, user: str) -> None:
    _, _, address = store.database_url.rpartition("@")
    boto3.client("secretsmanager").put_secret_value(
        SecretId=secret, SecretString=f"postgresql://{user}:word@{address.rpartition('://')[2]}"
    )


def end_backend(store: Store, backend: int) -> None:
    administer(store, f"SELECT pg_terminate_backend({backend}, 5000)")


def administer(store: Store, *statements: str) -> None:
    engine = make_engine(store.database_url)
    with engine.begin() as conn:
        for statement in statements:
            conn.execute(text(statement))
    engine.dispose()


def test_a_variable_that_is_no_setting_is_named_once(
    database_secret: str, runs: Runs, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}NOTIFICATON_DAYS", "3")
    for _ in range(2):
        handlers.cleanup({}, LambdaContext())
    (line,) = output.events("unknown_setting")
    assert line["variable"] == f"{PREFIX}NOTIFICATON_DAYS"
    assert line["nearest"] == f"{PREFIX}NOTIFICATION_DAYS"
