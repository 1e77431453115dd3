"""Beat starts whatever its file holds; `tests/unit/workers/test_beat.py` has more kinds of damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from infra.wire import names
from tests.conftest import DeploymentFactory
from tests.harness.waiting import eventually

DAMAGE: dict[str, Callable[[Path], Any]] = {
    "garbage": lambda path: path.write_bytes(b"\x13\x57\x9a\xce" + bytes(5_000)),
    "of an earlier release": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4_000)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_beat_starts_anew_with_a_damaged_file_and_says_so_in_one_line(
    deploy: DeploymentFactory, damage: str
) -> None:
    chat = deploy(log_json=False)
    file = Path(chat.env["BBGRAM_DATA_DIR"]) / "beat-schedule"
    DAMAGE[damage](file)
    beat = chat.start_beat()
    with Redis.from_url(chat.store.redis_url) as redis:
        eventually(lambda: redis.llen(names.QUEUE), "beat has sent a sweep")
    assert [line.partition("] ")[2].split()[0] for line in beat.log.splitlines()] == [
        "beat_started",
        "beat_schedule_damaged",
    ]
    beat.stop()
    assert file.is_file()
    assert "Traceback" not in beat.log
