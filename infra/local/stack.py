"""The whole system on one machine: chooses ports, starts every part, prints the addresses, stops."""

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.errors import CommandError
from infra.local.engines import Engine, Postgres, Valkey
from infra.local.folder import owned, require_free
from infra.local.parts import (
    PAGE,
    edge_part,
    engine_part,
    later_parts,
    migration,
    signin_part,
    why_no_message,
    worker_part,
)
from infra.local.ports import HOST, Ports, another_port, is_free, reachable
from infra.local.provided import require_postgres, require_redis
from infra.local.stack_env import NAME, write_stack_env
from infra.local.supervisor import START_S, Supervisor
from infra.local.terminal import Terminal
from infra.local.vapid import VapidKey, vapid_key
from infra.settings.base import variable
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.unknown import unknown_variables
from infra.settings.worker import WorkerSettings
from infra.wire.commands import CHANNELS

_LOOK_S: Final = 0.5
"""How often the stack looks whether its data folder is still there."""
_POLL_S: Final = 0.1
_VAPID_SUBJECT: Final = "mailto:chat@example.com"
"""Whom a push service writes to about a sender that misbehaves. Some refuse a name without a dot."""
_LOCALHOST: Final = {"localhost", HOST}


@dataclass(frozen=True)
class Plan:
    """The parts of a stack. An engine or a sign-in service that the user provides is not started."""

    folder: Path
    host: str
    """What the edge listens on."""
    port: int
    postgres: Engine | None
    valkey: Engine | None
    signin_port: int | None
    """Where the sign-in service listens, and the chat page is."""
    vapid: VapidKey | None
    """What notifications to browsers are signed with; None if the user provides a key."""
    env: Mapping[str, str]
    """Environment of the parts that are ours."""

    @property
    def chat_url(self) -> str:
        """Where clients on this machine connect to."""
        host = reachable(self.host)
        shown = "localhost" if host in _LOCALHOST else f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}"


def run_stack(folder: Path, port: int, terminal: Terminal, command: str) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP, then stop all of it. `command` is what runs bbgram.

    Raises CommandError and SettingsError.
    """
    require_free(folder)
    host = os.environ.get(variable("host")) or EdgeSettings.model_fields["host"].default
    if not is_free(port, host):
        raise CommandError(
            f"port {port} is in use; stop what listens there, or choose another: "
            f"PORT={another_port(port, host)} make run"
        )
    with owned(folder, port) as is_there:
        plan = make_plan(folder, host, port)
        for settings in (EdgeSettings, WorkerSettings, FunctionSettings):
            settings.load(folder / NAME)
        if not plan.valkey:
            require_redis(plan.env["BBGRAM_REDIS_URL"])
        if not plan.postgres:
            require_postgres(WorkerSettings.load(folder / NAME).database_url)
        asyncio.run(_run(plan, is_there, terminal, command))


def make_plan(folder: Path, host: str, port: int) -> Plan:
    """Decide what to start and where, and write `stack.env`."""
    ports = Ports(folder / "ports.json")
    database_url, redis_url, supabase_url = (
        os.environ.get(f"BBGRAM_{name}") for name in ("DATABASE_URL", "REDIS_URL", "SUPABASE_URL")
    )
    postgres = None if database_url else Postgres(folder, ports.choose("postgres", avoid=port))
    valkey = None if redis_url else Valkey(folder, ports.choose("valkey", avoid=port))
    signin_port = None if supabase_url else ports.choose("sign-in", preferred=port + 1, avoid=port)
    vapid = None if os.environ.get(variable("vapid_private_key")) else vapid_key(folder)
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
    if vapid:
        settings |= {"BBGRAM_VAPID_PRIVATE_KEY": vapid.private, "BBGRAM_VAPID_SUBJECT": _VAPID_SUBJECT}
    write_stack_env(folder, settings)
    return Plan(folder, host, port, postgres, valkey, signin_port, vapid, _environment(folder, settings))


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a part: what the user has set overrides the settings of the stack."""
    # Whoever starts the stack has been told about the variables that are no settings.
    useless = {name for name, _ in unknown_variables(os.environ)}
    given = {name: value for name, value in os.environ.items() if value and name not in useless}
    return {**settings, **given, "BBGRAM_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}


async def _run(plan: Plan, is_there: Callable[[], bool], terminal: Terminal, command: str) -> None:
    def require_folder() -> None:
        if not is_there():
            raise CommandError(
                f"{plan.folder} was deleted or moved, so everything was stopped; `make run` starts anew"
            )

    supervisor = Supervisor(terminal, require_folder)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    tasks = [
        asyncio.create_task(_start_and_watch(plan, supervisor, terminal, command)),
        asyncio.create_task(_repeat(require_folder)),
        asyncio.create_task(stop.wait()),
    ]
    try:
        await _first(tasks)
        terminal.line("stack", "stopping")
    finally:
        for task in tasks:
            task.cancel()
        await supervisor.stop()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Wait until one of the tasks is done. Raises its error."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _repeat(check: Callable[[], None]) -> None:
    """Call `check` every now and then. Raises what it raises."""
    while True:
        check()
        await asyncio.sleep(_LOOK_S)


async def _start_and_watch(plan: Plan, supervisor: Supervisor, terminal: Terminal, command: str) -> None:
    terminal.line("stack", f"starting, data in {plan.folder}")
    starting = [_start_database(plan, supervisor), _start_edge(plan, supervisor)]
    if plan.signin_port:
        options = ("--chat-url", plan.chat_url, *(("--vapid-key", plan.vapid.public) if plan.vapid else ()))
        starting.append(supervisor.start(signin_part(plan.env, plan.folder, plan.signin_port, *options)))
    await asyncio.gather(*starting)
    watching = asyncio.create_task(supervisor.watch())
    answered = asyncio.create_task(_wait_for_workers(plan, terminal))
    try:
        await _first((watching, answered))
        terminal.plain(_welcome(plan, command))
        # Only now: until here, they would compete with the first worker for the processor.
        await asyncio.gather(*(supervisor.start(part) for part in later_parts(plan.env)))
        await supervisor.watch()
    finally:
        watching.cancel()
        answered.cancel()


async def _wait_for_workers(plan: Plan, terminal: Terminal) -> None:
    """Return when a message can be sent. Says so if that takes long."""
    deadline = time.monotonic() + START_S
    while reason := await asyncio.to_thread(why_no_message, plan.port, plan.host):
        if time.monotonic() > deadline:
            deadline += START_S
            terminal.line("stack", f"no message can be sent yet: {reason}; still waiting")
        await asyncio.sleep(_POLL_S)


async def _start_database(plan: Plan, supervisor: Supervisor) -> None:
    if plan.postgres:
        await supervisor.start(engine_part(plan.postgres))
    await supervisor.run(migration(plan.env))
    await supervisor.start(worker_part(plan.env))


async def _start_edge(plan: Plan, supervisor: Supervisor) -> None:
    if plan.valkey:
        await supervisor.start(engine_part(plan.valkey))
    await supervisor.start(edge_part(plan.env, plan.host, plan.port))


def _welcome(plan: Plan, command: str) -> str:
    if os.environ.get("BBGRAM_DATA_DIR"):
        command = f"BBGRAM_DATA_DIR={shlex.quote(str(plan.folder))} {command}"
    lines = ["", "BB-Gram chat is running."]
    if plan.signin_port and PAGE.is_dir():
        lines += [f"  open this    http://{HOST}:{plan.signin_port}"]
    lines += [f"  Socket.IO    {plan.chat_url}", f"  ready?       {plan.chat_url}/readyz"]
    if plan.signin_port:
        lines += [
            f"  sign-in      http://{HOST}:{plan.signin_port}/auth/v1 (stands in for Supabase Auth)",
            f"  a token      {command} token alice",
        ]
    return "\n".join([*lines, "  stop         Ctrl-C", ""])
