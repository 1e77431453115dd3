"""The recipe for attachments of docs/supabase.md, with the real supabase-js and real files."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from infra.store.migrate import upgrade
from tests.harness.deployment import SECRET, Deployment, make_token, user_id_of
from tests.harness.engines import free_port
from tests.harness.node import run_node
from tests.harness.supabase import SupabaseProject
from tests.harness.supabase_storage import SupabaseStorage
from tests.harness.worker_bench import WorkerBench
from tests.integration.deploy.conftest import ProjectFactory
from tests.integration.deploy.test_supabase_guide import ROOT, Reader, code

SCRIPT: Final = (ROOT / "infra" / "deploy" / "supabase" / "attachments.sql").read_text()
PROGRAM: Final = Path(__file__).with_name("attachments.mjs").read_text()
WEB: Final = ROOT / "clients" / "web"
"""Where supabase-js is installed."""


@pytest.fixture
def project(make_project: ProjectFactory) -> SupabaseProject:
    """A project where alice, bob and eve have signed up, and have names in the chat."""
    project = make_project()
    upgrade(project.database_url)
    for name in ("alice", "bob", "eve"):
        user_id = project.sign_up(user_id=uuid.UUID(user_id_of(name)))
        project.rows("SELECT bbgram.put_profile(%(id)s, %(name)s)", id=user_id, name=name)
    with policies_allowed(project):
        project.rows(SCRIPT)
    return project


@contextmanager
def policies_allowed(project: SupabaseProject) -> Iterator[None]:
    """Let `postgres` make policies for a table of Storage, as Supabase's extension supautils does."""
    project.superuser("ALTER TABLE storage.objects OWNER TO postgres")
    yield
    project.superuser("ALTER TABLE storage.objects OWNER TO supabase_storage_admin")


async def test_members_send_files_that_nobody_else_can_read(project: SupabaseProject, tmp_path: Path) -> None:
    port, files = free_port(), tmp_path / "files"
    chat = Deployment(project.store, tmp_path, forked=True)
    storage = await SupabaseStorage(project, files, SECRET).start(port)
    try:
        await run_node(
            WEB,
            "--input-type=module",
            "--eval",
            PROGRAM.replace("// PAGE", "".join(code("Attachments", "js"))),
            STORAGE_URL=f"http://127.0.0.1:{port}",
            CHAT_URL=chat.start().edges[0].url,
            TOKENS=json.dumps({name: make_token(name) for name in ("alice", "bob", "eve")}),
        )
    finally:
        await storage.cleanup()
        chat.stop()
    (left,) = [file for file in files.rglob("*") if file.is_file()]
    assert left.read_text() == "stays"
    (orphans,) = code("Attachments", "sql")
    assert project.rows(orphans) == []
    project.rows("SELECT bbgram.remove_profile(%(id)s)", id=user_id_of("bob"))
    assert [row.name for row in project.rows(orphans)] == [str(left.relative_to(files / "chat-attachments"))]


UPLOAD: Final = """
    INSERT INTO storage.objects (bucket_id, name, owner_id) VALUES (%(bucket)s, %(name)s, auth.uid()::text)
    RETURNING *
"""


def test_a_file_belongs_to_a_chat_of_a_user_who_is_not_deleted(project: SupabaseProject) -> None:
    alice, bob, eve = (uuid.UUID(user_id_of(name)) for name in ("alice", "bob", "eve"))
    bench = WorkerBench(project.store)
    chat_id = bench.open_chat(alice, "bob")
    bench.close()
    project.rows("INSERT INTO storage.buckets (id, name) VALUES ('other', 'other')")
    path = f"{chat_id}/{uuid.uuid4()}/photo.png"

    def upload(person: uuid.UUID | None, name: str, bucket: str = "chat-attachments", **options: str) -> None:
        project.api(UPLOAD, person, schema="storage", bucket=bucket, name=name, **options)

    for person, name, bucket in (
        (eve, path, "chat-attachments"),
        (alice, path, "other"),
        (alice, f"{chat_id}/photo.png", "chat-attachments"),
        (alice, f"{chat_id}/a/b/photo.png", "chat-attachments"),
        (alice, f"x/{chat_id}/photo.png", "chat-attachments"),
        (alice, f"{uuid.uuid4()}/x/photo.png", "chat-attachments"),
        (alice, "photo.png", "chat-attachments"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            upload(person, name, bucket)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        upload(None, path, role="anon")
    upload(alice, path)

    def seen(person: uuid.UUID | None, role: str = "authenticated") -> int:
        return len(project.api("SELECT * FROM storage.objects", person, role=role))

    def changed(sql: str, person: uuid.UUID) -> int:
        return len(project.api(f"{sql} RETURNING *", person, schema="storage"))

    assert [seen(alice), seen(bob), seen(eve), seen(None, "anon")] == [1, 1, 0, 0]
    for person in (alice, bob, eve):
        assert changed("UPDATE objects SET name = name || '.exe'", person) == 0
    assert [changed("DELETE FROM objects", person) for person in (bob, eve)] == [0, 0]
    project.rows("DELETE FROM bbgram.profiles WHERE id = %(id)s", id=alice)
    assert [seen(alice), seen(bob)] == [0, 1]
    assert changed("DELETE FROM objects", alice) == 0


def test_the_command_can_run_again_and_keeps_the_bucket_private(
    project: SupabaseProject, tmp_path: Path
) -> None:
    project.rows("UPDATE storage.buckets SET public = true, file_size_limit = 5")
    reader = Reader(project, tmp_path)
    reader.env["BBGRAM_DATABASE_URL"] = project.database_url.replace("+psycopg", "")
    with policies_allowed(project):
        reader.follow("Attachments")
    assert project.rows("SELECT id, public, file_size_limit FROM storage.buckets") == [
        ("chat-attachments", False, 5)
    ]
    policies = project.rows("SELECT polname FROM pg_policy WHERE polrelid = 'storage.objects'::regclass")
    assert len(policies) == 3
