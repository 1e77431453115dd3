"""`bbgram dead-letters`: shows, replays and drops the events that no worker could handle."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click
import msgspec

from infra.cli.local import local_option
from infra.cli.stored import ListByDefault, in_columns, json_option, open_store
from infra.logs import printable
from infra.settings.store import StoreSettings
from infra.settings.worker import WorkerSettings
from infra.wire.events import iso_ms

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from workers.dead_letters import Letter, LetterHead

_ERROR_CHARS: Final = 140
_LIMIT_MAX: Final = 100_000


@click.group("dead-letters", cls=ListByDefault)
def dead_letters() -> None:
    """List the events that no worker could handle; or show, replay or drop them."""


@dead_letters.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, _LIMIT_MAX),
    default=50,
    show_default=True,
    help="Number of letters, newest first.",
)
@json_option
@local_option
def list_letters(limit: int, as_json: bool) -> None:
    """List the newest letters, without what their senders wrote."""
    with _store() as engine:
        from workers.dead_letters import newest

        letters = newest(engine, limit + 1)
    if as_json:
        click.echo(msgspec.json.encode(letters[:limit]))
    elif not letters:
        click.echo("there are no dead letters")
    else:
        for line in _table(letters[:limit]):
            click.echo(line)
        if len(letters) > limit:
            click.echo("there are older ones; --limit shows more")


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=click.UUID)
@json_option
@local_option
def show(letter_id: UUID, as_json: bool) -> None:
    """Show one letter with its payload, which may hold the text of a message."""
    with _store() as engine:
        from workers.dead_letters import find

        letter = find(engine, str(letter_id))
    if letter is None:
        raise _unknown(letter_id)
    if as_json:
        click.echo(msgspec.json.encode(letter))
    else:
        for line in _page(letter):
            click.echo(line)


@dead_letters.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@click.option("--all", "everything", is_flag=True, help="Replay all of them.")
@local_option
def replay(ids: tuple[UUID, ...], everything: bool) -> None:
    """Handle events again, in the order in which they arrived.

    A letter whose event succeeds is removed. If one fails, it stays and the exit code is 1.
    """
    if bool(ids) == everything:
        raise click.UsageError("give ids, or --all")
    settings = WorkerSettings.load()
    with _errors_in_one_line(settings, settings.redis_url):
        from infra.logs import configure_logs
        from workers.app import make_parts
        from workers.dead_letters import all_ids, find
        from workers.replay import replay as replay_letter

        configure_logs(as_json=settings.log_json, level=settings.log_level)
        parts = make_parts(settings)
        letter_ids = all_ids(parts.engine) if everything else _require(parts.engine, ids)
        if not letter_ids:
            click.echo("there are no dead letters")
        undone = 0
        for letter_id in letter_ids:
            letter = find(parts.engine, letter_id)
            if letter is None:
                click.echo(f"{letter_id}  gone meanwhile")
                continue
            result = replay_letter(parts.engine, parts.processor, letter)
            click.echo(f"{letter_id}  {letter.event}  {printable(result.outcome)}")
            undone += not result.done
    if undone:
        raise click.exceptions.Exit(1)


@dead_letters.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@local_option
def drop(ids: tuple[UUID, ...]) -> None:
    """Delete letters."""
    with _store() as engine:
        from workers.dead_letters import drop as drop_letters

        letter_ids = _require(engine, ids)
        drop_letters(engine, letter_ids)
    for letter_id in letter_ids:
        click.echo(f"{letter_id}  dropped")


def _require(engine: "Engine", ids: Sequence[UUID]) -> list[str]:
    """Return the ids in the order in which the events arrived. Raises click.UsageError for an unknown one."""
    from workers.dead_letters import known_ids

    known = known_ids(engine, map(str, ids))
    for letter_id in ids:
        if str(letter_id) not in known:
            raise _unknown(letter_id)
    return known


def _unknown(letter_id: UUID) -> click.UsageError:
    return click.UsageError(f"there is no dead letter {letter_id}")


def _store() -> AbstractContextManager["Engine"]:
    settings = StoreSettings.load()
    return open_store(settings, _errors_in_one_line(settings))


def _errors_in_one_line(
    settings: StoreSettings, redis_url: str | None = None
) -> AbstractContextManager[None]:
    from infra.cli.unreachable import worker_errors_in_one_line

    return worker_errors_in_one_line("dead-letters", settings.database_url, redis_url)


def _table(letters: Sequence["LetterHead"]) -> Iterator[str]:
    rows = [("ID", "WHEN", "EVENT", "USER ID", "ERROR")]
    for letter in letters:
        error = printable(letter.error)
        cut = error if len(error) <= _ERROR_CHARS else f"{error[: _ERROR_CHARS - 1]}…"
        rows.append((letter.id, iso_ms(letter.created_at), letter.event, letter.user_id, cut))
    yield from in_columns(rows)


def _page(letter: "Letter") -> Iterator[str]:
    yield f"id       {letter.id}"
    yield f"when     {iso_ms(letter.created_at)}"
    yield f"event    {letter.event}"
    yield f"user id  {letter.user_id}"
    head, *rest = letter.error.splitlines() or [""]
    yield f"error    {printable(head)}"
    for line in rest:
        yield f"         {printable(line)}"
    yield f"payload  {printable(letter.payload)}"
