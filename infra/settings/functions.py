"""Settings of `functions`, wherever they run: on Celery, on AWS Lambda, or from the command line."""

import re
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from infra.settings.base import SettingsError, variable
from infra.settings.changes import ChangeSettings
from infra.settings.jobs import JobSettings
from infra.settings.observability import LogSettings
from infra.settings.store import StoreSettings
from infra.settings.templates import load_languages
from infra.settings.time_zones import TimeZone
from infra.settings.values import (
    Count,
    Days,
    NonNegativeSeconds,
    RedisAddress,
    RedisPrefix,
    Seconds,
    Words,
    are_signing_secrets,
)
from infra.settings.webhooks import WebhookSettings
from infra.wire.urls import check_url

_HOURS: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_DAY_S: Final = 86_400
_ARCHIVE_NEEDS_DAYS: Final = 2
"""A UTC day is archived in the night after all of it is old enough: up to two days after it began."""


def _quiet_hours(value: str) -> str:
    hours = _HOURS.fullmatch(value)
    if hours is None or hours[1] == hours[2]:
        raise ValueError("must look like 22:00-07:00")
    return value


def _apple_id(value: str) -> str:
    if re.fullmatch(r"[A-Z0-9]{10}", value) is None:
        raise ValueError("must be 10 capital letters and digits")
    return value


def _bundle_id(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.-]{1,155}", value) is None:
        raise ValueError("must look like com.example.chat")
    return value


def _texts(path: str) -> str:
    load_languages(path)
    return path


def _pairs(value: tuple[str, ...]) -> dict[str, str]:
    """Return what stands for each endpoint. The message quotes nothing, as it may be secret."""
    pairs = {}
    for entry in value:
        name, is_pair, given = entry.partition("=")
        if not is_pair or not given.strip() or name.strip() in pairs:
            raise ValueError("must look like app=...,audit=..., with each endpoint once")
        pairs[name.strip()] = given.strip()
    return pairs


def _urls(value: tuple[str, ...]) -> tuple[str, ...]:
    for name, url in _pairs(value).items():
        try:
            check_url(url)
        except ValueError as error:
            raise ValueError(f"has no usable URL for {name}: {error}") from None
    return value


def _lack(setting: str, endpoint: str) -> str:
    return f"{variable(setting)} lacks {endpoint}, which {variable('webhooks')} names."


def _secrets(value: tuple[str, ...]) -> tuple[str, ...]:
    for name, secrets in _pairs(value).items():
        if not are_signing_secrets(secrets):
            raise ValueError(f"has a secret for {name} that is not whsec_ and 24 to 64 bytes in base64")
    return value


class FunctionSettings(StoreSettings, LogSettings, ChangeSettings, JobSettings, WebhookSettings):
    """Settings of functions."""

    redis_url: RedisAddress | None = None
    """`redis://` or [`rediss://`](#tls) address of the one Redis that edges, workers and functions share, or
    that of its [Sentinels](#redis-with-failover); of the functions, only `offline_delivery` needs it."""
    redis_prefix: RedisPrefix = ""
    """Comes before every key and channel in Redis, so that
    [several deployments](#several-deployments-on-one-redis) can share one; the same for all its parts."""
    run_s: Seconds = 600.0
    """A run of a function starts no new work after this time; the next run continues."""

    dead_letter_days: Days = 30
    """Dead letters are deleted after this time."""
    device_days: Days = 180
    """A device that has not been registered again for this long is deleted."""
    notification_days: int = Field(15, ge=2, le=36_500)
    """Notifications are deleted after this time; keep it above the retention of a dead-letter queue that
    refers to them (14 days on AWS)."""
    report_days: Days = 180
    """Reports are deleted after this time, open or closed, and the copies of messages with them."""
    retention_days: Days | None = None
    """Messages are deleted after this time, delivered or not; kept forever when not set."""

    offline_delay_s: NonNegativeSeconds = 60.0
    """How long a message must be undelivered before its recipient is notified."""
    offline_interval_s: NonNegativeSeconds = 300.0
    """Shortest time between two notifications to one user."""
    quiet_hours: Annotated[str, AfterValidator(_quiet_hours)] | None = None
    """`22:00-07:00`: nobody is notified between these times, in the time zone of their device."""
    time_zone: TimeZone = "UTC"
    """Time zone of users whose devices have not given one, like `Europe/Berlin`."""

    hide_texts: bool = False
    """Notifications leave out message texts."""
    notification_texts: Annotated[str, AfterValidator(_texts)] | None = None
    """Path of a TOML file with [the texts of notifications](functions.md#texts) in other languages than
    English."""
    push_tries: Count = 5
    """Attempts at a notification before it becomes a dead letter."""
    push_queue_url: str | None = None
    """SQS queue of notifications; on AWS Lambda only."""
    push_log: bool = False
    """Also log every notification, without its text."""
    sns_fcm_arn: str | None = None
    """SNS platform application for Android; enables `fcm`."""
    sns_apns_arn: str | None = None
    """SNS platform application for Apple; enables `apns`. With `APNS_SANDBOX` in its name, it is used as
    a sandbox."""
    fcm_credentials: str | None = None
    """[FCM without AWS](functions.md#fcm-and-apns-without-aws): the service account of the Firebase project,
    as path of its JSON file or as the JSON itself; enables `fcm`."""
    apns_key: str | None = None
    """[APNs without AWS](functions.md#fcm-and-apns-without-aws): Apple's `.p8` key, as its path or as the
    text itself; together with the next three it enables `apns`."""
    apns_key_id: Annotated[str, AfterValidator(_apple_id)] | None = None
    """APNs without AWS: the id of the key."""
    apns_team_id: Annotated[str, AfterValidator(_apple_id)] | None = None
    """APNs without AWS: the id of the team that the key belongs to."""
    apns_topic: Annotated[str, AfterValidator(_bundle_id)] | None = None
    """APNs without AWS: the bundle id of the app, like `com.example.chat`."""
    apns_sandbox: bool = False
    """APNs without AWS: use the sandbox, for apps that are built for development."""
    vapid_private_key: str | None = None
    """Web Push: private key, base64url or PEM; together with `VAPID_SUBJECT` it enables `webpush`."""
    vapid_previous_key: str | None = None
    """Web Push: the private key before the current one, while browsers that subscribed with it are still
    in use."""
    vapid_subject: str | None = None
    """Web Push: `mailto:` or `https:` address of the sender."""
    email_from: str | None = None
    """Sender address verified in SES; enables `email`."""
    webhook_secret: str | None = None
    """`whsec_` and base64: signs webhooks; enables `webhook`."""

    webhooks_urls: Annotated[Words, AfterValidator(_urls)] = ()
    """[Webhooks](webhooks.md): where each endpoint is, like `app=https://app.example/chat-events`."""
    webhooks_secrets: Annotated[Words, AfterValidator(_secrets)] = ()
    """[Webhooks](webhooks.md): what signs the requests to each endpoint, like `app=whsec_...`; two secrets,
    separated by a space, while the endpoint changes from one to the other."""
    webhooks_s: Seconds = 2.0
    """How often somebody looks for events to send: beat, or a run on AWS Lambda."""
    webhooks_stay_s: NonNegativeSeconds = 0.0
    """How long a run goes on looking every `WEBHOOKS_S`; for AWS Lambda, where one starts each minute."""
    webhooks_batch: int = Field(100, ge=1, le=1_000)
    """The most events in a request."""
    webhooks_parallel: int = Field(4, ge=1, le=32)
    """Requests to an endpoint at once; the events of a chat are never in two of them."""
    webhooks_retry_s: Seconds = 5.0
    """Pause after an endpoint failed; it doubles up to 15 minutes."""
    webhooks_give_up_s: Seconds = 86_400.0
    """An event becomes a dead letter when its endpoint has failed for this long."""

    archive_bucket: str | None = None
    """S3 bucket of the archive; nothing is archived when not set."""
    archive_prefix: str = "archive"
    """Prefix of the names of its objects."""
    archive_days: Days = 90
    """Messages older than this are archived."""
    archive_shards: int = Field(1, ge=1, le=64)
    """Number of objects that hold the messages of one day."""
    archive_hold_days: int = Field(30, ge=0, le=36_500)
    """How long restored messages stay before they are archived again."""

    export_bucket: str | None = None
    """S3 bucket of [exports](erasure.md#export); give it a lifecycle rule that deletes them."""
    export_prefix: str = "exports"
    """Prefix of the names of its objects."""
    export_link_s: int = Field(86_400, ge=60, le=604_800)
    """How long the signed link to an export works, in seconds; S3 allows a week."""

    def url_of(self, endpoint: str) -> str:
        """Return where an endpoint is. Raises SettingsError without its URL."""
        return self._of(endpoint, "webhooks_urls")

    def secrets_of(self, endpoint: str) -> list[str]:
        """Return what signs the requests to an endpoint. Raises SettingsError without secrets."""
        return self._of(endpoint, "webhooks_secrets").split()

    def _of(self, endpoint: str, setting: str) -> str:
        try:
            return _pairs(getattr(self, setting))[endpoint]
        except KeyError:
            raise SettingsError(_lack(setting, endpoint)) from None

    @property
    def _sends_webhooks(self) -> bool:
        return bool(self.webhooks_urls or self.webhooks_secrets)

    def contradictions(self) -> Iterator[str]:
        """Yield a line for each setting that does not fit the others."""
        yield from super().contradictions()
        # Whoever only writes events, or schedules them, needs neither.
        for setting in ("webhooks_urls", "webhooks_secrets") if self._sends_webhooks else ():
            known = _pairs(getattr(self, setting))
            yield from (_lack(setting, endpoint) for endpoint in self.endpoints if endpoint not in known)
        if (self.vapid_private_key is None) != (self.vapid_subject is None):
            given, lacking = variable("vapid_private_key"), variable("vapid_subject")
            if self.vapid_private_key is None:
                given, lacking = lacking, given
            yield f"{lacking} is not set, but {given} is. Web Push needs both: set it too."
        yield from self._phones()
        if self.vapid_previous_key is not None and self.vapid_private_key is None:
            yield (
                f"{variable('vapid_previous_key')} is set, but {variable('vapid_private_key')} is not. "
                "Set the current key, too."
            )
        if self.offline_interval_s > self.notification_days * _DAY_S:
            yield (
                f"{variable('offline_interval_s')} is wrong: {self.offline_interval_s:g} s is longer than "
                f"notifications are kept. Lower it, or raise {variable('notification_days')} "
                f"({self.notification_days})."
            )
        # `cleanup` must not delete what `archive` has not had its chance to move.
        changeable_days = -(-self.changeable_s // _DAY_S)
        needed = max(self.archive_days, changeable_days) + _ARCHIVE_NEEDS_DAYS
        if self.archive_bucket and self.retention_days is not None and self.retention_days < needed:
            name = "archive_days"
            if changeable_days > self.archive_days:
                name = "edit_s" if self.edit_s > self.unsend_s else "unsend_s"
            yield (
                f"{variable('retention_days')} is wrong: after {self.retention_days} days messages would be "
                f"deleted before they are archived. Set it to {needed} or more, "
                f"or lower {variable(name)} ({getattr(self, name)})."
            )

    def _phones(self) -> Iterator[str]:
        """Yield a line for what phones would get twice, or not at all."""
        for direct, by_sns in (("fcm_credentials", "sns_fcm_arn"), ("apns_key", "sns_apns_arn")):
            if getattr(self, direct) is not None and getattr(self, by_sns) is not None:
                yield f"{variable(direct)} and {variable(by_sns)} are both set. Unset one of them."
        names = ("apns_key", "apns_key_id", "apns_team_id", "apns_topic")
        lacking = [variable(name) for name in names if getattr(self, name) is None]
        if 0 < len(lacking) < len(names):
            yield f"{', '.join(lacking)} must be set: APNs needs all of {', '.join(map(variable, names))}."
