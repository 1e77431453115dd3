"""Fixtures of the tests of cleanup."""

from typing import Any

import pytest

from functions import cleanup as cleanup_module
from functions.cleanup import cleanup
from functions.context import Summary
from functions.pacer import Pacer
from tests.integration.functions.cleanup.state import NOTHING, Clean
from tests.integration.functions.conftest import ContextFactory


@pytest.fixture
def clean(make_context: ContextFactory) -> Clean:
    """Return a function that runs cleanup and returns its summary without zeros."""

    def run(*, dry_run: bool = False, run_s: float = 60.0, **options: Any) -> Summary:
        summary = cleanup(make_context(**options), Pacer(run_s), dry_run)
        assert summary.keys() == NOTHING.keys()
        return {kind: count for kind, count in summary.items() if count}

    return run


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup_module, "_SLICE", 3)
