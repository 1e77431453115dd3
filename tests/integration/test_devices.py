"""Devices: who may register what, and whose it is then."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.harness.worker_bench import WorkerBench

KEYS = {
    "p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u",
    "auth": "tBHItJI5svbpez7KI4CCXg",
}
URL = "https://push.example.com/send/abc"
ZONES = ("Europe/Berlin", "Asia/Calcutta", "US/Pacific", "UTC", "GMT", "Etc/GMT+5", "CET", "PST8PDT")
REPORTED_ZONES = (
    *("", " ", "Etc/Unknown", "Unknown", "Europe/Not_Yet", "America/Argentina/Nowhere", "SystemV/PST8PDT"),
    *("GMT+05:30", "GMT+0530", "GMT-3", "UTC+2", "UTC+02:00", "UTC-11", "+05:30", "-03", "Z", "UTC +1"),
    *("unknown", "undefined", "null", "(null)", "Custom", "GMT\u221205:30"),
    *(
        "gmt+05:30",
        "utc-3",
        "GMT+05:30 (IST)",
        "(UTC+01:00) Amsterdam, Berlin",
        "(UTC) Lisbon",
        "asia/nowhere",
    ),
    *("CEST", "IST", "PDT", "W. Europe Standard Time", "Central European Summer Time"),
)
"""What phones, browsers and their libraries have been seen to report."""
NO_ZONES = (
    *("localtime", "posixrules", "Factory", "right/Europe/Berlin", "posix/Europe/Berlin", "leapseconds"),
    *(
        "europe/../europe/berlin",
        "Europe/../Europe/Berlin",
        "/Europe/Berlin",
        "Europe/Berlin/",
        "Europe",
        "zone.tab",
    ),
    *("Europe/Berlin\0", "\0", "Europe//Berlin", "tzdata.zi", "."),
)
"""Files of a host's zone database, paths, and other names that are no zones."""


def register(bench: WorkerBench, user_id: UUID, channel: str, address: str, **more: Any) -> dict[str, Any]:
    event = bench.event(user_id, "register_device", {"channel": channel, "address": address, **more})
    ack: dict[str, Any] = bench.ask(event).ack(event)
    return ack


def refused(bench: WorkerBench, user_id: UUID, payload: dict[str, Any]) -> str:
    event = bench.event(user_id, "register_device", payload)
    failure = bench.ask(event).answers[event.id].failure
    assert failure is not None
    return failure.code


def owners(bench: WorkerBench, address: str) -> set[UUID]:
    return {row.user_id for row in bench.rows("SELECT user_id FROM devices WHERE address = :a", a=address)}


def test_a_device_keeps_its_id_however_often_it_is_registered(bench: WorkerBench) -> None:
    bob, name = bench.person("bob")
    first, again = (register(bench, bob, "fcm", f"token-{name}") for _ in range(2))
    assert first == again
    assert owners(bench, f"token-{name}") == {bob}


def test_the_same_device_twice_in_a_batch_is_one(bench: WorkerBench) -> None:
    bob, name = bench.person("bob")
    events = [
        bench.event(bob, "register_device", {"channel": "fcm", "address": f"token-{name}", "timeZone": zone})
        for zone in ("Europe/Berlin", "Asia/Tokyo")
    ]
    reply = bench.ask(*events)
    assert reply.ack(events[0]) == reply.ack(events[1])
    rows = bench.rows("SELECT time_zone FROM devices WHERE user_id = :u", u=bob)
    assert rows == [("Asia/Tokyo",)]


def test_a_device_that_changes_hands_belongs_to_the_user_who_registered_it_last(bench: WorkerBench) -> None:
    (alice, _), (bob, name) = bench.people("alice", "bob")
    register(bench, alice, "apns", f"token-{name}")
    register(bench, bob, "apns", f"token-{name}")
    assert owners(bench, f"token-{name}") == {bob}


def test_two_users_with_one_installation_in_a_batch_leave_it_to_the_later(bench: WorkerBench) -> None:
    (alice, _), (bob, name) = bench.people("alice", "bob")
    device = {"channel": "fcm", "address": f"token-{name}"}
    first, later = (bench.event(user_id, "register_device", device) for user_id in (alice, bob))
    reply = bench.ask(first, later)
    assert reply.failure(first).code == "unavailable"
    assert reply.ack(later)["success"]
    assert owners(bench, f"token-{name}") == {bob}


def test_two_users_with_one_installation_at_once_leave_it_to_one(make_bench: Any) -> None:
    benches = [make_bench() for _ in range(2)]
    people = benches[0].people("alice", "bob")
    for number in range(20):
        device = {"channel": "fcm", "address": f"{people[0][1]}-{number}"}
        with ThreadPoolExecutor(2) as pool:
            replies = pool.map(
                lambda bench, person, device=device: register(bench, person[0], **device), benches, people
            )
            assert all(reply["success"] for reply in replies)
        assert len(owners(benches[0], device["address"])) == 1


@pytest.mark.parametrize(
    ("channel", "address"), [("email", "bob.{}@example.com"), ("webhook", "https://example.com/{}")]
)
def test_nobody_takes_an_address_away_by_naming_it(bench: WorkerBench, channel: str, address: str) -> None:
    (alice, _), (bob, name) = bench.people("alice", "bob")
    address = address.format(name)
    register(bench, bob, channel, address)
    register(bench, alice, channel, address)
    assert owners(bench, address) == {alice, bob}


def test_one_device_too_many_takes_the_place_of_the_oldest(make_bench: Any) -> None:
    bench = make_bench(devices_max=2)
    bob, name = bench.person("bob")
    for number in range(3):
        register(bench, bob, "fcm", f"{name}-{number}")
    rows = bench.rows("SELECT address FROM devices WHERE user_id = :u ORDER BY address", u=bob)
    assert [row.address for row in rows] == [f"{name}-1", f"{name}-2"]


def test_an_unregistered_device_is_gone_and_asking_again_is_not_an_error(bench: WorkerBench) -> None:
    bob, name = bench.person("bob")
    device = register(bench, bob, "webpush", f"{URL}/{name}", keys=KEYS)["deviceId"]
    for _ in range(2):
        event = bench.event(bob, "unregister_device", {"deviceId": device})
        assert bench.ask(event).ack(event) == {"success": True}
    assert owners(bench, f"{URL}/{name}") == set()


def test_a_device_of_somebody_else_stays(bench: WorkerBench) -> None:
    (alice, _), (bob, name) = bench.people("alice", "bob")
    device = register(bench, bob, "fcm", f"token-{name}")["deviceId"]
    bench.ask(bench.event(alice, "unregister_device", {"deviceId": device}))
    assert owners(bench, f"token-{name}") == {bob}


NO_LANGUAGES = ("", "x", "en-", "en US", "de\n", "ünd", "C", "C.UTF-8", "en-" + "x" * 9)


@pytest.mark.parametrize(
    "payload",
    [
        {"channel": "pigeon", "address": "loft"},
        {"channel": "fcm"},
        {"channel": "fcm", "address": ""},
        {"channel": "fcm", "address": "x" * 2049},
        {"channel": "fcm", "address": "tøken"},
        {"channel": "fcm", "address": "to\nken"},
        {"channel": "fcm", "address": "token", "keys": KEYS},
        {"channel": "fcm", "address": "token", "timeZone": "Atlantis"},
        {"channel": "fcm", "address": "token", "timeZone": "../../etc/passwd"},
        *({"channel": "fcm", "address": "token", "timeZone": zone} for zone in NO_ZONES),
        {"channel": "fcm", "address": "token", "language": "a" * 36},
        {"channel": "webpush", "address": URL},
        {"channel": "webpush", "address": "http://push.example.com/a", "keys": KEYS},
        {"channel": "webpush", "address": "https://127.0.0.1/a", "keys": KEYS},
        {"channel": "webpush", "address": URL, "keys": {"p256dh": "k\0", "auth": "a"}},
        {"channel": "webhook", "address": "https://user:password@example.com/"},
        {"channel": "email", "address": "bob"},
        {"channel": "email", "address": "bob@example.com,eve@example.com"},
    ],
)
def test_a_device_that_cannot_work_is_refused(bench: WorkerBench, payload: dict[str, Any]) -> None:
    bob, _ = bench.person("bob")
    assert refused(bench, bob, payload) == "invalid_payload"
    assert bench.rows("SELECT id FROM devices WHERE user_id = :u", u=bob) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("pt-BR", "pt-BR"),
        ("zh_Hant_TW", "zh-Hant-TW"),
        ("en-US@posix", "en-US"),
        ("de_DE.UTF-8", "de-DE"),
        (None, None),
        *((tag, None) for tag in NO_LANGUAGES),
    ],
)
def test_the_language_of_a_device_is_kept(bench: WorkerBench, given: str | None, kept: str | None) -> None:
    bob, name = bench.person("bob")
    register(bench, bob, "fcm", f"token-{name}", language="de")
    register(bench, bob, "fcm", f"token-{name}", language=given)
    assert bench.rows("SELECT language FROM devices WHERE user_id = :u", u=bob) == [(kept,)]


def zone_of(bench: WorkerBench, user_id: UUID) -> str | None:
    ((zone,),) = bench.rows("SELECT time_zone FROM devices WHERE user_id = :u", u=user_id)
    return zone  # type: ignore[no-any-return]


@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_of_the_shipped_database_is_kept(bench: WorkerBench, zone: str) -> None:
    bob, name = bench.person("bob")
    register(bench, bob, "fcm", f"token-{name}", timeZone=zone)
    assert zone_of(bench, bob) == zone


@pytest.mark.parametrize(
    ("zone", "kept"),
    [
        ("asia/kolkata", "Asia/Kolkata"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("utc", "UTC"),
        (" GB ", "GB"),
    ],
)
def test_the_case_of_a_zone_does_not_count(bench: WorkerBench, zone: str, kept: str) -> None:
    bob, name = bench.person("bob")
    register(bench, bob, "fcm", f"token-{name}", timeZone=zone)
    assert zone_of(bench, bob) == kept


@pytest.mark.parametrize("zone", REPORTED_ZONES)
def test_a_phone_that_does_not_know_its_zone_is_registered_without_one(bench: WorkerBench, zone: str) -> None:
    bob, name = bench.person("bob")
    register(bench, bob, "fcm", f"token-{name}", timeZone="Asia/Tokyo")
    register(bench, bob, "fcm", f"token-{name}", timeZone=zone)
    assert zone_of(bench, bob) is None


def test_a_channel_that_is_not_enabled_is_refused(make_bench: Any) -> None:
    bench = make_bench(device_channels=("fcm",))
    bob, _ = bench.person("bob")
    assert refused(bench, bob, {"channel": "email", "address": "bob@example.com"}) == "invalid_payload"


def test_a_user_without_a_profile_has_no_device(bench: WorkerBench) -> None:
    assert refused(bench, uuid4(), {"channel": "fcm", "address": "token"}) == "profile_missing"


def test_many_registrations_of_a_batch_share_their_statements(bench: WorkerBench) -> None:
    people = bench.people(*(f"user{number}" for number in range(50)))
    events = [
        bench.event(user_id, "register_device", {"channel": "fcm", "address": f"token-{name}"})
        for user_id, name in people
    ]
    reply = bench.ask(*events)
    assert len({reply.ack(event)["deviceId"] for event in events}) == 50
