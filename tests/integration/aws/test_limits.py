"""No client of AWS waits long for a service that has gone silent."""

from typing import Any

import botocore.session
import pytest

from functions.archive.bucket import make_client
from functions.aws.secret_settings import Vault
from functions.aws.sqs import SqsQueue
from functions.channels.factory import make_channels
from infra.settings.functions import FunctionSettings

APPLICATION = "arn:aws:sns:eu-central-1:123456789012:app/GCM/chat"
SERVICES = {"sns", "sesv2", "s3", "sqs", "ssm", "secretsmanager"}


@pytest.fixture
def made(account: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration of each client that is made, by service."""
    made: dict[str, Any] = {}
    create = botocore.session.Session.create_client

    def record(session: Any, service: str, *args: Any, **options: Any) -> Any:
        client = create(session, service, *args, **options)
        made[service] = client.meta.config
        return client

    monkeypatch.setattr(botocore.session.Session, "create_client", record)
    return made


def test_every_client_has_limits_of_ours(made: dict[str, Any]) -> None:
    urls: dict[str, Any] = {"database_url": "postgresql://localhost/chat", "redis_url": "redis://localhost"}
    make_channels(FunctionSettings(**urls, sns_fcm_arn=APPLICATION, email_from="chat@example.com"))
    make_client()
    _ = SqsQueue("https://sqs.example/queue")._client
    _ = (vault := Vault()).parameters.client, vault.secrets.client
    assert made.keys() == SERVICES
    for service, config in made.items():
        assert config.connect_timeout == 3, service
        assert config.read_timeout <= 20, service
        assert config.tcp_keepalive, service
