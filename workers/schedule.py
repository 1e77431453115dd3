"""What Celery beat runs, and when."""

from typing import Any

from infra.settings import WorkerSettings
from infra.wire import names


def beat_schedule(settings: WorkerSettings) -> dict[str, dict[str, Any]]:
    """Return Celery's `beat_schedule`. A run that no worker took in time is dropped, not piled up."""
    return {
        "sweep": {
            "task": names.SWEEP_TASK,
            "schedule": settings.sweep_s,
            "options": {"expires": settings.sweep_s},
        },
    }
