from collections.abc import Iterator

import pytest

from tests.integration.signin.service import RunningService, running_service


@pytest.fixture(scope="module")
def signin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("data")) as service:
        yield service
