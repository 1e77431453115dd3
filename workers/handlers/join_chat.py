"""`join_chat`: opens the chat with a user and returns its newest page."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.wire.commands import JoinChat
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import JoinAck
from workers.chats import Chat, Pair, list_for, open_chats, people_of
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.members import delivered_up_to, member_columns, own_fields, read_members, to_peer
from workers.outcome import Outcome
from workers.pages import Window, read_pages
from workers.requests import Request

_JOIN = LockingStatement(
    """
    UPDATE chat_members w SET joined_at = now()
    FROM (
        SELECT w.chat_id, w.user_id
        FROM chat_members w
        JOIN unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS joined (chat_id, user_id)
            ON w.chat_id = joined.chat_id AND w.user_id = joined.user_id
        WHERE w.joined_at IS NULL
        ORDER BY w.chat_id, w.user_id
        FOR NO KEY UPDATE OF w {skip_locked}
    ) AS held
    WHERE w.chat_id = held.chat_id AND w.user_id = held.user_id
    """
)


def join_chats(conn: Connection, requests: Sequence[Request[JoinChat]], context: HandlerContext) -> Outcome:
    """Open the chats, record who joined them, and answer with the newest messages."""
    outcome = Outcome()
    people = people_of(conn, requests)
    pairs: dict[str, Pair] = {}
    for request in requests:
        with outcome.rejections(request):
            people.require(request.user_id)
            pairs[request.id] = Pair.of(request.user_id, people.named(request.command))
    chats = open_chats(conn, set(pairs.values()), context)
    joined = [(request, chats[pairs[request.id]]) for request in requests if request.id in pairs]
    if joined:
        _answer(conn, joined, context, outcome)
    return outcome


def _answer(
    conn: Connection,
    joined: Sequence[tuple[Request[JoinChat], Chat]],
    context: HandlerContext,
    outcome: Outcome,
) -> None:
    # First the chats, then the members, as blocks lock them.
    unlisted = list_for(conn, [(chat, request.user_id) for request, chat in joined], context)
    joining = [(chat.id, request.user_id) for request, chat in joined]
    conn.execute(_JOIN.for_(context), member_columns(joining))
    members = read_members(conn, {chat.id for _, chat in joined})
    online = context.presence.online({chat.peer_of(request.user_id) for request, chat in joined})
    windows = {
        request.id: Window.before(
            chat.id,
            chat.last_seq,
            None,
            context.page_size(request.command.limit),
            cleared_seq=members[chat.id, request.user_id].cleared_seq,
        )
        for request, chat in joined
    }
    pages = read_pages(conn, windows.values())
    for request, chat in joined:
        own = members[chat.id, request.user_id]
        if own.joined_at is None or (chat.id, request.user_id) in unlisted:
            outcome.reject(request, Rejection(ErrorCode.UNAVAILABLE))
            continue
        page = pages[windows[request.id]]
        ack = JoinAck(
            chat_id=chat.id,
            peer=to_peer(members[chat.id, chat.peer_of(request.user_id)], online),
            messages=page.messages,
            has_more=page.has_more,
            delivered_up_to=delivered_up_to(own),
            read_up_to=own.read_seq,
            archived_before=page.archived_before,
            change=chat.change,
            **own_fields(own),
        )
        outcome.succeed(request, ack)
