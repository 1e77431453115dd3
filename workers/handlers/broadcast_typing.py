"""`typing`: passed on to the other member of a chat, never stored."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from infra.store.boxes import Box
from infra.wire.commands import Typing
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import TYPING, Done, TypingStatus
from workers.arrays import array
from workers.chats import Chat, Pair, People, find_chats, people_of, read_chats, require_member
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request

_ASKING = text("SELECT id FROM profiles WHERE id = ANY(CAST(:ids AS uuid[])) AND messages_from <> 'everyone'")


def broadcast_typing(
    conn: Connection, requests: Sequence[Request[Typing]], context: HandlerContext
) -> Outcome:
    """Tell the peers. Without a chat there is nobody to tell, and none is created."""
    outcome = Outcome()
    people = people_of(conn, requests)
    pairs: dict[str, Pair] = {}
    valid = []
    for request in requests:
        with outcome.rejections(request):
            _check(request, people)
            if request.command.chat_id is None:
                pairs[request.id] = Pair.of(request.user_id, people.named(request.command))
            valid.append(request)
    by_pair = find_chats(conn, set(pairs.values()))
    by_id = read_chats(conn, {str(request.command.chat_id) for request in valid if request.command.chat_id})
    told = []
    for request in valid:
        with outcome.rejections(request):
            if request.command.chat_id is None:
                chat = by_pair.get(pairs[request.id])
            else:
                chat = require_member(by_id, str(request.command.chat_id), request.user_id)
            outcome.succeed(request, Done())
            if chat is not None and not chat.is_quiet:
                told.append((request, chat))
    unwelcome = _unwelcome(conn, told)
    for request, chat in told:
        if (chat.id, request.user_id) not in unwelcome:
            _tell(outcome, request, chat, people.by_id[request.user_id])
    return outcome


def _unwelcome(conn: Connection, told: Sequence[tuple[Request[Typing], Chat]]) -> set[tuple[str, str]]:
    """Return chat and user where nobody has written to a peer who does not hear of strangers."""
    strange = {
        (chat.id, request.user_id): chat.peer_of(request.user_id)
        for request, chat in told
        if chat.box_of(chat.peer_of(request.user_id)) is Box.UNDECIDED
    }
    if not strange:
        return set()
    asking = set(conn.execute(_ASKING, {"ids": array(set(strange.values()))}).scalars())
    return {who for who, peer_id in strange.items() if peer_id in asking}


def _check(request: Request[Typing], people: People) -> None:
    people.require(request.user_id)
    if request.command.username is not None and request.command.chat_id is not None:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Give `username` or `chatId`, and not both.")


def _tell(outcome: Outcome, request: Request[Typing], chat: Chat, username: str) -> None:
    status = TypingStatus(
        chat_id=chat.id,
        user_id=request.user_id,
        username=username,
        is_typing=request.command.is_typing,
    )
    outcome.emit(chat.peer_of(request.user_id), TYPING, status, skip=request.socket_id)
