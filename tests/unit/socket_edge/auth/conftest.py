from collections.abc import AsyncIterator, Iterator

import pytest

from socket_edge.auth import Authenticator, create_authenticator
from socket_edge.auth.claims import ClaimRules
from socket_edge.auth.jwks import Jwks
from socket_edge.auth.verifier import TokenVerifier
from tests.harness.key_server import Clock, KeyServer, Project
from tests.harness.supabase_auth import SupabaseAuth

COOLDOWN_S = 30.0


@pytest.fixture
def server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.stop()


@pytest.fixture
def project(server: KeyServer) -> Project:
    return Project(server)


@pytest.fixture
def supabase() -> Iterator[SupabaseAuth]:
    """Give a whole Auth server, with users and sessions."""
    supabase = SupabaseAuth()
    yield supabase
    supabase.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(project: Project, clock: Clock) -> AsyncIterator[TokenVerifier]:
    """Give a verifier whose cool-down and cache follow `clock`."""
    url = f"{project.issuer}/.well-known/jwks.json"
    rules = ClaimRules(issuers=frozenset({project.issuer}))
    verifier = TokenVerifier(Jwks(url, COOLDOWN_S, clock), rules)
    yield verifier
    await verifier.aclose()


@pytest.fixture
async def authenticator(project: Project) -> AsyncIterator[Authenticator]:
    """Give what an edge makes of the settings of a current project."""
    authenticator = create_authenticator(project.settings())
    yield authenticator
    await authenticator.aclose()
