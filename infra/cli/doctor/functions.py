"""Checks what the functions need: their jobs, channels, the bucket of the archive, endpoints of webhooks."""

from datetime import UTC, datetime

from infra.cli.doctor.finding import Finding, finding
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings


def jobs_finding(settings: FunctionSettings) -> Finding:
    """Check that the jobs of the team can be imported, and tell when each job runs."""
    return finding("jobs", "correct BBGRAM_JOBS", lambda: _jobs(settings))


def _jobs(settings: FunctionSettings) -> Finding:
    from functions.schedule import schedule

    return Finding("jobs", "; ".join(f"{job.name} at {job}" for job in schedule(settings)))


def channels_finding(worker: WorkerSettings, settings: FunctionSettings) -> Finding:
    """Check that every configured channel is complete, and that devices can register for no other one."""
    return finding("channels", "correct the settings of the channel", lambda: _channels(worker, settings))


def _channels(worker: WorkerSettings, settings: FunctionSettings) -> Finding:
    from functions.channels.factory import make_channels

    channels = make_channels(settings)
    sending = [name for name in channels if name != "log"]
    if not sending:
        return Finding("channels", "none is configured, so no device gets notifications")
    state = f"notifications are sent by {', '.join(sending)}"
    lacking = ", ".join(name for name in worker.device_channels if name not in channels)
    if not lacking:
        return Finding("channels", state)
    state = f"{state}, but devices may also register for {lacking}"
    return Finding("channels", state, f"configure {lacking}, or remove them from BBGRAM_DEVICE_CHANNELS")


def bucket_finding(settings: FunctionSettings) -> Finding:
    """Check that the archive can be read."""
    if settings.archive_bucket is None:
        return Finding("archive", "BBGRAM_ARCHIVE_BUCKET is not set, so nothing is archived")
    advice = "create the bucket, correct BBGRAM_ARCHIVE_BUCKET, or let these AWS credentials list it"
    return finding("archive", advice, lambda: _bucket(settings), f"the bucket {settings.archive_bucket}")


def _bucket(settings: FunctionSettings) -> Finding:
    from functions.archive.bucket import ArchiveBucket

    ArchiveBucket.connect(settings).objects(datetime.now(UTC).date())
    return Finding("archive", f"the bucket {settings.archive_bucket} can be read")


def webhooks_finding(settings: FunctionSettings) -> Finding:
    """Check that no endpoint of webhooks fails, and nothing was given up or has no endpoint any more."""
    if not settings.webhooks:
        return Finding("webhooks", "BBGRAM_WEBHOOKS is not set, so the app's backend hears of nothing")
    try:
        for endpoint in settings.endpoints:
            settings.url_of(endpoint), settings.secrets_of(endpoint)
    except SettingsError as error:
        return Finding("webhooks", str(error), "set BBGRAM_WEBHOOKS_URLS and BBGRAM_WEBHOOKS_SECRETS")
    advice = "let these settings reach Postgres, and run `bbgram migrate`"
    return finding("webhooks", advice, lambda: _webhooks(settings))


def _webhooks(settings: FunctionSettings) -> Finding:
    from functions.webhooks.outbox import read_health
    from infra.store.engine import make_engine

    engine = make_engine(
        settings.database_url, schema=settings.database_schema, pooled=settings.database_pooled
    )
    try:
        with engine.connect() as conn:
            rows = read_health(conn, settings.endpoints)
    finally:
        engine.dispose()
    lost = [row.endpoint for row in rows if row.endpoint not in settings.endpoints and row.waiting]
    failing = [row.endpoint for row in rows if row.failing_since is not None]
    dead = sum(row.dead for row in rows)
    if failing:
        return Finding(
            "webhooks",
            f"{', '.join(failing)} fails",
            "see `bbgram webhooks` for the error, and try with `bbgram webhooks test NAME`",
        )
    if lost:
        return Finding(
            "webhooks",
            f"events wait for {', '.join(lost)}, which BBGRAM_WEBHOOKS does not name",
            "name the endpoint again, or delete its rows from the table outbox",
        )
    if dead:
        return Finding(
            "webhooks", f"{dead:,} events were given up", "send them again with `bbgram webhooks replay NAME`"
        )
    return Finding("webhooks", f"events are sent to {', '.join(settings.endpoints)}")
