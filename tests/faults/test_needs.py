"""What a fault needs is asked for before anything starts."""

import sys

import pytest

from tests.faults import __main__ as faults
from tests.faults.needs import Need, lacks

HERE = Need("water", lambda: True, "pour it")
LACKING = Need("fire", lambda: False, "light it")


def test_what_is_not_here_is_named_once_with_all_that_need_it() -> None:
    needs = {"first": (HERE, LACKING), "second": (LACKING,), "third": ()}
    assert list(lacks(needs)) == ["make faults needs fire: light it (for: first, second)"]


def test_nothing_starts_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["faults"])
    monkeypatch.setattr(faults, "lacks", lambda _: ["make faults needs fire: light it"])
    monkeypatch.setattr(faults, "run", lambda *_: pytest.fail("a fault was run"))
    assert faults.main() == 2
    assert capsys.readouterr() == ("", "make faults needs fire: light it\n")
