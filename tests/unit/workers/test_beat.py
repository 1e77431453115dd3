"""Beat remembers when it ran what, and starts anew if it cannot read that."""

import os
import shelve
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from celery import Celery
from structlog.testing import capture_logs

from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from workers.beat import FileScheduler
from workers.schedule import beat_schedule

URLS: dict[str, Any] = {"database_url": "postgresql://localhost/chat", "redis_url": "redis://localhost"}

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], FileScheduler]]:
    with Celery(broker="memory://", set_as_current=False) as app:
        app.conf.update(beat_schedule=beat_schedule(WorkerSettings(**URLS), FunctionSettings(**URLS)))
        yield lambda: FileScheduler(app, schedule_filename=str(tmp_path / "data" / "beat-schedule"))


@pytest.fixture
def file(make: Callable[[], FileScheduler], tmp_path: Path) -> Path:
    """The file of a beat that has stopped."""
    make().close()
    return tmp_path / "data" / "beat-schedule"


def events(logs: Any) -> list[str]:
    return [line["event"] for line in logs]


def test_a_beat_that_starts_again_knows_what_it_has_missed(
    make: Callable[[], FileScheduler], file: Path
) -> None:
    first = make()
    for entry in first.schedule.values():
        entry.last_run_at -= timedelta(days=2)
    before = {name: entry.last_run_at for name, entry in first.schedule.items()}
    first.close()
    with capture_logs() as logs:
        again = make()
    assert {name: entry.last_run_at for name, entry in again.schedule.items()} == before
    assert all(again.is_due(entry).is_due for entry in again.schedule.values())
    assert logs == []


def test_a_beat_that_starts_for_the_first_time_says_nothing(make: Callable[[], FileScheduler]) -> None:
    with capture_logs() as logs:
        scheduler = make()
    assert set(scheduler.schedule) == {"sweep", "offline_delivery", "erase_users", "cleanup"}
    assert logs == []


def shelf(path: Path) -> None:
    """Write what earlier releases wrote, in one file as most versions of dbm do."""
    with shelve.open(str(path.with_name("old"))) as old:
        old["entries"] = {"cleanup": datetime.now(UTC)}
    path.write_bytes(b"".join(part.read_bytes() for part in sorted(path.parent.glob("old*"))))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "full").touch()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "garbage": lambda path: path.write_bytes(os.urandom(5_000)),
    "zeros": lambda path: path.write_bytes(bytes(4_096)),
    "no Unicode": lambda path: path.write_bytes(b'{"\xff": "2026-01-01T00:00:00Z"}'),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "another form": lambda path: path.write_bytes(b'["cleanup"]'),
    "no times": lambda path: path.write_bytes(b'{"cleanup": {}}'),
    "no zone": lambda path: path.write_bytes(b'{"cleanup": "2026-01-01T00:00:00"}'),
    "no day": lambda path: path.write_bytes(b'{"cleanup": "2026-02-30T00:00:00Z"}'),
    "shelf": shelf,
    "folder": folder,
    "loop": loop,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_beat_whose_file_is_damaged_starts_anew_and_says_so(
    make: Callable[[], FileScheduler], file: Path, damage: str
) -> None:
    DAMAGE[damage](file)
    began = datetime.now(UTC)
    with capture_logs() as logs:
        scheduler = make()
        scheduler.close()
    assert events(logs) == ["beat_schedule_damaged"]
    assert all(entry.last_run_at >= began for entry in scheduler.schedule.values())
    assert msgspec.json.decode(file.read_bytes()).keys() == scheduler.schedule.keys()
    with capture_logs() as logs:
        make()
    assert logs == []


@pytest.mark.parametrize(
    ("time", "is_due"),
    [("9999-12-31T23:59:59Z", False), ("0001-01-01T00:00:00+14:00", True), ("2100-01-01T00:00:00Z", False)],
)
def test_a_time_that_cannot_be_right_holds_nothing_up(
    make: Callable[[], FileScheduler], file: Path, time: str, is_due: bool
) -> None:
    file.write_bytes(msgspec.json.encode({"cleanup": time, "sweep": time, "gone": time}))
    scheduler = make()
    assert "gone" not in scheduler.schedule
    for name in ("cleanup", "sweep"):
        due, wait_s = scheduler.is_due(scheduler.schedule[name])
        assert due == is_due
        assert wait_s <= 90_000


def test_a_beat_that_cannot_write_runs_and_says_so_once(
    make: Callable[[], FileScheduler], file: Path
) -> None:
    file.unlink()
    file.parent.rmdir()
    file.parent.touch()
    with capture_logs() as logs:
        scheduler = make()
        for _ in range(3):
            scheduler.sync()
    assert events(logs) == ["beat_schedule_not_kept"]
