"""What commands share that list and show rows of the store."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from infra.settings.store import StoreSettings

if TYPE_CHECKING:
    from sqlalchemy import Engine

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


class ListByDefault(click.Group):
    """Runs `list` when no command is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the name of the group."""
        of_list = not args or (args[0].startswith("-") and args[0] != "--help")
        return super().parse_args(ctx, ["list", *args] if of_list else args)


@contextmanager
def open_store(
    settings: StoreSettings, errors_in_one_line: AbstractContextManager[None]
) -> Iterator["Engine"]:
    """Yield an engine for a while. Errors of Postgres become what `errors_in_one_line` makes of them."""
    with errors_in_one_line:
        from infra.store.engine import make_engine

        engine = make_engine(
            settings.database_url, schema=settings.database_schema, pooled=settings.database_pooled
        )
        try:
            yield engine
        finally:
            engine.dispose()


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row, with their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
