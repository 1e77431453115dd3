"""The TypeScript client by itself (clients/typescript): its types, its size, and the package in a new app."""

from tests.harness.node import run_tool, vitest


async def test_the_typescript_client_type_checks() -> None:
    await run_tool("typescript/bin/tsc", "--noEmit")


async def test_the_typescript_client_passes_its_unit_tests() -> None:
    await vitest("unit")
