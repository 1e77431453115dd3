"""Writes the table of settings in docs/deployment.md from the settings classes: `make tables`."""

from pathlib import Path
from typing import Final

from infra.settings.table import write

PAGE: Final = Path(__file__).parents[2] / "docs" / "deployment.md"


if __name__ == "__main__":
    write(PAGE)
