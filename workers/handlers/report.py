"""`report`: keeps a copy of a message, and of those before it, for those who run the chat."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import uuid_utils
from sqlalchemy import Connection, text

from infra.store.outbox import ISO_MS, insertion
from infra.wire.commands import Report
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import Message, ReportAck
from infra.wire.webhooks import REPORT_CREATED
from workers.arrays import array
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.members import read_own
from workers.outcome import Outcome
from workers.pages import Window, read_pages
from workers.requests import Request

REPORTS: Final = 50
"""Most messages that a user can report within 24 hours."""
BEFORE: Final = 10
"""How many messages before the reported one are kept with it, if there are as many."""
_DAY_MS: Final = 86_400_000

_LOCK = LockingStatement(
    """
    SELECT id FROM profiles WHERE id = ANY(CAST(:reporters AS uuid[]))
    ORDER BY id
    FOR NO KEY UPDATE {skip_locked}
    """
)
"""Whoever reports on two connections at once has one limit, and one report of a message."""
_RECENT = text(
    """
    SELECT reporter.id, count(*) AS reports,
        CAST(extract(epoch FROM now() - min(created_at)) * 1000 AS bigint) AS since_first_ms
    FROM unnest(CAST(:reporters AS uuid[])) AS reporter (id)
    CROSS JOIN LATERAL (
        SELECT created_at FROM reports
        WHERE reporter_id = reporter.id AND created_at > now() - interval '24 hours'
        ORDER BY created_at DESC LIMIT :most
    ) recent
    GROUP BY reporter.id
    """
)
_KNOWN = text(
    """
    SELECT r.id, r.reporter_id, r.chat_id, r.seq
    FROM unnest(CAST(:reporters AS uuid[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]))
        AS asked (reporter_id, chat_id, seq)
    JOIN reports r
        ON r.reporter_id = asked.reporter_id AND r.chat_id = asked.chat_id AND r.seq = asked.seq
    """
)
_KEEP = """
    INSERT INTO reports (id, reporter_id, reported_id, chat_id, seq, reason, note, messages)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:reporters AS uuid[]), CAST(:reported AS uuid[]), CAST(:chats AS uuid[]),
        CAST(:seqs AS bigint[]), CAST(:reasons AS text[]), CAST(:notes AS text[]), CAST(:messages AS json[])
    )
"""
_KEEP_SILENTLY = text(_KEEP)
_KEEP_AND_TELL = text(
    "WITH kept AS ({} RETURNING *) {}".format(
        _KEEP,
        insertion(
            REPORT_CREATED,
            key="kept.id",
            about="kept.chat_id",
            body=f"""
                CAST(json_build_object(
                    'reportId', kept.id, 'chatId', kept.chat_id, 'seq', kept.seq,
                    'reporterId', kept.reporter_id, 'reportedId', kept.reported_id,
                    'reason', kept.reason, 'note', kept.note,
                    'createdAt', {ISO_MS.format(moment="kept.created_at")}
                ) AS text)
            """,
            source="kept",
        ),
    )
)

_Key = tuple[str, str, int]
"""Reporter, chat and seq."""
_Asked = tuple[Request[Report], Window]


@dataclass(slots=True)
class _Allowance:
    """What a user has reported within 24 hours."""

    reports: int = 0
    since_first_ms: int = 0
    """How long ago the first of them was."""

    def require(self) -> None:
        """Raise Rejection(rate_limited) if there may be no more."""
        if self.reports >= REPORTS:
            too_many = f"A user can report {REPORTS} messages within 24 hours."
            wait_ms = max(1, _DAY_MS - self.since_first_ms)
            raise Rejection(ErrorCode.RATE_LIMITED, too_many, retry_after_ms=wait_ms)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A report that is stored with this batch."""

    id: str
    request: Request[Report]
    messages: Sequence[Message]


def report(conn: Connection, requests: Sequence[Request[Report]], context: HandlerContext) -> Outcome:
    """Keep a copy of each message. A user who reports a message again gets the id of their first report.

    Nobody else is told.
    """
    outcome = Outcome()
    asked = _of_members(conn, requests, outcome)
    if not asked:
        return outcome
    allowances = _lock_reporters(conn, {request.user_id for request, _ in asked}, context)
    ids = _read_known(conn, [request for request, _ in asked])
    new: list[_Asked] = []
    for request, window in asked:
        with outcome.rejections(request):
            if request.user_id not in allowances:
                raise Rejection(ErrorCode.UNAVAILABLE)
            if _key(request) not in ids:
                allowances[request.user_id].require()
                new.append((request, window))
    pages = read_pages(conn, {window for _, window in new})
    kept: list[_Kept] = []
    for request, window in new:
        with outcome.rejections(request):
            if _key(request) in ids:
                continue  # an earlier request of this batch
            messages = pages[window].messages
            _check(messages, request)
            allowances[request.user_id].require()
            allowances[request.user_id].reports += 1
            ids[_key(request)] = str(uuid_utils.uuid7())
            kept.append(_Kept(ids[_key(request)], request, messages))
    _keep(conn, kept, context)
    for request, _ in asked:
        if _key(request) in ids:
            outcome.succeed(request, ReportAck(report_id=ids[_key(request)]))
    return outcome


def _of_members(conn: Connection, requests: Sequence[Request[Report]], outcome: Outcome) -> list[_Asked]:
    """Return the requests that can be looked up, each with the messages that its copy holds."""
    own = read_own(conn, {(str(request.command.chat_id), request.user_id) for request in requests})
    asked = []
    for request in requests:
        command = request.command
        with outcome.rejections(request):
            if "\0" in command.reason or "\0" in (command.note or ""):
                raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")
            chat = own.get((str(command.chat_id), request.user_id))
            if chat is None:
                raise Rejection(ErrorCode.CHAT_NOT_FOUND)
            if chat.cleared_seq is None:
                raise Rejection(ErrorCode.NOT_A_MEMBER)
            end = min(command.seq, chat.last_seq) + 1
            window = Window.before(chat.id, chat.last_seq, end, BEFORE + 1, cleared_seq=chat.cleared_seq)
            asked.append((request, window))
    return asked


def _lock_reporters(
    conn: Connection, reporters: Collection[str], context: HandlerContext
) -> dict[str, _Allowance]:
    """Return what each user may still report. Those who are locked are left out unless handlers wait."""
    params = {"reporters": array(reporters)}
    allowances = {user_id: _Allowance() for user_id in conn.execute(_LOCK.for_(context), params).scalars()}
    for row in conn.execute(_RECENT, {"reporters": array(allowances), "most": REPORTS}):
        allowances[row.id] = _Allowance(row.reports, row.since_first_ms)
    return allowances


def _read_known(conn: Connection, requests: Sequence[Request[Report]]) -> dict[_Key, str]:
    """Return the ids of the reports that are there already."""
    keys = {_key(request) for request in requests}
    params = {
        "reporters": array(reporter_id for reporter_id, _, _ in keys),
        "chats": array(chat_id for _, chat_id, _ in keys),
        "seqs": array(seq for _, _, seq in keys),
    }
    return {(row.reporter_id, row.chat_id, row.seq): row.id for row in conn.execute(_KNOWN, params)}


def _check(messages: Sequence[Message], request: Request[Report]) -> None:
    """Raise Rejection unless the last message is the reported one, and says something of the peer's."""
    if not messages or messages[-1].seq != request.command.seq:
        raise Rejection(ErrorCode.MESSAGE_NOT_FOUND)
    if messages[-1].sender_id == request.user_id:
        raise Rejection(ErrorCode.NOT_ALLOWED, "You cannot report your own message.")
    if messages[-1].deleted_at is not msgspec.UNSET:
        raise Rejection(ErrorCode.NOT_ALLOWED, "The message has been unsent.")


def _keep(conn: Connection, kept: Sequence[_Kept], context: HandlerContext) -> None:
    if not kept:
        return
    commands = [one.request.command for one in kept]
    params = {
        "ids": array(one.id for one in kept),
        "reporters": array(one.request.user_id for one in kept),
        "reported": array(one.messages[-1].sender_id for one in kept),
        "chats": array(str(command.chat_id) for command in commands),
        "seqs": array(command.seq for command in commands),
        "reasons": [command.reason for command in commands],
        "notes": [command.note or None for command in commands],
        "messages": [msgspec.json.encode(one.messages).decode() for one in kept],
    }
    if endpoints := context.webhooks.get(REPORT_CREATED):
        conn.execute(_KEEP_AND_TELL, {**params, "endpoints": [*endpoints]})
    else:
        conn.execute(_KEEP_SILENTLY, params)


def _key(request: Request[Report]) -> _Key:
    return request.user_id, str(request.command.chat_id), request.command.seq
