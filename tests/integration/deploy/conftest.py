"""Fixtures of the tests on databases as Supabase makes them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.engines import Engines
from tests.harness.pgbouncer import pgbouncer
from tests.harness.supabase import SupabaseProject
from tests.integration.deploy.mirror import mirror

ProjectFactory = Callable[..., SupabaseProject]
Pooler = Callable[[SupabaseProject], str]


@pytest.fixture
def make_project(engines: Engines) -> Iterator[ProjectFactory]:
    """Return a factory for Supabase projects."""
    projects: list[SupabaseProject] = []

    def make(privileges: str = "classic") -> SupabaseProject:
        projects.append(SupabaseProject(engines, privileges=privileges))
        return projects[-1]

    yield make
    for project in projects:
        engines.release(project.store)


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[Pooler]:
    """Return a function that puts a pooler in front of a project; it returns the address for `postgres`."""
    with ExitStack() as stack:
        yield (
            lambda project: stack.enter_context(pgbouncer(project.database_url, tmp_path / "pooler")).address
        )


@pytest.fixture(scope="module")
def app(engines: Engines) -> Iterator[SupabaseProject]:
    """A project with the quick-start's table, which the chat mirrors."""
    project = SupabaseProject(engines)
    mirror(project)
    yield project
    engines.release(project.store)
