"""Which channels the settings enable."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from functions.channels.factory import make_channels
from functions.channels.log import LogChannel
from functions.channels.ses import SesChannel
from functions.channels.sns import SnsChannel
from functions.channels.web_push import WebPushChannel
from functions.channels.webhook import WebhookChannel
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings

EVERYTHING = {
    "sns_fcm_arn": "arn:aws:sns:eu-west-1:123456789012:app/GCM/chat",
    "sns_apns_arn": "arn:aws:sns:eu-west-1:123456789012:app/APNS/chat",
    "vapid_private_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
    "vapid_subject": "mailto:admin@example.com",
    "email_from": "chat@example.com",
    "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def settings(**values: Any) -> FunctionSettings:
    return FunctionSettings(database_url="postgresql://nowhere/", **values)


def test_without_settings_there_is_only_the_log_channel() -> None:
    channels = make_channels(settings())
    assert {name: type(channel) for name, channel in channels.items()} == {"log": LogChannel}


def test_every_configured_channel_is_made(account: None) -> None:
    channels = make_channels(settings(**EVERYTHING))
    assert {name: type(channel) for name, channel in channels.items()} == {
        "log": LogChannel,
        "fcm": SnsChannel,
        "apns": SnsChannel,
        "webpush": WebPushChannel,
        "email": SesChannel,
        "webhook": WebhookChannel,
    }


def test_a_region_that_the_environment_does_not_name_is_taken_from_the_arn(
    account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "fcm" in make_channels(settings(sns_fcm_arn=EVERYTHING["sns_fcm_arn"]))


@pytest.mark.parametrize("alone", ["vapid_private_key", "vapid_subject"])
def test_web_push_needs_both_a_key_and_a_subject(alone: str) -> None:
    with pytest.raises(ValidationError, match=r"Web Push needs both"):
        settings(**{alone: EVERYTHING[alone]})


def test_a_previous_key_needs_a_current_one() -> None:
    with pytest.raises(ValidationError, match=r"Set the current key, too"):
        settings(vapid_previous_key=EVERYTHING["vapid_private_key"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sns_fcm_arn", "chat"),
        ("sns_apns_arn", "arn:aws:sns"),
        ("vapid_private_key", "secret"),
        ("vapid_previous_key", "secret"),
        ("vapid_subject", "secret"),
        ("email_from", "secret"),
        ("webhook_secret", "whsec_x"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(name: str, value: str, account: None) -> None:
    with pytest.raises(SettingsError, match=f"BBGRAM_{name.upper()}") as caught:
        make_channels(settings(**{**EVERYTHING, name: value}))
    assert "secret" not in str(caught.value).replace("webhook secret", "")


def test_libraries_that_no_channel_needs_are_not_imported() -> None:
    code = (
        "import sys, functions.channels.factory as factory;"
        "from infra.settings.functions import FunctionSettings;"
        "factory.make_channels(FunctionSettings(database_url='postgresql://nowhere/'));"
        "print(sorted({'boto3', 'botocore', 'pywebpush', 'requests'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
