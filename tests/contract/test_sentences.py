"""Texts for people that are written over several lines keep the spaces between their words."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("functions", "infra", "socket_edge", "workers")
_END: Final = re.compile(r"""[\w.,;:`)]["']$""")
_BEGIN: Final = re.compile(r"""^[bfr]*["'][\w`(]""")


def joints(path: Path) -> Iterator[str]:
    """Yield where two literals that hold several words each are joined without a space."""
    before = ""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.NL, tokenize.COMMENT):
                continue
            text = token.string if token.type == tokenize.STRING else ""
            if " " in before and " " in text and _END.search(before) and _BEGIN.search(text):
                yield f"{path.relative_to(ROOT)}:{token.start[0]}: {before[-30:]} {text[:30]}"
            before = text


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_two_words_run_together(folder: str) -> None:
    assert [joint for path in sorted((ROOT / folder).rglob("*.py")) for joint in joints(path)] == []
