"""Wires the workers together: settings in, a Celery app out."""

import logging
import os
import socket
import warnings
from dataclasses import dataclass
from secrets import token_hex

import structlog
from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from celery.worker.request import Request as CeleryRequest
from kombu.entity import Queue
from redis import Redis, RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from infra.celery_broker import broker_settings
from infra.collector import tune_collector
from infra.observability import observe
from infra.outage import Outage, postgres_address, reason
from infra.presence import PresenceReader, SignOuts
from infra.processes import Announcer
from infra.pulse import PULSE
from infra.redis_client import KEEPALIVE, make_redis
from infra.settings.base import data_dir
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from infra.store.engine import make_engine
from infra.version import VERSION
from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.clock import RedisClock
from infra.wire.serializer import CONTENT_TYPE, register_serializer
from workers import metrics
from workers.backlog import Backlog
from workers.batch_processor import BatchProcessor
from workers.beat import FileScheduler
from workers.broker import Broker, PulseStep
from workers.context import HandlerContext
from workers.expiry import drop_expired, punctual
from workers.piles import Piles
from workers.publish import Publisher
from workers.schedule import add_function_tasks, beat_schedule, check_jobs
from workers.screening import Screen
from workers.sweep import Sweep
from workers.versions import readable

log = structlog.get_logger(__name__)

_REDIS_TIMEOUT_S = 3.0
_MISSED_SWEEPS = 4
"""Beat counts as gone after this many missed sweeps."""


def create_app(settings: WorkerSettings, functions: FunctionSettings) -> Celery:
    """Return the Celery app with its tasks. Connects on first use."""
    register_serializer()
    app = Celery("bbgram", amqp=Broker)
    app.conf.update(
        **broker_settings(
            settings.redis_url,
            _REDIS_TIMEOUT_S,
            prefix=settings.redis_prefix,
            socket_keepalive=True,
            socket_keepalive_options=KEEPALIVE,
            # In seconds: a BRPOP that is answered this much too late is on a dead connection.
            health_check_interval=2,
        ),
        accept_content=["json", CONTENT_TYPE],
        # A Redis that became a replica answers with channel errors. It may soon be the primary again.
        broker_channel_error_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue=names.QUEUE,
        task_ignore_result=True,
        task_queues=[
            Queue(names.QUEUE, routing_key=names.QUEUE, no_ack=True),  # type: ignore[no-untyped-call]
            Queue(names.FUNCTIONS_QUEUE, routing_key=names.FUNCTIONS_QUEUE),  # type: ignore[no-untyped-call]
        ],
        timezone="UTC",
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
    )
    app.steps["consumer"].add(PulseStep)
    _add_tasks(app, settings)
    add_function_tasks(app, functions)
    return app


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a worker. The command that replays dead letters needs them, too."""

    redis: Redis
    clock: RedisClock
    publisher: Publisher
    engine: Engine
    context: HandlerContext
    processor: BatchProcessor


def make_parts(settings: WorkerSettings) -> Parts:
    """Return the parts of a worker. They connect on first use."""
    redis = make_redis(settings.redis_url, _REDIS_TIMEOUT_S)
    clock = RedisClock()
    publisher = Publisher(redis, clock, settings.redis_prefix)
    engine = make_engine(
        settings.database_url,
        schema=settings.database_schema,
        pooled=settings.database_pooled,
        for_batches=True,
    )
    context = HandlerContext(
        presence=PresenceReader(redis, clock, settings.redis_prefix),
        sign_outs=SignOuts(redis, settings.redis_prefix),
        provision_profiles=settings.provision_profiles,
        text_chars=settings.text_chars,
        edit_s=settings.edit_s,
        unsend_s=settings.unsend_s,
        page=settings.page,
        page_max=settings.page_max,
        sweep_after_s=settings.sweep_after_s,
        device_channels=settings.device_channels,
        devices_max=settings.devices_max,
        webhooks=settings.subscriptions,
    )
    processor = BatchProcessor(
        engine, publisher, context, pooled=settings.database_pooled, screen=_make_screen(settings)
    )
    return Parts(redis, clock, publisher, engine, context, processor)


def _make_screen(settings: WorkerSettings) -> Screen | None:
    """Return what has the app's backend look at messages, if the team wants that."""
    if settings.hook_url is None:
        return None
    from workers.hook import make_hook  # its libraries are large, and most workers need none of them

    return Screen(make_hook(settings), fails_open=settings.hook_failure == "open")


def _add_tasks(app: Celery, settings: WorkerSettings) -> None:
    parts, prefix = make_parts(settings), settings.redis_prefix
    backlog = Backlog(parts.redis, prefix)
    sweep = Sweep(parts.engine, parts.redis, parts.publisher, parts.context, prefix)
    piles = Piles(parts.engine, parts.redis, prefix)
    outage = Outage("sweep")

    @app.task(name=names.RELAY_TASK, Request=_Unacked)  # type: ignore[untyped-decorator]
    def handle_batch(batch: Batch) -> None:
        try:
            for together in backlog.follow(batch):
                known = readable(together, parts.publisher)
                if known:
                    parts.processor.process(drop_expired(known, parts.redis, parts.clock))
        except RedisError as error:
            log.warning("batch_left", batch=batch.id, error=type(error).__name__)

    @app.task(name=names.SWEEP_TASK, Request=punctual(_Unacked, lambda: parts.redis))  # type: ignore[untyped-decorator]
    def run_sweep() -> None:
        try:
            lasts_ms = int(_MISSED_SWEEPS * settings.sweep_s * 1000) + 10_000
            parts.redis.set(prefix + names.SWEPT_KEY, 1, px=lasts_ms)
            sweep.run()
            piles.count()
            metrics.SWEEPS.labels("done").inc()
            outage.ends()
        except (RedisError, SQLAlchemyError) as error:
            metrics.SWEEPS.labels("failed").inc()
            if outage.begins():
                log.warning("sweep_failed", error=f"{type(error).__name__}: {reason(error)}")


class _Unacked(CeleryRequest):  # type: ignore[misc]
    """A task from a queue without acknowledgements.

    With them, the task of a worker that died would go to another one after a visibility timeout. Lanes
    and beat send their tasks again much sooner, and acknowledging batches takes a fifth of a worker's time.
    """

    def acknowledge(self) -> None:
        """Do nothing: kombu has made no record of the task that it could acknowledge."""
        self.acknowledged = True


def run_worker(settings: WorkerSettings, functions: FunctionSettings, queue: str) -> None:
    """Run one worker process until SIGTERM. It finishes the batch or function that it is working on.

    Raises SettingsError if it runs functions and their jobs cannot be imported.
    """
    part = "functions" if queue == names.FUNCTIONS_QUEUE else "worker"
    if part == "functions":
        check_jobs(functions)
    _observe(settings, part)
    # Celery warns about running as root because of pickle, which this worker does not accept.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    node = node_name()
    app = create_app(settings, functions)
    log.info("worker_started", worker=node, queue=queue, version=VERSION)
    _look_for_postgres(settings)
    tune_collector()
    if part == "functions":
        PULSE.limit_s += functions.run_s
    with Announcer(settings.redis_url, part, settings.redis_prefix):
        app.worker_main(
            [
                "--quiet",
                "worker",
                "--pool=solo",
                f"--queues={queue}",
                f"--hostname={node}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )


def node_name() -> str:
    """Return a new name for a worker. Containers may share a host's name and the number of a process."""
    return f"worker-{os.getpid()}-{token_hex(4)}@{socket.gethostname()}"


def _look_for_postgres(settings: WorkerSettings) -> None:
    """Say so if Postgres does not answer. The worker starts all the same, and works as soon as it does."""
    engine = make_engine(settings.database_url, pooled=True)
    try:
        engine.connect().close()
    except OperationalError as error:
        address = postgres_address(settings.database_url)
        log.warning("database_unreachable", address=address, error=reason(error))
    finally:
        engine.dispose()


def run_beat(settings: WorkerSettings, functions: FunctionSettings) -> None:
    """Run Celery beat until SIGTERM. One is enough; a second one only adds load.

    Raises SettingsError if the jobs of functions cannot be imported.
    """
    times = beat_schedule(settings, functions)
    _observe(settings, "beat")
    app = create_app(settings, functions)
    app.conf.beat_schedule = times
    log.info("beat_started", version=VERSION)
    with Announcer(settings.redis_url, "beat", settings.redis_prefix):
        app.start(
            [
                "--quiet",
                "beat",
                f"--schedule={data_dir() / 'beat-schedule'}",
                f"--scheduler={FileScheduler.__module__}:{FileScheduler.__name__}",
            ]
        )


def _observe(settings: WorkerSettings, part: str) -> None:
    """Log, serve metrics and trace. Celery logs in our format, and only warnings and errors."""
    observe(settings, part)
    logging.getLogger("celery").setLevel(logging.WARNING)
    setup_logging.connect(_keep_logs)


def _keep_logs(**_: object) -> None:
    """Do nothing: Celery leaves logging alone if anything is connected to this signal."""
