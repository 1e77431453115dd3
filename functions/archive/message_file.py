"""The file format of the archive: gzipped JSON Lines, one message a line, sorted by chat and seq.

The same messages always give the same bytes.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final
from uuid import UUID

import msgspec

BATCH_SIZE: Final = 250
"""Messages that are held in memory at a time."""

READ_ERRORS: Final = (EOFError, OSError, zlib.error, msgspec.MsgspecError)
"""Raised by reading when the bytes are not what `write_messages` wrote."""


class ArchivedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as it was in its table. A field that it has not is left out."""

    chat_id: UUID
    seq: int
    id: UUID
    sender_id: UUID
    recipient_id: UUID
    text: str
    client_id: str | None
    created_at: str
    """ISO 8601 UTC with microseconds, e.g. `2026-01-31T12:00:00.000000Z`, like all times here."""
    data: str | None = None
    reply_to: int | None = None
    change: int | None = None
    edited_at: str | None = None
    deleted_at: str | None = None
    reactions: list[list[str]] | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Checksum:
    """Facts that must not change once a file is written."""

    count: int
    sha256: str
    """Of the compressed bytes, hexadecimal."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts found by reading a whole file."""

    checksum: Checksum
    size: int
    """Compressed bytes."""
    chats: int
    first_created_at: str
    last_created_at: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(ArchivedMessage)


def write_messages(file: IO[bytes], batches: Iterable[list[ArchivedMessage]]) -> Checksum:
    """Write all messages to an empty file."""
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        for messages in batches:
            packed.write(_ENCODER.encode_lines(messages))
            count += len(messages)
    return Checksum(count, _digest(file))


def read_messages(file: IO[bytes]) -> Iterator[list[ArchivedMessage]]:
    """Yield the messages of a file in batches. Raises READ_ERRORS."""
    file.seek(0)
    with gzip.GzipFile(mode="rb", fileobj=file) as packed:
        messages = (_DECODER.decode(line) for line in packed)
        while batch := list(islice(messages, BATCH_SIZE)):
            yield batch


def examine(file: IO[bytes]) -> FileFacts:
    """Read a file to its end and return what it holds. Raises READ_ERRORS."""
    count, chats = 0, 0
    first, last = "", ""
    chat_id: UUID | None = None
    for messages in read_messages(file):
        count += len(messages)
        for message in messages:
            chats += message.chat_id != chat_id
            chat_id = message.chat_id
        times = [message.created_at for message in messages]
        first, last = min([*times, first or times[0]]), max([*times, last])
    return FileFacts(Checksum(count, _digest(file)), file.tell(), chats, first, last)


def _digest(file: IO[bytes]) -> str:
    """Hash a file from its start. Its position is at the end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
