"""What the app's backend was told by webhooks, and what must never happen: lost, invented, reordered."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from standardwebhooks import Webhook

from infra.wire.webhooks import MESSAGE_CHANGED, MESSAGE_CREATED
from tests.faults.records import Records, Told
from tests.harness import webhooks
from tests.integration.channels.endpoint import Endpoint, Received, make_certificate

SETTINGS: Final[dict[str, object]] = {
    **webhooks.SETTINGS,
    "webhooks": f"app:{MESSAGE_CREATED} {MESSAGE_CHANGED}",
    "webhooks_s": 0.5,
    "webhooks_retry_s": 0.5,
}
"""Settings of a run whose endpoint is told of messages and changes."""

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Hearer:
    """An endpoint that notes what it accepts, unless a fault has it answer otherwise."""

    certificate: Path
    server: Endpoint
    accepted: list[Received]

    @classmethod
    def start(cls, folder: Path) -> "Hearer":
        """Start one on a free port."""
        certificate = make_certificate(folder / "hearer.pem")
        hearer = cls(certificate, Endpoint(certificate), [])
        hearer.answer_by(hearer.accept)
        return hearer

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.url("/chat-events")

    @property
    def asked(self) -> int:
        """How many requests have come."""
        return len(self.server.received)

    def answer_by(self, answer: Answer) -> None:
        """Answer all requests in this way from now on."""
        self.server.misbehave = answer

    def accept(self, handler: BaseHTTPRequestHandler) -> None:
        """Note a request, and answer 204."""
        self.note(handler)
        handler.send_response(204)
        handler.end_headers()

    def note(self, handler: BaseHTTPRequestHandler) -> None:
        """Note a request as accepted."""
        signature = handler.headers["webhook-signature"]
        received = (one for one in reversed(self.server.received))
        self.accepted.append(next(one for one in received if one.headers["webhook-signature"] == signature))

    def told(self) -> list[Told]:
        """Return what was accepted so far, in order. Raises if a signature is wrong."""
        webhook = Webhook(webhooks.SECRET)
        bodies = [webhook.verify(one.body, one.headers) for one in list(self.accepted)]
        return [_to_told(event) for body in bodies for event in body["events"]]


def _to_told(event: dict[str, Any]) -> Told:
    message = event["data"]
    return Told(
        event_id=event["id"],
        number=event["number"],
        chat_id=message["chatId"],
        seq=message["seq"],
        message_id=message["id"],
        change=message.get("change", 0) if event["type"] == MESSAGE_CHANGED else 0,
        text=message["text"],
    )


def untold(records: Records) -> int:
    """Return how many messages, and how many last changes of messages, nobody was told of."""
    if records.told is None:
        return 0
    told = {(one.message_id, one.change) for one in records.told}
    created = sum((row.id, 0) not in told for row in records.stored)
    return created + sum((row.id, row.change) not in told for row in records.stored if row.change)


def invented(records: Records) -> int:
    """Return how many events are about what is not in the database."""
    stored = {row.id: row for row in records.stored}
    wrong = set()
    for one in records.told or ():
        row = stored.get(one.message_id)
        is_true = row is not None and (row.chat_id, row.seq) == (one.chat_id, one.seq)
        if row is None or not is_true or one.change > row.change or (not one.change and one.text != row.text):
            wrong.add(one.event_id)
    return len(wrong)


def misordered(records: Records) -> int:
    """Return how many events were first told after a later one of their chat: by number, seq or change."""
    first: dict[str, Told] = {}
    for one in records.told or ():
        first.setdefault(one.event_id, one)
    by_chat: dict[str, list[Told]] = defaultdict(list)
    for one in first.values():
        by_chat[one.chat_id].append(one)
    wrong = 0
    for chat in by_chat.values():
        created = [one.seq for one in chat if not one.change]
        changes = [one.change for one in chat if one.change]
        wrong += sum(later.number <= one.number for one, later in pairwise(chat))
        wrong += sum(later <= one for one, later in pairwise(created))
        # Reactions that were handled together may share a number.
        wrong += sum(later < one for one, later in pairwise(changes))
    return wrong
