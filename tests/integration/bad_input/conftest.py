"""A user who sends bad input."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Name
from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient
from tests.integration.bad_input.refusals import with_profile


@pytest.fixture
def mallory(chat: Deployment, name: Name) -> str:
    """Return the name of a user who has a profile and nothing else."""
    return with_profile(chat, name("mallory"))


@pytest.fixture
async def raw(chat: Deployment, mallory: str) -> AsyncIterator[RawClient]:
    """Connect mallory."""
    async with RawClient(chat.edges[0], mallory) as client:
        yield client
