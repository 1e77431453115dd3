"""The endpoint of webhooks: down, garbage, slow; and its sender killed after a request was accepted."""

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Final

from tests.faults import told
from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.harness.waiting import until

_TRIES: Final = 3
_SLOW_S: Final = 0.5


def _be_down(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(503)
    handler.end_headers()


def _say_garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00garbage\r\n" * 10)


@fault(
    "webhook endpoint down, garbage, slow, its sender killed",
    "each committed message and change is told, in the order of its chat",
    settings=told.SETTINGS,
)
async def endpoint_broken(field: Field) -> None:
    """Break the endpoint in three ways, then kill the worker whose request it has accepted."""
    hearer = field.hearer

    def be_slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(_SLOW_S)
        hearer.accept(handler)

    for answer in (_be_down, _say_garbage, be_slow):
        hearer.answer_by(answer)
        asked = hearer.asked
        await until(lambda asked=asked: hearer.asked >= asked + _TRIES, "the endpoint is tried")  # type: ignore[misc]
    took = threading.Event()

    def take_and_hang(handler: BaseHTTPRequestHandler) -> None:
        hearer.note(handler)
        took.set()
        hearer.server.stopped.wait(_SLOW_S)

    hearer.answer_by(take_and_hang)
    await asyncio.to_thread(took.wait)
    (sender,) = field.chat.functions
    sender.kill()
    field.chat.functions.remove(sender)
    hearer.answer_by(hearer.accept)
    # Nobody else sends while the claim of the dead worker lasts, a minute; other tests show that.
    field.chat.rows("UPDATE webhook_endpoints SET claimed_until = now()")
    field.start_sender()
    field.healed()
