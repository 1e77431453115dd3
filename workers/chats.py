"""Finding and opening the chats that a batch is about."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import uuid_utils
from sqlalchemy import Connection, Row, text

from infra.store.boxes import Box
from infra.store.outbox import ISO_MS, insertion
from infra.store.profiles import MAX_USERNAME, find_key, has_username_length
from infra.wire.commands import BlockUser, JoinChat, SendMessage, Typing, UnblockUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.webhooks import CHAT_CREATED
from workers.arrays import array
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.requests import Request

_PROFILES = text(
    """
    SELECT p.id, p.username, p.username_key
    FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
    JOIN profiles p ON p.id = asked.id AND p.deleted_at IS NULL
    UNION
    SELECT p.id, p.username, p.username_key
    FROM unnest(CAST(:keys AS text[])) AS asked (key) JOIN profiles p ON p.username_key = asked.key
    """
)
"""Two joins: OR would compare each row of a small table with every element of both arrays."""
_COLUMNS = """
    c.id, c.user_lo, c.user_hi, c.last_seq, c.change,
    c.lo_box, c.hi_box, c.lo_blocked_at IS NOT NULL OR c.hi_blocked_at IS NOT NULL AS is_blocked
"""
_BY_PAIR = text(
    f"""
    SELECT {_COLUMNS}
    FROM chats c
    JOIN unnest(CAST(:los AS uuid[]), CAST(:his AS uuid[])) AS pair (lo, hi)
        ON c.user_lo = pair.lo AND c.user_hi = pair.hi
    """
)
_BOX = f"""
    CASE
        WHEN lo = hi THEN {Box.INBOX}
        WHEN {{user}}.messages_from = 'everyone' AND :is_listed THEN {Box.UNDECIDED}
        ELSE {Box.UNSEEN}
    END
"""
"""Who wants to be asked is shown no chat that somebody else has made."""
_INSERT = f"""
    WITH made AS (
        INSERT INTO chats (id, user_lo, user_hi, lo_box, hi_box, lo_unread, hi_unread)
        SELECT pair.id, lo, hi, {_BOX.format(user="p")}, {_BOX.format(user="q")}, false, false
        FROM unnest(CAST(:ids AS uuid[]), CAST(:los AS uuid[]), CAST(:his AS uuid[])) AS pair (id, lo, hi)
        JOIN profiles p ON p.id = lo
        JOIN profiles q ON q.id = hi
        ON CONFLICT DO NOTHING
        RETURNING id, user_lo, user_hi, activity_at
    ){{told}}
    INSERT INTO chat_members (chat_id, user_id)
    SELECT id, user_lo FROM made UNION SELECT id, user_hi FROM made
"""
"""One statement, so that there is never a chat without its members."""
_INSERT_SILENTLY = text(_INSERT.format(told=""))
_INSERT_AND_TELL = text(
    _INSERT.format(
        told=", told AS ({})".format(
            insertion(
                CHAT_CREATED,
                key="made.id",
                about="made.id",
                body=f"""
                    CAST(json_build_object(
                        'chatId', made.id,
                        'users', json_build_array(
                            json_build_object('userId', p.id, 'username', p.username),
                            json_build_object('userId', q.id, 'username', q.username)
                        ),
                        'createdAt', {ISO_MS.format(moment="made.activity_at")}
                    ) AS text)
                """,
                source="made JOIN profiles p ON p.id = user_lo JOIN profiles q ON q.id = user_hi",
            )
        )
    )
)
_SHOW = LockingStatement(
    """
    UPDATE chats c
    SET lo_box = CASE WHEN held.for_lo THEN {undecided} ELSE c.lo_box END,
        hi_box = CASE WHEN held.for_hi THEN {undecided} ELSE c.hi_box END,
        lo_changed_at = CASE WHEN held.for_lo THEN now() ELSE c.lo_changed_at END,
        hi_changed_at = CASE WHEN held.for_hi THEN now() ELSE c.hi_changed_at END
    FROM (
        SELECT c.id,
            c.lo_box = {unseen} AND c.user_lo = ANY(shown.users) AS for_lo,
            c.hi_box = {unseen} AND c.user_hi = ANY(shown.users) AS for_hi
        FROM chats c
        JOIN (
            SELECT chat_id, array_agg(user_id) AS users
            FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS shown (chat_id, user_id)
            GROUP BY chat_id
        ) shown ON c.id = shown.chat_id
        ORDER BY c.id
        FOR NO KEY UPDATE OF c {skip_locked}
    ) held
    WHERE c.id = held.id
    RETURNING c.id
    """.replace("{undecided}", str(int(Box.UNDECIDED))).replace("{unseen}", str(int(Box.UNSEEN)))
)
_BY_ID = text(f"SELECT {_COLUMNS} FROM chats c WHERE c.id = ANY(CAST(:ids AS uuid[]))")


_Naming = SendMessage | JoinChat | Typing | BlockUser | UnblockUser
"""A command that names a user."""


class Pair(NamedTuple):
    """Two users in the order in which `chats` stores them."""

    lo: str
    hi: str

    @classmethod
    def of(cls, one: str, other: str) -> "Pair":
        """Return the pair of two users, whichever comes first."""
        return cls(min(one, other), max(one, other))

    def peer_of(self, user_id: str) -> str:
        """Return the other user; for notes to self, the same one."""
        return self.hi if user_id == self.lo else self.lo


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as the current transaction sees it."""

    id: str
    pair: Pair
    last_seq: int
    change: int
    boxes: tuple[Box, Box]
    """Where either member of the pair has the chat."""
    is_blocked: bool
    """Whether either has blocked the other."""

    @property
    def is_quiet(self) -> bool:
        """Whether neither member is to notice what the other one does."""
        return self.is_blocked or any(box > Box.ARCHIVED for box in self.boxes)

    def box_of(self, user_id: str) -> Box:
        """Return where a member has the chat."""
        return self.boxes[0 if user_id == self.pair.lo else 1]

    def peer_of(self, user_id: str) -> str:
        """Return the other member; for notes to self, the user."""
        return self.pair.peer_of(user_id)


@dataclass(frozen=True, slots=True)
class People:
    """The profiles of users that a batch mentions. Deleted users have none."""

    by_id: Mapping[str, str]
    by_key: Mapping[str, str]

    def require(self, user_id: str) -> str:
        """Return the caller's own name. Raises Rejection(profile_missing)."""
        if user_id not in self.by_id:
            raise Rejection(ErrorCode.PROFILE_MISSING)
        return self.by_id[user_id]

    def named(self, command: _Naming) -> str:
        """Return the id of the user whom a request names, by name or by id.

        Raises Rejection(user_not_found, invalid_payload).
        """
        require_somebody(command)
        if command.user_id is None and command.username is not None:
            return self._find(command.username)
        if str(command.user_id) not in self.by_id:
            raise Rejection(ErrorCode.USER_NOT_FOUND)
        return str(command.user_id)

    def _find(self, username: str) -> str:
        user_id = self.by_key.get(find_key(username))
        if user_id is None and not has_username_length(username):
            too_long = f"The username is longer than {MAX_USERNAME} characters."
            raise Rejection(ErrorCode.INVALID_PAYLOAD, too_long)
        if user_id is None:
            raise Rejection(ErrorCode.USER_NOT_FOUND)
        return user_id


def require_somebody(command: _Naming) -> None:
    """Raise Rejection(invalid_payload) if a request names nobody."""
    if command.username is None and command.user_id is None:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Invalid payload: nobody is named.")


def people_of(conn: Connection, requests: Iterable[Request[_Naming]]) -> People:
    """Look up everybody who asks, and everybody whom they name, with one statement."""
    ids: set[str] = set()
    usernames: set[str] = set()
    for request in requests:
        ids.add(request.user_id)
        if request.command.user_id is not None:
            ids.add(str(request.command.user_id))
        elif request.command.username is not None:
            usernames.add(request.command.username)
    return read_people(conn, ids, usernames)


def read_people(conn: Connection, ids: Iterable[str], usernames: Iterable[str] = ()) -> People:
    """Look up profiles by id and by name, with one statement."""
    params = {"ids": array(set(ids)), "keys": list({find_key(name) for name in usernames})}
    rows = conn.execute(_PROFILES, params).all()
    return People({row.id: row.username for row in rows}, {row.username_key: row.id for row in rows})


def find_chats(conn: Connection, pairs: Collection[Pair]) -> dict[Pair, Chat]:
    """Return the chats of the pairs that have one."""
    if not pairs:
        return {}
    rows = conn.execute(_BY_PAIR, _columns(pairs))
    return {chat.pair: chat for chat in map(_to_chat, rows)}


def open_chats(
    conn: Connection, pairs: Collection[Pair], context: HandlerContext, *, is_listed: bool = True
) -> dict[Pair, Chat]:
    """Return the chats of all pairs, creating what is missing, in the lists of both users or in neither."""
    chats = find_chats(conn, pairs)
    missing = sorted(set(pairs) - chats.keys())
    if missing:
        ids = array(str(uuid_utils.uuid7()) for _ in missing)
        params = {"ids": ids, "is_listed": is_listed, **_columns(missing)}
        if endpoints := context.webhooks.get(CHAT_CREATED):
            conn.execute(_INSERT_AND_TELL, {**params, "endpoints": [*endpoints]})
        else:
            conn.execute(_INSERT_SILENTLY, params)
        chats |= find_chats(conn, missing)
    return chats


def list_for(
    conn: Connection, shown: Collection[tuple[Chat, str]], context: HandlerContext
) -> set[tuple[str, str]]:
    """Let each user see the chat in their list, where others have made it.

    Returns chat and user where the chat is locked and handlers do not wait.
    """
    unseen = {(chat.id, user_id) for chat, user_id in shown if chat.box_of(user_id) is Box.UNSEEN}
    if not unseen:
        return set()
    params = {"chats": array(id for id, _ in unseen), "users": array(user_id for _, user_id in unseen)}
    done = set(conn.execute(_SHOW.for_(context), params).scalars())
    return {(chat_id, user_id) for chat_id, user_id in unseen if chat_id not in done}


def read_chats(conn: Connection, ids: Collection[str]) -> dict[str, Chat]:
    """Return the chats with these ids, with one statement."""
    rows = conn.execute(_BY_ID, {"ids": array(set(ids))})
    return {chat.id: chat for chat in map(_to_chat, rows)}


def require_member(chats: Mapping[str, Chat], chat_id: str, user_id: str) -> Chat:
    """Return the chat if the user is a member. Raises Rejection(chat_not_found, not_a_member)."""
    chat = chats.get(chat_id)
    if chat is None:
        raise Rejection(ErrorCode.CHAT_NOT_FOUND)
    if user_id not in chat.pair:
        raise Rejection(ErrorCode.NOT_A_MEMBER)
    return chat


def _to_chat(row: Row[Any]) -> Chat:
    return Chat(
        row.id,
        Pair(row.user_lo, row.user_hi),
        row.last_seq,
        row.change,
        (Box(row.lo_box), Box(row.hi_box)),
        row.is_blocked,
    )


def _columns(pairs: Collection[Pair]) -> dict[str, str]:
    return {"los": array(pair.lo for pair in pairs), "his": array(pair.hi for pair in pairs)}
