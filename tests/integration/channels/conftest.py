"""Other people's services: AWS as moto plays it, and HTTPS servers on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from moto import mock_aws

from functions.channels.outbound import make_session
from tests.integration.channels.endpoint import Endpoint, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one certificate for all servers."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def endpoint(certificate: Path) -> Iterator[Endpoint]:
    """Start a server that says 201."""
    endpoint = Endpoint(certificate)
    yield endpoint
    endpoint.stop()


@pytest.fixture
def session(certificate: Path) -> Iterator[requests.Session]:
    """Open a session that may reach this machine, and trusts its certificate."""
    with make_session(allow_loopback=True) as session:
        session.verify = str(certificate)
        yield session


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Play AWS, so that nothing reaches the real one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield
