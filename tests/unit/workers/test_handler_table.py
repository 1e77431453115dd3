"""Every command for workers has a handler, and the order of handlers keeps its promises."""

import re

from infra.wire.registry import WORKER_COMMANDS
from workers import handlers
from workers.handler_table import HANDLERS


def test_the_table_has_exactly_the_commands_for_workers() -> None:
    assert set(HANDLERS) == set(WORKER_COMMANDS)


def test_the_package_names_the_modules_that_are_not_called_like_their_command() -> None:
    commands: dict[str, list[str]] = {}
    for command, entry in HANDLERS.items():
        module = entry.handle.__module__.rpartition(".")[2]
        if module != command:
            commands.setdefault(module, []).append(f"`{command}`")
    expected = [f"- `{module}.py`: {', '.join(names)}" for module, names in sorted(commands.items())]
    assert re.findall("^- .*$", handlers.__doc__ or "", re.MULTILINE) == expected


def test_reads_come_after_sends_and_read_marks_before_them() -> None:
    order = list(HANDLERS)
    send = order.index("send_message")
    assert order.index("mark_as_read") < send
    assert all(order.index(name) > send for name in ("get_messages", "list_chats", "sync"))


def test_what_locks_members_comes_before_what_locks_chats() -> None:
    order = list(HANDLERS)
    send = order.index("send_message")
    assert all(order.index(name) < send for name in ("mark_as_read", "confirm_delivery", "join_chat"))
