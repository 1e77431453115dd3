"""Makes the channels that the settings enable."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from functions.channels.channel import Channel
from functions.channels.log import LogChannel
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings

if TYPE_CHECKING:
    from botocore.config import Config

    from functions.channels.phones import Platform

_CONNECT_TIMEOUT_S: Final = 3
_READ_TIMEOUT_S: Final = 10
_RETRIES: Final = 2
_PEM: Final = "-----BEGIN"
_APPLICATION_ARN = re.compile(r"arn:[^:]+:sns:(?P<region>[a-z0-9-]+):[0-9]+:app/.+")


def make_channels(settings: FunctionSettings) -> dict[str, Channel]:
    """Return the channels by name. None is connected yet. Raises SettingsError.

    The libraries of a channel are large and Lambda starts often, so they are imported only if it is set up.
    """
    channels: dict[str, Channel] = {"log": LogChannel()}
    if settings.sns_fcm_arn:
        channels["fcm"] = _sns(settings.sns_fcm_arn, "fcm")
    if settings.sns_apns_arn:
        channels["apns"] = _sns(settings.sns_apns_arn, "apns")
    if settings.fcm_credentials:
        channels["fcm"] = _fcm(settings.fcm_credentials)
    if settings.apns_key:
        channels["apns"] = _apns(settings)
    if settings.vapid_private_key and settings.vapid_subject:
        channels["webpush"] = _web_push(
            settings.vapid_private_key, settings.vapid_subject, settings.vapid_previous_key
        )
    if settings.email_from:
        channels["email"] = _ses(settings.email_from)
    if settings.webhook_secret:
        channels["webhook"] = _webhook(settings.webhook_secret)
    return channels


def _sns(application_arn: str, platform: "Platform") -> Channel:
    import boto3

    from functions.channels.sns import SnsChannel

    match = _APPLICATION_ARN.fullmatch(application_arn)
    if match is None:
        raise SettingsError(
            f"BBGRAM_SNS_{platform.upper()}_ARN is wrong: it is not the ARN of a platform application."
        )
    client = boto3.client("sns", region_name=match["region"], config=_aws_config())
    return SnsChannel(client, application_arn, platform)


def _fcm(credentials: str) -> Channel:
    import requests

    from functions.channels.clients import make_client
    from functions.channels.fcm import FcmChannel

    name = "BBGRAM_FCM_CREDENTIALS"
    text = credentials if credentials.lstrip().startswith("{") else _read(name, credentials)
    try:
        return FcmChannel(make_client(), requests.Session(), json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(f"{name} is wrong: it is not the JSON of a service account.") from None


def _apns(settings: FunctionSettings) -> Channel:
    from functions.channels.apns import SANDBOX_URL, URL, ApnsChannel, ProviderToken
    from functions.channels.clients import make_client

    name, key = "BBGRAM_APNS_KEY", settings.apns_key or ""
    pem = key if _PEM in key else _read(name, key)
    try:
        token = ProviderToken(pem, settings.apns_key_id or "", settings.apns_team_id or "")
    except ValueError as error:
        raise SettingsError(f"{name} is wrong: {error}.") from None
    url = SANDBOX_URL if settings.apns_sandbox else URL
    return ApnsChannel(make_client(only_http2=True), token, settings.apns_topic or "", url)


def _read(name: str, path: str) -> str:
    """Return the text of a file. The error does not quote its path, which may be a secret by mistake."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} is wrong: its file cannot be read ({type(error).__name__}).") from None


def _ses(sender: str) -> Channel:
    import boto3

    from functions.channels.ses import SesChannel

    try:
        return SesChannel(boto3.client("sesv2", config=_aws_config()), sender)
    except ValueError as error:
        raise SettingsError(f"BBGRAM_EMAIL_FROM is wrong: {error}.") from None


def _web_push(private_key: str, subject: str, previous_key: str | None) -> Channel:
    from functions.channels.outbound import make_session
    from functions.channels.web_push import WebPushChannel, load_key

    try:
        if previous_key is not None:
            load_key(previous_key)
    except ValueError as error:
        raise SettingsError(f"BBGRAM_VAPID_PREVIOUS_KEY is wrong: {error}.") from None
    try:
        return WebPushChannel(make_session(), private_key, subject, previous_key)
    except ValueError as error:
        raise SettingsError(f"BBGRAM_VAPID_PRIVATE_KEY or BBGRAM_VAPID_SUBJECT is wrong: {error}.") from None


def _webhook(secret: str) -> Channel:
    from functions.channels.outbound import make_session
    from functions.channels.webhook import WebhookChannel

    try:
        return WebhookChannel(make_session(), secret)
    except ValueError as error:
        raise SettingsError(f"BBGRAM_WEBHOOK_SECRET is wrong: {error}.") from None


def _aws_config() -> "Config":
    from botocore.config import Config

    return Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": _RETRIES},
        tcp_keepalive=True,
    )
