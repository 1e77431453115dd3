"""Reads docs/events.md: its sections, tables and examples."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.contract.event_tables import PAGE


class Row(NamedTuple):
    """A row of a table of fields."""

    names: list[str]
    """Fields that share a row."""
    cells: list[str]


def part(section: str, heading: str = "") -> str:
    """Return the text under a heading of the page, in a section of it."""
    text = PAGE.read_text()
    for found in (f"\n## {section}\n", *([f"\n### `{heading}`\n"] if heading else [])):
        _, has_it, text = text.partition(found)
        assert has_it, f"docs/events.md lacks {found.strip()!r}"
    return re.split(r"\n##" if heading else r"\n## ", text)[0]


def table(text: str, *header: str) -> list[Row] | None:
    """Return the rows of the first table whose header starts with these cells; None if there is none."""
    lines = iter(text.splitlines())
    for line in lines:
        if cells_of(line)[: len(header)] == list(header) and next(lines, "").startswith("| ---"):
            return list(rows_of(lines))
    return None


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def rows_of(lines: Iterator[str]) -> Iterator[Row]:
    for line in lines:
        if not line.startswith("|"):
            return
        name, *cells = cells_of(line)
        yield Row(re.findall(r"`(\w+)`", name), cells)


def examples(text: str) -> list[str]:
    """Return the JSON examples; a message stands where they abbreviate one."""
    first, *_ = re.findall(r"```json\n(.*?)```", part("The message"), re.DOTALL)
    return [example.replace("{...}", first) for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
