"""Which channels the settings enable."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from functions.channels.apns import ApnsChannel
from functions.channels.factory import make_channels
from functions.channels.fcm import FcmChannel
from functions.channels.log import LogChannel
from functions.channels.ses import SesChannel
from functions.channels.sns import SnsChannel
from functions.channels.web_push import WebPushChannel
from functions.channels.webhook import WebhookChannel
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from tests.integration.channels.push_services import pem

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


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the settings of FCM and APNs, as texts."""
    account = {
        "type": "service_account",
        "project_id": "chat-1",
        "private_key": pem(rsa.generate_private_key(65_537, 2_048)),
        "client_email": "push@chat-1.iam.example",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return {
        "fcm_credentials": json.dumps(account),
        "apns_key": pem(ec.generate_private_key(ec.SECP256R1())),
        **{"apns_key_id": "ABC123DEFG", "apns_team_id": "DEF123GHIJ", "apns_topic": "com.example.chat"},
    }


@pytest.mark.parametrize("is_path", [False, True])
def test_phones_are_reached_without_aws(direct: dict[str, str], is_path: bool, tmp_path: Path) -> None:
    if is_path:
        for name in ("fcm_credentials", "apns_key"):
            (tmp_path / name).write_text(direct[name])
            direct = {**direct, name: str(tmp_path / name)}
    channels = make_channels(settings(**direct))
    assert {name: type(channel) for name, channel in channels.items()} == {
        "log": LogChannel,
        "fcm": FcmChannel,
        "apns": ApnsChannel,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fcm_credentials", "/nowhere/secret.json"),
        ("fcm_credentials", "{secret}"),
        ("fcm_credentials", '{"type": "secret"}'),
        ("apns_key", "/nowhere/secret.p8"),
        ("apns_key", "-----BEGIN PRIVATE KEY-----\nsecret"),
    ],
)
def test_a_wrong_key_of_a_phone_service_is_named_and_not_repeated(
    direct: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"^BBGRAM_{name.upper()} is wrong: ") as caught:
        make_channels(settings(**{**direct, name: value}))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("is_sandbox", "host"), [(False, "api.push.apple.com"), (True, "api.sandbox.push.apple.com")]
)
def test_the_sandbox_of_apple_is_another_host(direct: dict[str, str], is_sandbox: bool, host: str) -> None:
    apns = make_channels(settings(**direct, apns_sandbox=is_sandbox))["apns"]
    assert isinstance(apns, ApnsChannel)
    assert apns.url == f"https://{host}"


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
        "large = {'boto3', 'botocore', 'google.auth', 'httpx', 'jwt', 'pywebpush', 'requests'};"
        "print(sorted(large & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
