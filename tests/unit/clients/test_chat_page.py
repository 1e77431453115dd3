"""The chat page by itself (clients/web): what needs no browser."""

from infra.local.parts import PAGE
from tests.harness.node import run_node

TESTS = sorted(str(path) for path in (PAGE.parent / "test").glob("*.test.mjs"))


async def test_the_chat_page_passes_its_unit_tests() -> None:
    assert TESTS
    await run_node(PAGE.parent, "--test", *TESTS)
