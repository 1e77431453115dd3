"""Both variants of a locking statement come from one text."""

from dataclasses import replace
from typing import Any, cast

import pytest

from workers.context import HandlerContext
from workers.locking import LockingStatement

WAITING = HandlerContext(
    presence=cast(Any, None),
    sign_outs=cast(Any, None),
    provision_profiles=True,
    text_chars=10,
    edit_s=3_600,
    unsend_s=172_800,
    page=50,
    page_max=100,
    sweep_after_s=1,
    device_channels=(),
    devices_max=1,
)
SKIPPING = replace(WAITING, patient=False)


def test_locked_rows_are_skipped_only_without_patience() -> None:
    statement = LockingStatement("SELECT 1 FOR UPDATE {skip_locked}")
    assert str(statement.for_(WAITING)).strip() == "SELECT 1 FOR UPDATE"
    assert str(statement.for_(SKIPPING)) == "SELECT 1 FOR UPDATE SKIP LOCKED"


def test_other_parts_of_the_text_may_differ_too() -> None:
    statement = LockingStatement("SELECT 1 FROM {rows} FOR UPDATE {skip_locked}", rows=("all", "some"))
    assert [str(statement.for_(context)).split()[3] for context in (WAITING, SKIPPING)] == ["all", "some"]


@pytest.mark.parametrize(("asked", "size"), [(None, 50), (1, 1), (100, 100), (10**30, 100)])
def test_a_page_is_as_large_as_asked_up_to_a_maximum(asked: int | None, size: int) -> None:
    assert WAITING.page_size(asked) == size
