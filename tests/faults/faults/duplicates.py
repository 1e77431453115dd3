"""Two of everything that should run once."""

from tests.faults import chores
from tests.faults.faults.fault import fault
from tests.faults.field import Field


@fault(
    "beat and every function twice at once",
    "offline users notified once, old rows removed or archived once",
    settings={"sweep_s": 0.5, "sweep_after_s": 1.0, "offline_delay_s": 0},
)
async def everything_twice(field: Field) -> None:
    """Start a second beat, and run each function on two workers at the same time."""
    field.chat.start_beat()
    for _ in range(2):
        field.chat.start_functions()
    for worker in field.chat.functions:
        await field.wait_idle(worker)
    await chores.notify_twice(field)
    await chores.clean_up_twice(field)
    await chores.archive_twice(field)
    field.healed()
