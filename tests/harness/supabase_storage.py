"""Supabase Storage in the small: files on disk, and who may do what decided by the policies in the database.

It runs the statements that Supabase Storage runs, as the role and with the claims of the user's token
(https://github.com/supabase/storage, commit 4fa61fba of 2026-08-21); each rule names its file there.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
import psycopg
from aiohttp import BodyPartReader, web

from tests.harness.supabase import SupabaseProject

_SIGNING_KEY: Final = "the key of the tests that signs addresses"

# src/storage/database/pg.ts. src/storage/uploader.ts tries in the database whether a user may upload.
_CREATE: Final = """
    INSERT INTO storage.objects (name, owner, owner_id, bucket_id, metadata, version)
    VALUES (%(name)s, %(owner)s, %(owner)s::text, %(bucket)s, %(metadata)s, '1')
"""
_UPSERT: Final = """
    ON CONFLICT (name, bucket_id) DO UPDATE
    SET metadata = excluded.metadata, version = excluded.version, owner_id = excluded.owner_id
"""
_FIND: Final = "SELECT * FROM storage.objects WHERE name = %(name)s AND bucket_id = %(bucket)s"
_DELETE: Final = """
    DELETE FROM storage.objects WHERE bucket_id = %(bucket)s AND name = ANY(%(names)s) RETURNING *
"""


class _Refused(Exception):
    """What Storage answers with (src/internal/errors/codes.ts)."""

    def __init__(self, status: int, error: str, message: str) -> None:
        self.body = {"statusCode": str(status), "error": error, "message": message}
        super().__init__(message)


class SupabaseStorage:
    """The Storage of a project, for users with tokens that are signed with its secret."""

    def __init__(self, project: SupabaseProject, folder: Path, secret: str) -> None:
        self._project = project
        self._folder = folder
        self._secret = secret

    async def start(self, port: int) -> web.AppRunner:
        """Listen on a port; the caller cleans up what is returned."""
        app = web.Application()
        path = "/storage/v1/object/{bucket}/{name:.+}"
        signed = "/storage/v1/object/sign/{bucket}/{name:.+}"
        for method, route, handle in (
            ("POST", signed, self._sign),
            ("GET", signed, self._get_signed),
            ("POST", path, self._create),
            ("GET", path, self._get),
            ("DELETE", "/storage/v1/object/{bucket}", self._delete),
        ):
            app.router.add_route(method, route, _answering(handle))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def _create(self, request: web.Request) -> web.Response:
        bucket, name = request.match_info["bucket"], request.match_info["name"]
        content_type, content = await _file(request)
        metadata = {"mimetype": content_type, "size": len(content)}
        is_upsert = request.headers.get("x-upsert") == "true"
        try:
            await self._run(
                request,
                _CREATE + (_UPSERT if is_upsert else "") + "RETURNING *",
                name=name,
                owner=self._user(request),
                bucket=bucket,
                metadata=json.dumps(metadata),
            )
        except psycopg.errors.InsufficientPrivilege as error:
            message = error.diag.message_primary or ""
            raise _Refused(403, "Unauthorized", message) from error
        except psycopg.errors.UniqueViolation as error:
            raise _Refused(409, "Duplicate", "The resource already exists") from error
        file = self._folder / bucket / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return web.json_response({"Id": str(uuid.uuid4()), "Key": f"{bucket}/{name}"})

    async def _get(self, request: web.Request) -> web.Response:
        return self._render(await self._find(request))

    async def _sign(self, request: web.Request) -> web.Response:
        # src/storage/object.ts: signObjectUrl finds the object as the user.
        found = await self._find(request)
        url, lasts_s = f"{found.bucket_id}/{found.name}", (await request.json())["expiresIn"]
        token = jwt.encode({"url": url, "exp": int(time.time()) + lasts_s}, _SIGNING_KEY)
        return web.json_response({"signedURL": f"/object/sign/{url}?token={token}"})

    async def _get_signed(self, request: web.Request) -> web.Response:
        # src/http/routes/object/getSignedObject.ts: whoever has the token may read.
        url = jwt.decode(request.query["token"], _SIGNING_KEY, ["HS256"])["url"]
        bucket, _, name = url.partition("/")
        rows = await asyncio.to_thread(self._project.superuser, _FIND, bucket=bucket, name=name)
        if not rows:
            raise _Refused(404, "not_found", "Object not found")
        return self._render(rows[0], request.query.get("download"))

    async def _delete(self, request: web.Request) -> web.Response:
        # src/storage/object.ts: deleteObjects deletes the files of the rows that the user could delete.
        names = (await request.json())["prefixes"]
        deleted = await self._run(request, _DELETE, bucket=request.match_info["bucket"], names=names)
        for row in deleted:
            (self._folder / row.bucket_id / row.name).unlink()
        return web.json_response([{"name": row.name} for row in deleted])

    async def _find(self, request: web.Request) -> Any:
        rows = await self._run(request, _FIND, **request.match_info)
        if not rows:
            raise _Refused(404, "not_found", "Object not found")
        return rows[0]

    def _render(self, found: Any, download: str | None = None) -> web.Response:
        headers = {"Content-Type": found.metadata["mimetype"]}
        if download is not None:
            # src/storage/renderer/renderer.ts
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(download)};"
        file = self._folder / found.bucket_id / found.name
        return web.Response(body=file.read_bytes(), headers=headers)

    def _user(self, request: web.Request) -> uuid.UUID:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, self._secret, ["HS256"], audience="authenticated")
        return uuid.UUID(claims["sub"])

    async def _run(self, request: web.Request, sql: str, **params: Any) -> list[Any]:
        """Run a statement as the user (src/internal/database/connection.ts: setScope)."""
        user_id = self._user(request)
        return await asyncio.to_thread(lambda: self._project.api(sql, user_id, schema="storage", **params))


def _answering(
    handle: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Have refusals answered as Storage does."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handle(request)
        except _Refused as refused:
            return web.json_response(refused.body, status=400)

    return answer


async def _file(request: web.Request) -> tuple[str, bytes]:
    """Return type and content of what is uploaded: the part of the form that has no name."""
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        if not part.name:
            return part.headers["Content-Type"], bytes(await part.read())
    raise _Refused(400, "invalid_request", "no file")
