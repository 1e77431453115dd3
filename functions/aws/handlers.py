"""The Lambda handlers that `serverless.yml` names. They decode, call and encode, and nothing else.

Powertools for AWS Lambda provides logs, metrics, secrets and partial batches. A process keeps its settings
and connections for all its invocations.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec
import structlog
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from redis import RedisError
from sqlalchemy.exc import OperationalError

from functions.aws.logs import configure_logs, logger
from functions.aws.secret_settings import read_secrets
from functions.aws.sqs import SqsQueue, parse_body, retry_delay_s
from functions.context import Context, Summary
from functions.errors import TriesExhausted, TryLater, UnreadableBody
from functions.jobs import Job
from functions.push import Push
from functions.run import run, run_due
from functions.schedule import built_in_jobs, own_jobs
from infra.settings.functions import FunctionSettings
from infra.settings.unknown import unknown_variables

Event = dict[str, Any]

_OUTCOMES: Final[dict[type[Exception], str]] = {
    TryLater: "later",
    TriesExhausted: "failed",
    UnreadableBody: "unreadable",
}
"""What is logged and counted. Any other error is a crash and is logged with its traceback."""

log = structlog.get_logger(__name__)
metrics = Metrics(namespace="BBGramChat")
batch_processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def cleanup(event: Event, context: LambdaContext) -> Summary:
    """Remove old data. Like every scheduled function, it only counts if it is given `{"dryRun": true}`.

    Schedules give them `{"dueAt": "2026-01-31T02:17:00Z"}`. Without it, they run whatever has run before.
    """
    return _run("cleanup", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def offline_delivery(event: Event, context: LambdaContext) -> Summary:
    """Queue notifications for offline users."""
    return _run("offline_delivery", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def erase_users(event: Event, context: LambdaContext) -> Summary:
    """Go on with erasures of users."""
    return _run("erase_users", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def archive(event: Event, context: LambdaContext) -> Summary:
    """Move old messages to S3."""
    return _run("archive", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def webhooks(event: Event, context: LambdaContext) -> Summary:
    """Tell the app's backend what happens. Schedules give no time: runs at once do no harm."""
    return _run("webhooks", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def job(event: Event, context: LambdaContext) -> Summary:
    """Run a job of the team, which the event names: `{"job": "weekly_digest"}`."""
    name = event["job"]
    return _run(name, event, is_own=True)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def push(event: Event, context: LambdaContext) -> PartialItemFailureResponse:
    """Deliver a batch of notifications. The answer names those that failed; SQS keeps only them."""
    metrics.add_dimension("function", "push")
    metrics.add_metric("records", MetricUnit.Count, len(event["Records"]))
    _healthy_context()
    return process_partial_response(event, _deliver, batch_processor, context)


def _run(name: str, event: Event, *, is_own: bool = False) -> Summary:
    metrics.add_dimension("function", name)
    metrics.add_metric("runs", MetricUnit.Count, 1)
    context = _healthy_context()
    try:
        summary, counts = _run_as_told(name, event, context, is_own)
    except (OperationalError, RedisError):
        _discard(context)
        raise
    for key, value in counts.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            metrics.add_metric(key, MetricUnit.Count, value)
    answer: Summary = msgspec.to_builtins(summary)
    return answer


def _run_as_told(name: str, event: Event, context: Context, is_own: bool) -> tuple[Summary, Summary]:
    """Run a function, for a time of its schedule if the event has one. Return summary and counts."""
    if event.get("dryRun") is True:
        return run(name, context, dry_run=True), {}
    if "dueAt" not in event:
        summary = run(name, context)
        return summary, summary
    done = run_due(name, context, datetime.fromisoformat(event["dueAt"]), _jobs(context, is_own))
    missed = {"missed": done.missed} if done.missed else {}
    if done.summary is None:
        return {"already_run": True}, missed
    return done.summary, {**done.summary, **missed}


def _jobs(context: Context, is_own: bool) -> Sequence[Job]:
    """Return ours, or those of the team, which a function of ours does not import."""
    if is_own:
        return [own.job for own in own_jobs(context.settings).values()]
    return built_in_jobs(context.settings)


def _deliver(record: SQSRecord) -> None:
    """Deliver one notification. Raises whatever prevented it, so that SQS keeps the record."""
    context = _context()
    try:
        outcome = _push().deliver(parse_body(record.body))
    except Exception as error:
        outcome = _OUTCOMES.get(type(error), "crashed")
        attempt = int(record.attributes.approximate_receive_count)
        after_s = retry_delay_s(attempt, error)
        log.warning(
            "notification_kept",
            outcome=outcome,
            message_id=record.message_id,
            attempt=attempt,
            after_s=after_s,
            exc_info=outcome == "crashed",
        )
        if isinstance(error, OperationalError):
            _discard(context)
        SqsQueue(context.settings.push_queue_url).postpone(record.receipt_handle, after_s)
        raise
    finally:
        metrics.add_metric(outcome, MetricUnit.Count, 1)


@cache
def _context() -> Context:
    """Make what all invocations of this process share."""
    configure_logs()
    for name, nearest in unknown_variables(os.environ):
        log.warning("unknown_setting", variable=name, nearest=nearest)
    settings = FunctionSettings.load(**read_secrets())
    return Context.make(settings, SqsQueue(settings.push_queue_url))


@cache
def _push() -> Push:
    """Make the channels, also once."""
    return Push(_context())


def _healthy_context() -> Context:
    """Return the context, or a new one if the database does not answer.

    A connection may have died while the process was frozen, or the login may have changed.
    """
    context = _context()
    try:
        with context.engine.connect() as conn:
            conn.exec_driver_sql("SELECT 1")
    except OperationalError:
        _discard(context)
    return _context()


def _discard(context: Context) -> None:
    """Close the connections. The next context reads the secrets again."""
    context.engine.dispose()
    _push.cache_clear()
    _context.cache_clear()
