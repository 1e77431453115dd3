"""The whole system on one machine: chooses ports, starts every part, prints the addresses, stops."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import CommandError
from infra.local.engines import Engine, Postgres, Valkey
from infra.local.folder import owned
from infra.local.parts import edge_part, engine_part, migration, signin_part, worker_parts
from infra.local.ports import HOST, Ports, is_free
from infra.local.stack_env import NAME, write_stack_env
from infra.local.supervisor import Supervisor
from infra.local.terminal import Terminal
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from infra.wire.commands import CHANNELS


@dataclass(frozen=True)
class Plan:
    """The parts of a stack. An engine or a sign-in service that the user provides is not started."""

    folder: Path
    port: int
    postgres: Engine | None
    valkey: Engine | None
    signin_port: int | None
    env: Mapping[str, str]
    """Environment of the parts that are ours."""


def run_stack(folder: Path, port: int, terminal: Terminal) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP, then stop all of it.

    Raises CommandError and SettingsError.
    """
    if not is_free(port):
        raise CommandError(
            f"port {port} is in use; stop what listens there, or choose another: PORT={port + 100}"
        )
    with owned(folder):
        plan = make_plan(folder, port)
        for settings in (EdgeSettings, WorkerSettings, FunctionSettings):
            settings.load(folder / NAME)
        asyncio.run(_run(plan, terminal))


def make_plan(folder: Path, port: int) -> Plan:
    """Decide what to start and where, and write `stack.env`."""
    ports = Ports(folder / "ports.json")
    database_url, redis_url, supabase_url = (
        os.environ.get(f"BBGRAM_{name}") for name in ("DATABASE_URL", "REDIS_URL", "SUPABASE_URL")
    )
    postgres = None if database_url else Postgres(folder, ports.choose("postgres", avoid=port))
    valkey = None if redis_url else Valkey(folder, ports.choose("valkey", avoid=port))
    signin_port = None if supabase_url else ports.choose("sign-in", preferred=port + 1, avoid=port)
    settings = {
        "BBGRAM_DATABASE_URL": database_url or (postgres.url if postgres else ""),
        "BBGRAM_REDIS_URL": redis_url or (valkey.url if valkey else ""),
        "BBGRAM_SUPABASE_URL": supabase_url or f"http://{HOST}:{signin_port}",
        "BBGRAM_PROVISION_PROFILES": "true",
        "BBGRAM_ORIGINS": "*",
        "BBGRAM_LOG_JSON": "false",
        "BBGRAM_PUSH_LOG": "true",
        "BBGRAM_DEVICE_CHANNELS": ",".join(CHANNELS),
        "BBGRAM_OFFLINE_DELAY_S": "10",
        "BBGRAM_OFFLINE_INTERVAL_S": "10",
    }
    write_stack_env(folder, settings)
    return Plan(folder, port, postgres, valkey, signin_port, _environment(folder, settings))


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a part: what the user has set overrides the settings of the stack."""
    given = {name: value for name, value in os.environ.items() if value}
    return {**settings, **given, "BBGRAM_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}


async def _run(plan: Plan, terminal: Terminal) -> None:
    supervisor = Supervisor(terminal)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    work = asyncio.create_task(_start_and_watch(plan, supervisor, terminal))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        terminal.line("stack", "stopping")
    finally:
        for task in (work, stopped):
            task.cancel()
        await supervisor.stop()
        await asyncio.gather(work, stopped, return_exceptions=True)


async def _start_and_watch(plan: Plan, supervisor: Supervisor, terminal: Terminal) -> None:
    terminal.line("stack", f"starting, data in {plan.folder}")
    starting = [_start_database(plan, supervisor), _start_edge(plan, supervisor)]
    if plan.signin_port:
        starting.append(supervisor.start(signin_part(plan.env, plan.folder, plan.signin_port)))
    await asyncio.gather(*starting)
    terminal.plain(_welcome(plan))
    await supervisor.watch()


async def _start_database(plan: Plan, supervisor: Supervisor) -> None:
    if plan.postgres:
        await supervisor.start(engine_part(plan.postgres))
    await supervisor.run(migration(plan.env))
    await asyncio.gather(*(supervisor.start(part) for part in worker_parts(plan.env)))


async def _start_edge(plan: Plan, supervisor: Supervisor) -> None:
    if plan.valkey:
        await supervisor.start(engine_part(plan.valkey))
    await supervisor.start(edge_part(plan.env, plan.port))


def _welcome(plan: Plan) -> str:
    program = Path(sys.argv[0])
    command = "bbgram" if program.suffix == ".py" else os.path.relpath(program)
    if os.environ.get("BBGRAM_DATA_DIR"):
        command = f"BBGRAM_DATA_DIR={plan.folder} {command}"
    lines = [
        "",
        "BB-Gram chat is running.",
        f"  Socket.IO    http://localhost:{plan.port}",
        f"  ready?       http://localhost:{plan.port}/readyz",
    ]
    if plan.signin_port:
        lines += [
            f"  sign-in      http://{HOST}:{plan.signin_port}/auth/v1 (stands in for Supabase Auth)",
            f"  a token      {command} token alice",
        ]
    return "\n".join([*lines, "  stop         Ctrl-C", ""])
