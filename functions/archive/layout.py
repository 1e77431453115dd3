"""How the archive names its objects and their manifests."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

FORMAT: Final = 1
"""Version of the file format and of the manifest."""

_SUFFIX: Final = ".jsonl.gz"
_MANIFEST_SUFFIX: Final = ".manifest.json"
_OBJECT = re.compile(rf"/day=(\d{{4}}-\d\d-\d\d)/shard=(\d+)-of-(\d+)/(\d+){re.escape(_SUFFIX)}$")


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """One of the groups of chats whose messages go to separate objects."""

    number: int
    of: int


@dataclass(frozen=True, order=True, slots=True)
class ObjectName:
    """Identifies an object: messages of one UTC day and one shard."""

    day: date
    shard: Shard
    number: int
    """Counts from 1. A later object holds what could not be archived when the previous one was written."""

    @property
    def path(self) -> str:
        """The key of the object in S3, without the prefix."""
        return f"{self._stem}{_SUFFIX}"

    @property
    def manifest_path(self) -> str:
        """The key of its manifest, without the prefix."""
        return f"{self._stem}{_MANIFEST_SUFFIX}"

    @property
    def _stem(self) -> str:
        return f"{day_path(self.day)}shard={self.shard.number}-of-{self.shard.of}/{self.number}"


class Manifest(msgspec.Struct, frozen=True):
    """What is stored next to an object once it has been read back and found intact."""

    format: int
    object: str
    count: int
    sha256: str
    """Of the compressed bytes."""
    bytes: int
    chats: int
    first_created_at: str
    last_created_at: str
    made_at: str


def day_path(day: date) -> str:
    """Return the prefix of the paths of a day's objects."""
    return f"day={day}/"


def parse_key(key: str) -> ObjectName | None:
    """Return the object that a key in S3 names, or None if the key is not ours."""
    match = _OBJECT.search(f"/{key}")
    if match is None:
        return None
    return ObjectName(date.fromisoformat(match[1]), Shard(int(match[2]), int(match[3])), int(match[4]))
