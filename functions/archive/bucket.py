"""The archive in S3: objects that are written once, read back and never changed, but for what is erased."""

import base64
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

import msgspec
from botocore.exceptions import ClientError

from functions.archive.layout import FORMAT, Manifest, ObjectName, day_path, parse_key
from functions.archive.message_file import (
    READ_ERRORS,
    ArchivedMessage,
    Checksum,
    FileFacts,
    examine,
    read_messages,
)
from functions.errors import ArchiveError
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_KEY_EXISTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""S3's codes for a key that somebody else has written or is writing."""
_MANIFEST_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class VerifiedCopy:
    """A local copy of an object that was read back and found intact."""

    file: IO[bytes]
    facts: FileFacts
    etag: str
    """Tells the object from what others may write in its place."""

    def messages(self) -> Iterator[list[ArchivedMessage]]:
        """Yield its messages in batches."""
        return read_messages(self.file)


class ArchiveBucket:
    """The objects under one prefix of a bucket. All methods raise what boto3 raises."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")

    @classmethod
    def connect(cls, settings: FunctionSettings) -> "ArchiveBucket":
        """Return the bucket that the settings name. Raises SettingsError if they name none."""
        if settings.archive_bucket is None:
            raise SettingsError("BBGRAM_ARCHIVE_BUCKET is not set; archive needs it.")
        return cls(make_client(), settings.archive_bucket, settings.archive_prefix)

    def objects(self, day: date) -> list[ObjectName]:
        """Return the objects of a day, whatever number of shards they were written with."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{day_path(day)}"
        )
        found = (parse_key(entry["Key"]) for page in pages for entry in page.get("Contents", ()))
        return sorted(name for name in found if name is not None)

    def every_object(self, after: str = "") -> Iterator[tuple[ObjectName, datetime]]:
        """Yield all objects behind a path, in the order of their paths, and when they were written."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, StartAfter=f"{self._prefix}{after}"
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                name = parse_key(entry["Key"])
                if name is not None:
                    yield name, entry["LastModified"]

    def put(self, name: ObjectName, file: IO[bytes], checksum: Checksum) -> bool:
        """Write a new object. Return False, and change nothing, if it already exists."""
        return self._put(name, file, checksum, {"IfNoneMatch": "*"})

    def replace(self, name: ObjectName, copy: VerifiedCopy, file: IO[bytes]) -> bool:
        """Write an object anew: what was erased from it is gone. Return False if it is another one by now.

        Its manifest goes before it and comes after it, so that a run that dies between leaves an intact
        object. One that somebody else has written for the old object meanwhile is removed.
        """
        facts = examine(file)
        self._client.delete_object(Bucket=self._bucket, Key=self._manifest_key(name))
        if not self._put(name, file, facts.checksum, {"IfMatch": copy.etag}):
            return False
        for _ in range(_MANIFEST_TRIES):
            self.put_manifest(name, facts)
            if self._checksum_in_manifest(name) == self._checksum_of(name):
                break
            self._client.delete_object(Bucket=self._bucket, Key=self._manifest_key(name))
        return True

    def delete_old_versions(self, name: ObjectName) -> bool:
        """Delete what a bucket with versions keeps of an object that was replaced, if there is anything.

        Return False if we may not: the bucket locks its objects, or does not let us delete versions.
        """
        key = self._key(name)
        try:
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=key
            )
            old = [
                version["VersionId"]
                for page in pages
                for version in page.get("Versions", ())
                if version["Key"] == key and not version["IsLatest"]
            ]
            for version_id in old:
                self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version_id)
        except ClientError:
            return False
        return True

    def _put(
        self, name: ObjectName, file: IO[bytes], checksum: Checksum, condition: Mapping[str, str]
    ) -> bool:
        """Write an object if S3 finds the condition met. Return False, and change nothing, if it does not."""
        file.seek(0)
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(name),
                Body=file,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(checksum.sha256)).decode(),
                ContentType="application/gzip",
                Metadata={"count": str(checksum.count), "sha256": checksum.sha256},
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            _raise_unless_exists(error)
            return False
        return True

    def put_manifest(self, name: ObjectName, facts: FileFacts) -> None:
        """Write the manifest of an object, unless it has one."""
        manifest = Manifest(
            format=FORMAT,
            object=self._key(name),
            count=facts.checksum.count,
            sha256=facts.checksum.sha256,
            bytes=facts.size,
            chats=facts.chats,
            first_created_at=facts.first_created_at,
            last_created_at=facts.last_created_at,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._manifest_key(name),
                Body=msgspec.json.encode(manifest),
                IfNoneMatch="*",
                ContentType="application/json",
            )
        except ClientError as error:
            _raise_unless_exists(error)

    @contextmanager
    def verified(self, name: ObjectName, written: Checksum | None = None) -> Iterator[VerifiedCopy]:
        """Download an object, verify it and hand out the copy.

        Its content must match `written`, its metadata and, if it has one, its manifest. Raises
        ArchiveError if it does not, or cannot be read.
        """
        with TemporaryFile() as file:
            checksum, etag = self._download(name, file)
            expected = {checksum, self._checksum_in_manifest(name), written} - {None}
            try:
                facts = examine(file)
            except READ_ERRORS as error:
                raise ArchiveError(f"{self._key(name)} cannot be read: {error}") from error
            if expected != {facts.checksum}:
                raise ArchiveError(f"{self._key(name)} does not hold what was written to it.")
            yield VerifiedCopy(file, facts, etag)

    def _download(self, name: ObjectName, file: IO[bytes]) -> tuple[Checksum, str]:
        """Copy an object into a file. Return the checksum in its metadata, and its ETag."""
        found = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
        shutil.copyfileobj(found["Body"], file, 1 << 20)
        return self._parse_checksum(name, found["Metadata"]), found["ETag"]

    def _checksum_of(self, name: ObjectName) -> Checksum:
        """Return the checksum in the metadata of an object."""
        found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
        return self._parse_checksum(name, found["Metadata"])

    def _parse_checksum(self, name: ObjectName, metadata: Mapping[str, str]) -> Checksum:
        try:
            return Checksum(int(metadata["count"]), metadata["sha256"])
        except (KeyError, ValueError) as error:
            raise ArchiveError(f"{self._key(name)} lacks the metadata that was written with it.") from error

    def _checksum_in_manifest(self, name: ObjectName) -> Checksum | None:
        """Return the checksum in the manifest of an object, or None if it has no manifest."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._manifest_key(name))
        except self._client.exceptions.NoSuchKey:
            return None
        try:
            manifest = msgspec.json.decode(found["Body"].read(), type=Manifest)
        except msgspec.MsgspecError as error:
            raise ArchiveError(f"{self._manifest_key(name)} cannot be read: {error}") from error
        return Checksum(manifest.count, manifest.sha256)

    def _key(self, name: ObjectName) -> str:
        return f"{self._prefix}{name.path}"

    def _manifest_key(self, name: ObjectName) -> str:
        return f"{self._prefix}{name.manifest_path}"


def make_client(signature: str | None = None) -> "S3Client":
    """Return an S3 client. AWS_ENDPOINT_URL_S3 points it at another S3-compatible store.

    `signature` is the version of signatures; boto3 chooses one if it is not given.
    """
    # Imported here because it takes 0.2 s, and every worker imports this module.
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        connect_timeout=3,
        read_timeout=20,
        retries={"mode": "standard"},
        tcp_keepalive=True,
        signature_version=signature,
    )
    return Session().client("s3", config=config)


def _raise_unless_exists(error: ClientError) -> None:
    """Raise the error unless it says that the key already exists."""
    if error.response["Error"]["Code"] not in _KEY_EXISTS:
        raise error
