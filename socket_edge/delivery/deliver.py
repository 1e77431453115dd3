"""Delivers what workers publish to the right sockets, each message once per socket."""

from collections.abc import Iterable

import msgspec

from infra import tracing
from infra.wire.events import NEW_MESSAGE
from infra.wire.inbox import Emit, InboxEntry, Position, Target
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.connection.api import DisconnectReason
from socket_edge.delivery.receipts import Receipts
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.pending import PendingRequests

_HELD = 5_000
"""New messages that may wait for a socket that is catching up. Beyond that it is disconnected."""


class Delivery:
    """Carries out inbox entries."""

    def __init__(
        self, users: ConnectedUsers, requests: PendingRequests, lanes: Lanes, receipts: Receipts
    ) -> None:
        self._users = users
        self._requests = requests
        self._lanes = lanes
        self._receipts = receipts

    def take(self, entry: InboxEntry) -> None:
        """Settle the answers of an entry and emit its events."""
        if entry.batch_id is not None:
            self._lanes.finish(entry)
        for answer in entry.all_answers():
            self._requests.answer(answer)
        for emit in entry.emits:
            began_ns = tracing.now_ns() if emit.trace else 0
            for target in emit.to:
                if emit.signed_out_ms is not None:
                    self._users.sign_out(target.user_id, emit.signed_out_ms)
                    continue
                for session in self._users.of_user(target.user_id):
                    if target.skip != session.socket_id:
                        self._emit_or_hold(session, target, emit)
            if emit.trace:
                tracing.record_span("emit", emit.trace, began_ns)

    def emit_page(self, session: Session, messages: Iterable[tuple[Position, msgspec.Raw]]) -> None:
        """Emit older messages. The catch-up goes on at once if none of them waits for an ack."""
        target = Target(session.user_id, NEW_MESSAGE, ack=True)
        for position, data in messages:
            self._emit(session, target, Emit([target], data, position))
        _note_acked(session)

    def release(self, session: Session) -> None:
        """Emit what arrived while the socket caught up."""
        while session.held:
            held, session.held = session.held, []
            for target, emit in held:
                self._emit(session, target, emit)

    def acked(self, session: Session, ack_id: int) -> None:
        """Note an ack from the client, for a message or for anything else."""
        position = session.unacked.pop(ack_id, None)
        if position is None:
            return
        session.has_acked = True
        self._confirm(session, position)
        _note_acked(session)

    def ack_up_to(self, session: Session, position: Position) -> None:
        """Treat messages that were emitted to the socket, up to `position`, as acked."""
        confirmed = session.confirmed[position.chat_id]
        for seq in list(session.seen[position.chat_id].without(confirmed, position.seq)):
            confirmed.add(seq)
            self._receipts.add(session.user_id, position.chat_id, confirmed, seq)

    def _confirm(self, session: Session, position: Position) -> None:
        confirmed = session.confirmed[position.chat_id]
        confirmed.add(position.seq)
        self._receipts.add(session.user_id, position.chat_id, confirmed, position.seq)

    def _emit_or_hold(self, session: Session, target: Target, emit: Emit) -> None:
        if session.catching_up is None or not target.ack:
            self._emit(session, target, emit)
        elif len(session.held) < _HELD:
            session.held.append((target, emit))
        else:
            session.end(DisconnectReason.SLOW_CLIENT)

    def _emit(self, session: Session, target: Target, emit: Emit) -> None:
        position = emit.position
        if position is None:
            session.send_event(target.event, emit.data)
        elif not session.seen[position.chat_id].add(position.seq):
            if target.ack and position.seq in session.confirmed[position.chat_id]:
                # Emitted again although this socket has acked it: the receipt got lost.
                self._confirm(session, position)
        elif target.ack:
            ack_id = session.expect_ack(position)
            session.send_event(target.event, emit.data, ack_id)
        else:
            # The user's own message, which keeps the confirmed seqs together as one interval.
            session.confirmed[position.chat_id].add(position.seq)
            session.send_event(target.event, emit.data)


def _note_acked(session: Session) -> None:
    """Let a catch-up that waits for its page go on once everything is acked."""
    if session.page_acked is not None and not session.unacked:
        session.page_acked.set()
