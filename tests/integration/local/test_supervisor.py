"""The supervisor restarts parts, shows their output, gives up with one line, and stops them in order."""

import asyncio
import io
import signal
import sys
from pathlib import Path

import psutil
import pytest

from infra.errors import CommandError
from infra.local.supervisor import Part, Supervisor
from infra.local.terminal import Terminal
from infra.local.tether import tether
from tests.harness.stack import is_gone
from tests.harness.waiting import until


def python(name: str, code: str, **options: object) -> Part:
    return Part(name, lambda: [sys.executable, "-uc", code], **options)  # type: ignore[arg-type]


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(shown: io.StringIO) -> Supervisor:
    return Supervisor(Terminal(shown))


async def test_lines_carry_the_name_of_their_part(supervisor: Supervisor, shown: io.StringIO) -> None:
    await supervisor.run(python("one", "print('first'); print('sécond')"))
    assert shown.getvalue() == "one       | first\none       | sécond\n"


async def test_an_endless_line_does_not_hide_the_next(supervisor: Supervisor, shown: io.StringIO) -> None:
    await supervisor.run(python("one", "print('x' * 300_000); print('next')"))
    assert shown.getvalue().endswith("| next\n")


async def test_a_part_that_keeps_ending_is_restarted_after_longer_and_longer_pauses(
    supervisor: Supervisor, shown: io.StringIO, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\nraise SystemExit(1)"
    await supervisor.start(python("one", code))
    go.touch()
    await until(lambda: shown.getvalue().count("starting it again") >= 2, "it is restarted twice")
    await supervisor.stop()
    assert "one ended with exit code 1; starting it again in 0.3 s" in shown.getvalue()
    assert "starting it again in 0.6 s" in shown.getvalue()


@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_reason_that_ends_all_parts_is_reported_instead_of_a_restart(
    shown: io.StringIO, tmp_path: Path, is_ready: bool
) -> None:
    data = tmp_path / "data"
    data.touch()

    def check() -> None:
        if not data.exists():
            raise CommandError("the data is gone")

    supervisor = Supervisor(Terminal(shown), check)
    code = f"import os, time\nwhile os.path.exists({str(data)!r}): time.sleep(0.01)\nraise SystemExit(1)"
    starting = asyncio.create_task(supervisor.start(python("one", code, is_ready=lambda: is_ready)))
    if is_ready:
        await starting
    data.unlink()
    with pytest.raises(CommandError, match=r"^the data is gone$"):
        await (supervisor.watch() if is_ready else starting)
    await supervisor.stop()
    assert shown.getvalue() == ""


async def test_such_a_reason_is_also_reported_if_it_keeps_a_part_from_being_prepared(
    shown: io.StringIO,
) -> None:
    def fail(message: str) -> None:
        raise CommandError(message)

    supervisor = Supervisor(Terminal(shown), lambda: fail("the data is gone"))
    part = python("one", "", prepare=lambda: fail("the data cannot be read"), is_ready=lambda: False)
    with pytest.raises(CommandError, match=r"^the data is gone$"):
        await supervisor.start(part)
    await supervisor.stop()


async def test_a_part_that_ends_before_it_is_ready_fails_the_start(supervisor: Supervisor) -> None:
    with pytest.raises(CommandError, match=r"^one ended with exit code 3$"):
        await supervisor.start(python("one", "raise SystemExit(3)", is_ready=lambda: False))
    await supervisor.stop()


async def test_the_signal_that_killed_a_part_is_reported(supervisor: Supervisor) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(CommandError, match=r"^one was ended by SIGKILL$"):
        await supervisor.run(python("one", code))


async def test_a_program_that_is_missing_fails_the_start(supervisor: Supervisor) -> None:
    part = Part("one", lambda: ["/nowhere/to/be/found"], is_ready=lambda: False)
    with pytest.raises(FileNotFoundError):
        await supervisor.start(part)
    await supervisor.stop()


async def test_parts_stop_rank_by_rank(supervisor: Supervisor, shown: io.StringIO) -> None:
    code = "import signal; signal.sigwait({signal.SIGTERM}); print('bye')"
    blocked = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); print('up'); " + code
    )
    for name, rank in (("last", 2), ("first", 0), ("second", 1)):
        await supervisor.start(python(name, blocked, stop_rank=rank))
    await until(lambda: shown.getvalue().count("up") == 3, "all are up")
    await supervisor.stop()
    byes = [line.split()[0] for line in shown.getvalue().splitlines() if line.endswith("bye")]
    assert byes == ["first", "second", "last"]


async def test_a_part_that_does_not_stop_is_killed_with_what_it_started(
    supervisor: Supervisor, shown: io.StringIO
) -> None:
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        "print(child.pid); child.wait()"
    )
    await supervisor.start(python("one", code, stop_s=0.2))
    await until(lambda: shown.getvalue().endswith("\n"), "it prints a line")
    child = psutil.Process(int(shown.getvalue().split()[-1]))
    await supervisor.stop()
    await until(lambda: is_gone(child), "the child is gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
async def test_a_tethered_program_ends_with_its_parent(supervisor: Supervisor, shown: io.StringIO) -> None:
    inner = [sys.executable, "-c", "import signal; signal.pause()"]
    code = (
        "import subprocess, signal; from infra.local.tether import tether;"
        f"print(subprocess.Popen(tether({inner!r})).pid); signal.pause()"
    )
    await supervisor.start(python("one", code))
    await until(lambda: shown.getvalue().endswith("\n"), "it prints a line")
    inner_process = psutil.Process(int(shown.getvalue().split()[-1]))

    def runs() -> bool:
        # While a process starts another program, it has no command line.
        words = " ".join(inner_process.cmdline())
        return "pause" in words and "tether" not in words

    await until(runs, "the program runs")
    supervisor.kill()
    await until(lambda: is_gone(inner_process), "the program is gone")
    await supervisor.stop()


def test_the_signal_of_a_tether_can_be_chosen() -> None:
    assert tether(["/bin/true"], signal.SIGINT)[-4:] == [str(int(signal.SIGINT)), "-1", "-1", "/bin/true"]
