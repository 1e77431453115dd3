"""Escapes lone surrogates in the reports of pytest-xdist's workers, which cannot transmit them."""

from collections.abc import Generator
from typing import Any

import pytest


class PlainText:
    """Tests log and compare halves of surrogate pairs, which end up in what pytest captures and explains."""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Return the report with every such character written out, as in `\\ud800`."""
        return _escaped((yield))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_escaped, value))
    return value
