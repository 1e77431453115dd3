"""Where the archive lies: objects in S3 that are written once, read back and never changed."""

import base64
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

import msgspec
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from functions.archive_lines import BROKEN, Facts, Line, Seal, examine, read_lines
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FORMAT: Final = 1
_SUFFIX: Final = ".jsonl.gz"
_PART = re.compile(rf"/day=(\d{{4}}-\d\d-\d\d)/shard=(\d+)-of-(\d+)/(\d+){re.escape(_SUFFIX)}$")
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""S3's words for a key that somebody else has written, or is about to."""


class ArchiveError(Exception):
    """An object of the archive is not what was written. The message is one line that names it."""


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """One of the groups of chats that have objects of their own."""

    number: int
    of: int


@dataclass(frozen=True, order=True, slots=True)
class Part:
    """One object: messages of one UTC day and one shard."""

    day: date
    shard: Shard
    number: int
    """Counts from 1; a later part holds what was not yet delivered at the time of the one before."""

    @property
    def name(self) -> str:
        """Its key, without prefix and suffix."""
        return f"day={self.day}/shard={self.shard.number}-of-{self.shard.of}/{self.number}"


class Manifest(msgspec.Struct, frozen=True):
    """What lies next to an object that was read back and found right."""

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


@dataclass(frozen=True, slots=True)
class Copy:
    """An object that was read back, on this machine's disk."""

    file: IO[bytes]
    facts: Facts

    def lines(self) -> Iterator[list[Line]]:
        """Yield its lines in batches."""
        return read_lines(self.file)


class ArchiveStore:
    """The objects under one prefix of a bucket."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")

    @classmethod
    def connect(cls, settings: FunctionSettings) -> "ArchiveStore":
        """Return the store of these settings. Raises SettingsError without a bucket."""
        if settings.archive_bucket is None:
            raise SettingsError("BBGRAM_ARCHIVE_BUCKET is not set; archive needs it.")
        return cls(make_client(), settings.archive_bucket, settings.archive_prefix)

    def parts(self, day: date) -> list[Part]:
        """Return what there is of a day, whatever the number of shards was."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}day={day}/"
        )
        found = (_PART.search(f"/{entry['Key']}") for page in pages for entry in page.get("Contents", ()))
        return sorted(
            Part(day, Shard(int(match[2]), int(match[3])), int(match[4])) for match in found if match
        )

    def put(self, part: Part, file: IO[bytes], seal: Seal) -> bool:
        """Write a new object; return False, and leave things alone, when there is one already."""
        file.seek(0)
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(part),
                Body=file,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(seal.sha256)).decode(),
                ContentType="application/gzip",
                Metadata={"count": str(seal.count), "sha256": seal.sha256},
            )
        except ClientError as error:
            return _unless_taken(error)
        return True

    def put_manifest(self, part: Part, facts: Facts) -> None:
        """Say what was found in an object, unless that was said before."""
        manifest = Manifest(
            format=FORMAT,
            object=self._key(part),
            count=facts.seal.count,
            sha256=facts.seal.sha256,
            bytes=facts.size,
            chats=facts.chats,
            first_created_at=facts.first_created_at,
            last_created_at=facts.last_created_at,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._manifest_key(part),
                Body=msgspec.json.encode(manifest),
                IfNoneMatch="*",
                ContentType="application/json",
            )
        except ClientError as error:
            _unless_taken(error)

    @contextmanager
    def verified(self, part: Part, written: Seal | None = None) -> Iterator[Copy]:
        """Read an object back and hand out the copy.

        It must be what was `written`, what its metadata says and, if there is one, what its manifest
        says. Raises ArchiveError.
        """
        with TemporaryFile() as file:
            promised = {self._download(part, file), self._promised(part), written} - {None}
            try:
                facts = examine(file)
            except BROKEN as error:
                raise ArchiveError(f"{self._key(part)} cannot be read: {error}") from error
            if promised != {facts.seal}:
                raise ArchiveError(f"{self._key(part)} does not hold what was written to it.")
            yield Copy(file, facts)

    def _download(self, part: Part, file: IO[bytes]) -> Seal:
        """Copy an object into a file; return what its metadata says."""
        found = self._client.get_object(Bucket=self._bucket, Key=self._key(part))
        shutil.copyfileobj(found["Body"], file, 1 << 20)
        metadata = found["Metadata"]
        try:
            return Seal(int(metadata["count"]), metadata["sha256"])
        except (KeyError, ValueError) as error:
            raise ArchiveError(f"{self._key(part)} lacks the metadata that was written to it.") from error

    def _promised(self, part: Part) -> Seal | None:
        """Return what the manifest of an object says, if there is one."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._manifest_key(part))
        except self._client.exceptions.NoSuchKey:
            return None
        try:
            manifest = msgspec.json.decode(found["Body"].read(), type=Manifest)
        except msgspec.MsgspecError as error:
            raise ArchiveError(f"{self._manifest_key(part)} cannot be read: {error}") from error
        return Seal(manifest.count, manifest.sha256)

    def _key(self, part: Part) -> str:
        return f"{self._prefix}{part.name}{_SUFFIX}"

    def _manifest_key(self, part: Part) -> str:
        return f"{self._prefix}{part.name}.manifest.json"


def make_client() -> "S3Client":
    """Return an S3 client; AWS_ENDPOINT_URL_S3 leads it to another store that speaks S3."""
    config = Config(connect_timeout=3, read_timeout=60, retries={"mode": "standard"})
    return Session().client("s3", config=config)


def _unless_taken(error: ClientError) -> bool:
    """Return False when the key was taken. Raises any other error."""
    if error.response["Error"]["Code"] not in _TAKEN:
        raise error
    return False
