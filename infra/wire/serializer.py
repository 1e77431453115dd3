"""The Celery serializer of batches. Client payloads pass through it without being parsed.

Both sides register it with kombu. The content type names the contract.
"""

from typing import Any, Final

import msgspec
from kombu.serialization import register

from infra.wire.batch import Batch, Envelope

SERIALIZER: Final = "bbgram-batch"
CONTENT_TYPE: Final = "application/x-bbgram-batch+json"

_decoder = msgspec.json.Decoder(tuple[tuple[Batch], dict[str, Any], dict[str, Any]])
_envelopes = msgspec.json.Decoder(tuple[tuple[Envelope], dict[str, Any], dict[str, Any]])


def _decode(body: bytes | str) -> tuple[tuple[Batch], dict[str, Any], dict[str, Any]]:
    """Decode a batch. One that is too new may have lost its events, which its edge sends again.

    If this raised, Celery would log the body, and drop the batch without a word to the edge.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        (envelope,), arguments, embedded = _envelopes.decode(body)
        batch = Batch(envelope.id, envelope.edge_id, [], envelope.v)
        if not batch.is_too_new:
            raise
        return (batch,), arguments, embedded


def _encode(message: object) -> bytes:
    return msgspec.json.encode(message)


def register_serializer() -> None:
    """Register the batch format with kombu. Idempotent. Call it before making a Celery app."""
    register(SERIALIZER, _encode, _decode, CONTENT_TYPE, "utf-8")  # type: ignore[no-untyped-call]
