"""AWS Lambda: the handlers that `serverless.yml` names. They decode, call and encode, and nothing else.

Powertools for AWS Lambda does logs, metrics, secrets and partial batches. A process keeps its settings
and connections for all its invocations.
"""

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

from functions.aws_logs import configure_logs, logger
from functions.aws_secrets import read_secrets
from functions.channels.channel import TryLater
from functions.context import Context, Summary
from functions.push import Failed, Push
from functions.run import run
from functions.sqs import SqsQueue, Unreadable, delay_s, read_body
from infra.settings.functions import FunctionSettings

Event = dict[str, Any]

_OUTCOMES: Final[dict[type[Exception], str]] = {
    TryLater: "later",
    Failed: "failed",
    Unreadable: "unreadable",
}
"""What is logged and counted; an error of any other type is a crash, logged with its traceback."""

log = structlog.get_logger(__name__)
metrics = Metrics(namespace="BBGramChat")
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def cleanup(event: Event, context: LambdaContext) -> Summary:
    """Remove what nobody needs any more. `{"dryRun": true}` only counts, in the other two as well."""
    return _run("cleanup", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def offline_delivery(event: Event, context: LambdaContext) -> Summary:
    """Find who is to be notified and put the notifications on the queue."""
    return _run("offline_delivery", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def archive(event: Event, context: LambdaContext) -> Summary:
    """Move old messages to S3."""
    return _run("archive", event)


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def push(event: Event, context: LambdaContext) -> PartialItemFailureResponse:
    """Deliver a batch of notifications. Those that failed are named in the answer; SQS keeps only them."""
    metrics.add_dimension("function", "push")
    metrics.add_metric("records", MetricUnit.Count, len(event["Records"]))
    _ready()
    return process_partial_response(event, _deliver, processor, context)


def _run(name: str, event: Event) -> Summary:
    metrics.add_dimension("function", name)
    metrics.add_metric("runs", MetricUnit.Count, 1)
    dry_run = event.get("dryRun") is True
    context = _ready()
    try:
        summary = run(name, context, dry_run=dry_run)
    except (OperationalError, RedisError):
        _forget(context)
        raise
    for key, value in summary.items():
        if not dry_run and isinstance(value, int | float) and not isinstance(value, bool):
            metrics.add_metric(key, MetricUnit.Count, value)
    answer: Summary = msgspec.to_builtins(summary)
    return answer


def _deliver(record: SQSRecord) -> None:
    """Deliver one notification. Raises whatever makes SQS keep it; what is raised holds no body."""
    context = _context()
    try:
        outcome = _push().deliver(read_body(record.body))
    except Exception as error:
        outcome = _OUTCOMES.get(type(error), "crashed")
        attempt = int(record.attributes.approximate_receive_count)
        after_s = delay_s(attempt, error)
        log.warning(
            "notification_kept",
            outcome=outcome,
            message_id=record.message_id,
            attempt=attempt,
            after_s=after_s,
            exc_info=outcome == "crashed",
        )
        if isinstance(error, OperationalError):
            _forget(context)
        SqsQueue(context.settings.push_queue_url).postpone(record.receipt_handle, after_s)
        raise
    finally:
        metrics.add_metric(outcome, MetricUnit.Count, 1)


@cache
def _context() -> Context:
    """Make what all invocations in this process share."""
    configure_logs()
    settings = FunctionSettings.load(**read_secrets())
    return Context.make(settings, SqsQueue(settings.push_queue_url))


@cache
def _push() -> Push:
    """Make the channels, once as well."""
    return Push(_context())


def _ready() -> Context:
    """Return the context, made anew when the database does not answer the old one.

    A connection may have died while the process was frozen; a login may have changed with its secret.
    """
    context = _context()
    try:
        with context.engine.connect() as conn:
            conn.exec_driver_sql("SELECT 1")
    except OperationalError:
        _forget(context)
    return _context()


def _forget(context: Context) -> None:
    """Close the connections, and read the secrets again before the next ones are made."""
    context.engine.dispose()
    _push.cache_clear()
    _context.cache_clear()
