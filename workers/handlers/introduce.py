"""The first word of a connection: makes a profile for a user who has none, where that is configured."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.store.profiles import insert_profiles, is_username
from infra.wire.commands import CatchUp, Introduce
from infra.wire.events import Done
from workers.chats import read_people
from workers.requests import Outcome, Request
from workers.rules import Rules


def introduce(conn: Connection, requests: Sequence[Request[Introduce]], rules: Rules) -> Outcome:
    """Make the profiles. Who stays without one is told by the handlers that need it."""
    outcome = Outcome()
    if rules.provision_profiles:
        provide_profiles(conn, requests, rules)
    for request in requests:
        outcome.succeed(request, Done())
    return outcome


def provide_profiles(
    conn: Connection, requests: Sequence[Request[Introduce | CatchUp]], rules: Rules
) -> set[str]:
    """Return the users that have a profile, once those that may get one have got it."""
    known = set(read_people(conn, (request.user_id for request in requests)).by_id)
    named = {
        request.user_id: request.command.username
        for request in requests
        if request.user_id not in known and request.command.username and is_username(request.command.username)
    }
    if rules.provision_profiles and named:
        insert_profiles(conn, named)
        known |= set(read_people(conn, named).by_id)
    return known
