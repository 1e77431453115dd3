"""A project whose table of profiles the chat mirrors, and what the tests ask about it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.store.migrate import upgrade
from tests.harness.supabase import SupabaseProject

SCRIPT: Final = Path("infra/deploy/supabase/mirror_profiles.sql").read_text()
COPY: Final = "SELECT * FROM bbgram.mirror_profiles('public.profiles', 'id', 'username')"
IN_THE_CHAT: Final = "SELECT id, username FROM bbgram.profiles WHERE deleted_at IS NULL ORDER BY id"


def mirror(project: SupabaseProject) -> None:
    """Migrate the project, and let the chat follow the quick-start's table."""
    project.start_app()
    upgrade(project.database_url)
    project.rows(SCRIPT)


def rename(project: SupabaseProject, user_id: uuid.UUID, name: str | None) -> None:
    """Rename a user as the app does: as the user, through the API."""
    sql = "UPDATE public.profiles SET username = %(name)s WHERE id = %(id)s RETURNING username"
    assert project.api(sql, user_id, name=name, id=user_id) == [(name,)]


def name_of(project: SupabaseProject, user_id: uuid.UUID) -> str | None:
    """Return a user's name in the chat; None if they have no profile."""
    rows = project.rows(
        "SELECT username FROM bbgram.profiles WHERE id = %(id)s AND deleted_at IS NULL", id=user_id
    )
    return rows[0].username if rows else None


def refused(project: SupabaseProject, user_id: uuid.UUID) -> tuple[str, str, uuid.UUID | None] | None:
    """Return the name that a user did not get, why, and who has it."""
    rows = project.rows(
        "SELECT username, reason, taken_by FROM bbgram.names_not_taken WHERE user_id = %(id)s", id=user_id
    )
    return tuple(rows[0]) if rows else None


def differing(project: SupabaseProject) -> list[object]:
    """Return the users whose name in the chat is not that in the app."""
    return project.rows(
        "SELECT app.username, chat.username AS chat FROM public.profiles app"
        " LEFT JOIN bbgram.profiles chat USING (id)"
        " WHERE chat.username IS DISTINCT FROM app.username"
    )


@contextmanager
def held(project: SupabaseProject, user_id: uuid.UUID) -> Iterator[None]:
    """Keep the profile of a user in the chat locked."""
    with project.session() as conn:
        conn.execute("SELECT FROM bbgram.profiles WHERE id = %s FOR UPDATE", (user_id,))
        yield


def fail_to_delete(project: SupabaseProject, user_id: uuid.UUID) -> None:
    """Delete a user in the app while the chat cannot follow."""
    with held(project, user_id):
        project.rows("DELETE FROM public.profiles WHERE id = %(id)s", id=user_id)
