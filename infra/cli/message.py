"""`bbgram message`: sends, lists, edits and removes messages."""

import click

from infra.cli.calls import verbs


@click.group("message")
def message() -> None:
    """Send messages as a user or as the system; list those of a chat, edit or remove them."""


for command in verbs("message"):
    message.add_command(command)
