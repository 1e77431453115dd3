"""The files of the contract, and what is in them."""

from pathlib import Path
from typing import Final

from infra.contract.typescript import typescript

ROOT: Final = Path(__file__).parents[2]


def files() -> dict[Path, str]:
    """Return the content of each file."""
    return {ROOT / "clients" / "typescript" / "src" / "contract.ts": typescript()}
