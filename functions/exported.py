"""Puts an export where it can be fetched: a file, or an object in S3 with a signed link."""

from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_urlsafe
from tempfile import TemporaryFile
from uuid import UUID

from functions.archive.bucket import make_client
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings


@dataclass(frozen=True, slots=True)
class ExportedObject:
    """An export in S3."""

    key: str
    link: str
    """Whoever has it can fetch the export, for as long as the settings say."""


def upload(settings: FunctionSettings, user_id: UUID, lines: Iterable[bytes]) -> ExportedObject:
    """Upload an export once it is complete; return where it is.

    It is built in a temporary file, so the disk must have room for it. Raises SettingsError without a bucket,
    and what boto3 raises.
    """
    if settings.export_bucket is None:
        raise SettingsError("BBGRAM_EXPORT_BUCKET is not set; exports to S3 need it.")
    # boto3 signs links the old way in some regions, which S3 refuses in others.
    client = make_client("s3v4")
    # Nobody can guess the name, even where objects can be read without a link.
    key = f"{settings.export_prefix.strip('/')}/{user_id}/{token_urlsafe(24)}.jsonl".lstrip("/")
    with TemporaryFile() as file:
        file.writelines(lines)
        file.seek(0)
        client.upload_fileobj(
            file, settings.export_bucket, key, ExtraArgs={"ContentType": "application/x-ndjson"}
        )
    link = client.generate_presigned_url(
        "get_object",
        Params={"Bucket": settings.export_bucket, "Key": key},
        ExpiresIn=settings.export_link_s,
    )
    return ExportedObject(key, link)
