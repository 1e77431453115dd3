"""HTTPS servers on this machine that stand in for other people's services."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from functions.channels.outbound import make_session
from tests.integration.channels.endpoint import Endpoint, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one certificate for all servers."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def endpoint(certificate: Path) -> Iterator[Endpoint]:
    """Start a server that answers 201."""
    endpoint = Endpoint(certificate)
    yield endpoint
    endpoint.stop()


@pytest.fixture
def session(certificate: Path) -> Iterator[requests.Session]:
    """Open a session that may reach this machine, and trusts its certificate."""
    with make_session(allow_loopback=True) as session:
        session.verify = str(certificate)
        yield session
