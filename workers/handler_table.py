"""Which handler handles which command, and in which order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from infra.wire import registry
from workers.context import HandlerContext
from workers.handlers.block_user import list_blocked, set_blocks
from workers.handlers.broadcast_presence import broadcast_presence
from workers.handlers.broadcast_typing import broadcast_typing
from workers.handlers.catch_up import catch_up
from workers.handlers.clear_chat import clear_chats
from workers.handlers.confirm_delivery import confirm_deliveries
from workers.handlers.devices import register_devices, unregister_devices
from workers.handlers.disconnect_user import disconnect_users
from workers.handlers.edit_message import edit_messages, revise_messages
from workers.handlers.ensure_profile import ensure_profile
from workers.handlers.erase_user import erase_users
from workers.handlers.export_user import export_users
from workers.handlers.get_messages import get_messages
from workers.handlers.join_chat import join_chats
from workers.handlers.list_chats import list_chats
from workers.handlers.list_reports import close_reports, get_reports, list_reports
from workers.handlers.mark_as_read import mark_as_read
from workers.handlers.put_user import get_users, put_users
from workers.handlers.react import react
from workers.handlers.report import report
from workers.handlers.send_message import send_messages
from workers.handlers.set_chat import set_chats
from workers.handlers.sync import sync
from workers.handlers.unsend_message import remove_messages, unsend_messages
from workers.handlers.user_settings import get_settings, update_settings
from workers.outcome import Outcome
from workers.requests import Request

Handler = Callable[[Connection, Sequence[Request[Any]], HandlerContext], Outcome]


@dataclass(frozen=True, slots=True)
class Entry:
    """A handler, and what to know before it is called."""

    handle: Handler
    needs_transaction: bool = False
    """Whether its statements must be committed together. A batch without such a command has no transaction.

    A send or a receipt is usually one statement. Where they need several, and in the other commands that
    write, each statement may be repeated: a worker that dies in between leaves an empty chat, or a profile.
    """
    locks_chats: bool = False
    """Whether it locks chats; those of several such handlers are locked together (`workers.chat_locks`)."""
    reads_pages: bool = False
    """Whether each request reads a page of messages or users. Few of these fit into memory at once."""


HANDLERS: Final[dict[str, Entry]] = {
    registry.INTRODUCE: Entry(ensure_profile),
    registry.PUT_USER: Entry(put_users, needs_transaction=True),
    registry.GET_USER: Entry(get_users),
    registry.DISCONNECT_USER: Entry(disconnect_users),
    registry.ERASE_USER: Entry(erase_users, needs_transaction=True),
    "update_settings": Entry(update_settings, needs_transaction=True),
    "report": Entry(report, needs_transaction=True, reads_pages=True),
    registry.CATCH_UP: Entry(catch_up, reads_pages=True),
    "mark_as_read": Entry(mark_as_read, needs_transaction=True, locks_chats=True),
    registry.CONFIRM_DELIVERY: Entry(confirm_deliveries),
    "clear_chat": Entry(clear_chats, needs_transaction=True, locks_chats=True),
    registry.CLOSE_REPORT: Entry(close_reports),
    "block_user": Entry(set_blocks, needs_transaction=True, locks_chats=True),
    "unblock_user": Entry(set_blocks, needs_transaction=True, locks_chats=True),
    "accept_chat": Entry(set_chats, needs_transaction=True, locks_chats=True),
    "decline_chat": Entry(set_chats, needs_transaction=True, locks_chats=True),
    "set_chat": Entry(set_chats, needs_transaction=True, locks_chats=True),
    "join_chat": Entry(join_chats, needs_transaction=True, locks_chats=True, reads_pages=True),
    "send_message": Entry(send_messages, locks_chats=True),
    registry.SEND_SYSTEM_MESSAGE: Entry(send_messages, locks_chats=True),
    "edit_message": Entry(edit_messages, needs_transaction=True, locks_chats=True),
    registry.REVISE_MESSAGE: Entry(revise_messages, needs_transaction=True, locks_chats=True),
    "unsend_message": Entry(unsend_messages, needs_transaction=True, locks_chats=True),
    registry.REMOVE_MESSAGE: Entry(remove_messages, needs_transaction=True, locks_chats=True),
    "react": Entry(react, needs_transaction=True, locks_chats=True),
    "get_messages": Entry(get_messages, reads_pages=True),
    "list_chats": Entry(list_chats, reads_pages=True),
    "sync": Entry(sync, reads_pages=True),
    registry.EXPORT_USER: Entry(export_users, reads_pages=True),
    registry.LIST_REPORTS: Entry(list_reports),
    registry.GET_REPORT: Entry(get_reports, reads_pages=True),
    "get_settings": Entry(get_settings),
    "list_blocked": Entry(list_blocked, reads_pages=True),
    "typing": Entry(broadcast_typing),
    "register_device": Entry(register_devices, needs_transaction=True),
    "unregister_device": Entry(unregister_devices),
    registry.ANNOUNCE: Entry(broadcast_presence),
}
"""By command, in the order in which the commands of a batch are handled.

Reads come after sends, so that clients find what they have just sent. Marking as read comes before sends, so
that it covers only messages that the reader can have seen. Joins come before sends as well, so that a message
is not both on the page and in an event right after it. Reports come before changes, so that they hold what
the reporter saw. What locks profiles comes before what locks chats, so that batches rarely deadlock.
"""


def _first_with_each_handler() -> dict[str, str]:
    first: dict[Handler, str] = {}
    return {name: first.setdefault(entry.handle, name) for name, entry in HANDLERS.items()}


HANDLED_AS: Final = _first_with_each_handler()
"""By command, the first one with the same handler. It gets all of them in the order in which they came.

So the last of some commands that undo each other wins, as their acks say.
"""
