"""Dead letters of the app's backend, which acts as nobody: those about alice, and others."""

import uuid
from typing import Final

from infra.wire.batch import Event
from infra.wire.registry import PUT_USER, REMOVE_MESSAGE, REVISE_MESSAGE
from infra.wire.server_api import NOBODY
from tests.harness.two import Two
from workers import dead_letters

BACKEND: Final = uuid.UUID(NOBODY)


def leave_letters_of_the_backend(two: Two) -> tuple[set[str], set[str]]:
    """Return the payloads about alice, and those about others."""
    dave, elsewhere = uuid.uuid4(), uuid.uuid4()
    own = [
        two.bench.event(BACKEND, PUT_USER, {"userId": str(two.alice.id), "username": "Alice Smith"}),
        two.bench.event(BACKEND, REVISE_MESSAGE, {"chatId": two.chat_id, "seq": 1, "text": "hush"}),
        two.bench.event(BACKEND, REMOVE_MESSAGE, {"chatId": two.chat_id.upper(), "seq": 1}),
    ]
    others = [
        two.bench.event(BACKEND, PUT_USER, {"userId": str(dave), "username": "Dave Smith"}),
        two.bench.event(BACKEND, REMOVE_MESSAGE, {"chatId": str(elsewhere), "seq": 1}),
        two.bench.event(two.bob.id, "send_message", {"userId": str(two.alice.id), "text": "bobs own"}),
    ]
    for event in own + others:
        dead_letters.keep(two.bench.engine, event, RuntimeError("boom"))
    return {_payload(event) for event in own}, {_payload(event) for event in others}


def _payload(event: Event) -> str:
    return bytes(event.payload).decode()
