"""The Celery serializer of relay batches: client payloads pass through it without being parsed.

Registered through kombu's own registry by both sides; the content type names the contract.
"""

from typing import Any, Final

import msgspec
from kombu.serialization import register

from infra.wire.batch import Batch

SERIALIZER: Final = "bbgram-batch"
CONTENT_TYPE: Final = "application/x-bbgram-batch+json"

_decoder = msgspec.json.Decoder(tuple[tuple[Batch], dict[str, Any], dict[str, Any]])


def _decode(body: bytes | str) -> tuple[tuple[Batch], dict[str, Any], dict[str, Any]]:
    return _decoder.decode(body)


def _encode(message: object) -> bytes:
    return msgspec.json.encode(message)


def register_serializer() -> None:
    """Teach kombu the batch format. Idempotent; called by whoever makes a Celery app."""
    register(SERIALIZER, _encode, _decode, CONTENT_TYPE, "utf-8")  # type: ignore[no-untyped-call]
