"""`register_device` and `unregister_device`: where users are notified while they are away."""

import re
from collections.abc import Sequence
from typing import Final

import uuid_utils
from sqlalchemy import Connection, text

from infra.settings.time_zones import find_time_zone
from infra.wire.commands import RegisterDevice, UnregisterDevice
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import DeviceAck, Done
from infra.wire.languages import is_language
from infra.wire.urls import check_url
from workers.arrays import array
from workers.chats import People, read_people
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request

_ONE_OWNER: Final = ("fcm", "apns", "webpush")
"""Channels whose address is one installation of the app. It belongs to the user who registered it last."""

_EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\"]+")

_KEY = re.compile(r"[\w=+/-]+", re.ASCII)

_POSIX_SUFFIX = re.compile(r"[.@].*", re.DOTALL)
"""What follows the language and the region in a POSIX locale."""

_MINUS = "\u2212"
"""The sign that some languages write before an offset."""
_REPORTED_ZONE = re.compile(
    r"""
    (Etc/)?(?i:unknown|undefined|none|custom|\(?null\)?) |
    (?i:(Etc/)?(GMT|UTC?|Z)?\ ?([+-]\d{1,2}(:?\d{2}){0,2})?(\ \(.*\))?) |  # GMT+05:30, -03 (BRT), or nothing
    \((GMT|UTC)([+-]\d{1,2}:\d{2})?\)\ .* |                # (UTC+01:00) Amsterdam, Berlin
    [A-Z]{3,5} |                                          # abbreviations: CEST, IST
    [A-Z][\w.\ +()-]*\ [Tt]ime |                          # W. Europe Standard Time
    (?i:(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe|Indian
        |Mexico|Pacific|SystemV|US)(/[A-Z][\w+-]*){1,2})   # newer or older than our database
    """,
    re.ASCII | re.VERBOSE,
)
"""What phones and browsers report if they do not know an IANA zone, or know one that we do not."""

_LEAVE = text(
    """
    DELETE FROM devices d
    USING unnest(CAST(:users AS uuid[]), CAST(:channels AS text[]), CAST(:addresses AS text[]))
        AS new (user_id, channel, address)
    WHERE d.channel = new.channel AND d.address = new.address AND d.user_id <> new.user_id
        AND d.channel = ANY(CAST(:one_owner AS text[]))
    """
)
_REGISTER = text(
    """
    INSERT INTO devices (id, user_id, channel, address, p256dh, auth, time_zone, language)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:users AS uuid[]), CAST(:channels AS text[]), CAST(:addresses AS text[]),
        CAST(:p256dhs AS text[]), CAST(:auths AS text[]), CAST(:time_zones AS text[]),
        CAST(:languages AS text[])
    )
    ON CONFLICT (user_id, channel, address) DO UPDATE SET
        p256dh = excluded.p256dh, auth = excluded.auth, endpoint = NULL,
        time_zone = excluded.time_zone, language = excluded.language, registered_at = clock_timestamp()
    RETURNING id, user_id, channel, address
    """
)
_LIMIT = text(
    """
    DELETE FROM devices WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY registered_at DESC, id DESC) AS place
            FROM devices WHERE user_id = ANY(CAST(:users AS uuid[]))
        ) newest
        WHERE newest.place > :most
    )
    """
)
_UNREGISTER = text(
    """
    DELETE FROM devices d
    USING unnest(CAST(:ids AS uuid[]), CAST(:users AS uuid[])) AS gone (id, user_id)
    WHERE d.id = gone.id AND d.user_id = gone.user_id
    """
)

_Key = tuple[str, str, str]


def register_devices(
    conn: Connection, requests: Sequence[Request[RegisterDevice]], context: HandlerContext
) -> Outcome:
    """Store each device once; registering it again refreshes it and keeps its id."""
    outcome = Outcome()
    people = read_people(conn, (request.user_id for request in requests))
    newest: dict[_Key, Request[RegisterDevice]] = {}
    accepted = []
    owner: dict[object, str] = {}
    for request in requests:
        with outcome.rejections(request):
            _check(request, people, context)
            accepted.append(request)
            newest[_key(request)] = request
            owner[_place(request)] = request.user_id
    for request in accepted:
        if owner[_place(request)] != request.user_id:
            newest.pop(_key(request), None)
    if newest:
        ids = _store(conn, newest, context)
        for request in accepted:
            if _key(request) in ids:
                outcome.succeed(request, DeviceAck(device_id=ids[_key(request)]))
            else:
                # Later in this batch, another user registers the same installation.
                outcome.reject(request, Rejection(ErrorCode.UNAVAILABLE))
    return outcome


def unregister_devices(
    conn: Connection, requests: Sequence[Request[UnregisterDevice]], context: HandlerContext
) -> Outcome:
    """Remove the user's own devices. A device that is missing counts as removed."""
    outcome = Outcome()
    params = {
        "ids": array(str(request.command.device_id) for request in requests),
        "users": array(request.user_id for request in requests),
    }
    conn.execute(_UNREGISTER, params)
    for request in requests:
        outcome.succeed(request, Done())
    return outcome


def _store(
    conn: Connection, devices: dict[_Key, Request[RegisterDevice]], context: HandlerContext
) -> dict[_Key, str]:
    order = sorted(devices)
    commands = [devices[key].command for key in order]
    columns = {
        "users": array(user_id for user_id, _, _ in order),
        "channels": [channel for _, channel, _ in order],
        "addresses": [address for _, _, address in order],
    }
    conn.execute(_LEAVE, {**columns, "one_owner": list(_ONE_OWNER)})
    rows = conn.execute(
        _REGISTER,
        {
            **columns,
            "ids": array(str(uuid_utils.uuid7()) for _ in order),
            "p256dhs": [command.keys.p256dh if command.keys else None for command in commands],
            "auths": [command.keys.auth if command.keys else None for command in commands],
            "time_zones": [find_time_zone(command.time_zone or "") for command in commands],
            "languages": [_language(command) for command in commands],
        },
    ).all()
    conn.execute(_LIMIT, {"users": columns["users"], "most": context.devices_max})
    return {(row.user_id, row.channel, row.address): row.id for row in rows}


def _key(request: Request[RegisterDevice]) -> _Key:
    return request.user_id, request.command.channel, request.command.address


def _place(request: Request[RegisterDevice]) -> object:
    """Return what only one device can have: on some channels, an address belongs to one user."""
    _, channel, address = key = _key(request)
    return (channel, address) if channel in _ONE_OWNER else key


def _check(request: Request[RegisterDevice], people: People, context: HandlerContext) -> None:
    """Raise Rejection unless the device may be registered."""
    people.require(request.user_id)
    command = request.command
    if command.channel not in context.device_channels:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, f"Devices for {command.channel} are not accepted.")
    if not command.address.isascii() or not command.address.isprintable() or " " in command.address:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The address contains characters that are not allowed.")
    if (command.channel == "webpush") != (command.keys is not None):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Give `keys` for webpush, and for nothing else.")
    if command.keys is not None and not _KEY.fullmatch(command.keys.p256dh + command.keys.auth):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The keys are not base64url.")
    if command.channel == "email" and not _EMAIL.fullmatch(command.address):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The address is not an e-mail address.")
    if not (command.time_zone is None or _is_understood(command.time_zone)):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "There is no such time zone.")
    if "\0" in (command.language or ""):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")
    if command.channel in {"webpush", "webhook"}:
        try:
            check_url(command.address)
        except ValueError as error:
            raise Rejection(ErrorCode.INVALID_PAYLOAD, str(error)) from error


def _language(command: RegisterDevice) -> str | None:
    """Return the tag of the language, if there is one. Some report `en_US.UTF-8`, `en-US@posix` or `C`."""
    tag = _POSIX_SUFFIX.sub("", command.language or "").replace("_", "-")
    return tag if is_language(tag) else None


def _is_understood(zone: str) -> bool:
    """Return whether it is a time zone, or what a device reports instead: it then gets the deployment's."""
    if find_time_zone(zone) is not None:
        return True
    return _REPORTED_ZONE.fullmatch(zone.strip().replace(_MINUS, "-")) is not None
