"""Keeps when beat last ran each job, so that a beat that starts again makes up for what it has missed."""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog
from celery.beat import Scheduler

from infra.pulse import PULSE

log = structlog.get_logger(__name__)

_OLDEST: Final = timedelta(days=366)

_Times = dict[str, Annotated[datetime, msgspec.Meta(tz=True)]]


class FileScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler with a JSON file of names and times. It starts anew if the file is damaged.

    Celery's own keeps pickles in a `dbm` file, whose format depends on the Python that wrote it.
    """

    def __init__(self, *args: Any, schedule_filename: str, **kwargs: Any) -> None:
        self._path = Path(schedule_filename)
        self._is_kept = True
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Send what is due. Celery calls this again and again."""
        PULSE.beat()
        return super().tick(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Read the file. Celery calls this once."""
        super().setup_schedule()
        now = datetime.now(UTC)
        for name, last in self._read().items():
            if entry := self.schedule.get(name):
                possible = min(max(last, now - _OLDEST), now)
                entry.last_run_at = possible.astimezone(entry.default_now().tzinfo)

    def sync(self) -> None:
        """Write the file. Celery calls this every three minutes, and at the end."""
        times: _Times = {name: entry.last_run_at for name, entry in self.schedule.items()}
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(times))
            os.replace(new, self._path)
        except OSError as error:
            if self._is_kept:
                log.warning("beat_schedule_not_kept", path=str(self._path), error=str(error))
            self._is_kept = False

    def _read(self) -> _Times:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Times)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            damaged = self._path.with_suffix(".damaged")
            log.warning(
                "beat_schedule_damaged", path=str(self._path), error=str(error), moved_to=str(damaged)
            )
            with suppress(OSError):
                self._path.rename(damaged)
            return {}
