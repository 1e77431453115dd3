"""The parts of documents that are generated: between two comments, and written by `make tables`."""

from collections.abc import Iterable


def with_lines(page: str, name: str, lines: Iterable[str]) -> str:
    """Return the page with these lines between its markers of that name. Raises ValueError without them."""
    begin, end = f"<!-- {name}: written by `make tables` -->\n", f"<!-- end of {name} -->\n"
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no {begin.strip()} ... {end.strip()}")
    return "\n".join([before + begin, *lines, "", end + after])
