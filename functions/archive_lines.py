"""The format of the archive: gzip JSON Lines, a message a line, by chat and seq, the same bytes each time."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final
from uuid import UUID

import msgspec

BATCH: Final = 250
"""Lines that are worked on at a time."""

BROKEN: Final = (EOFError, OSError, zlib.error, msgspec.MsgspecError)
"""What reading lines raises when the bytes are not what `write_lines` wrote."""


class Line(msgspec.Struct, frozen=True):
    """A message, as it stood in its table."""

    chat_id: UUID
    seq: int
    id: UUID
    sender_id: UUID
    recipient_id: UUID
    text: str
    client_id: str | None
    created_at: str
    """ISO 8601 UTC with microseconds, e.g. `2026-01-31T12:00:00.000000Z`."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What must not have changed since the lines were written."""

    count: int
    sha256: str
    """Of the compressed bytes, hexadecimal."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in a file of lines."""

    seal: Seal
    size: int
    """Compressed bytes."""
    chats: int
    first_created_at: str
    last_created_at: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Line)


def write_lines(file: IO[bytes], batches: Iterable[list[Line]]) -> Seal:
    """Write all lines to an empty file."""
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        for lines in batches:
            packed.write(_ENCODER.encode_lines(lines))
            count += len(lines)
    return Seal(count, _digest(file))


def read_lines(file: IO[bytes]) -> Iterator[list[Line]]:
    """Yield the lines of a file in batches. Raises BROKEN."""
    file.seek(0)
    with gzip.GzipFile(mode="rb", fileobj=file) as packed:
        lines = (_DECODER.decode(line) for line in packed)
        while batch := list(islice(lines, BATCH)):
            yield batch


def examine(file: IO[bytes]) -> Facts:
    """Read a file to its end and tell what is in it. Raises BROKEN."""
    count, chats = 0, 0
    first, last = "", ""
    chat_id: UUID | None = None
    for lines in read_lines(file):
        count += len(lines)
        for line in lines:
            chats += line.chat_id != chat_id
            chat_id = line.chat_id
        times = [line.created_at for line in lines]
        first, last = min([*times, first or times[0]]), max([*times, last])
    return Facts(Seal(count, _digest(file)), file.tell(), chats, first, last)


def _digest(file: IO[bytes]) -> str:
    """Hash a file from its start; leaves its position at the end."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
