"""Attacks that have their tests in other folders: `make attack` runs these as well."""

from typing import Final, NamedTuple

_BAD_INPUT: Final = "tests/integration/bad_input"


class Elsewhere(NamedTuple):
    """An attack and the tests that make it."""

    attack: str
    sent: str
    outcome: str
    tests: tuple[str, ...]


ELSEWHERE: Final = (
    Elsewhere(
        "a reader that has stalled",
        "64 MB of answers to a websocket that is not read",
        "cut off at `SEND_BYTES`; the edge grows by no more than that and 16 MB",
        (
            "tests/e2e/test_overload.py::test_a_client_that_stops_reading_takes_little_more_than_its_limit_and_is_cut_off",
            "tests/e2e/test_overload.py::test_a_client_that_does_not_read_is_disconnected",
        ),
    ),
    Elsewhere(
        "malformed packets and frames",
        "one of each kind",
        "an `error` event, or the connection is closed; others never notice",
        (
            f"{_BAD_INPUT}/test_packets.py",
            "tests/conformance/test_malformed.py",
            "tests/conformance/test_frames.py",
        ),
    ),
    Elsewhere(
        "payloads and arguments that are none",
        "one of each kind for each event",
        "refused with its code, nothing is stored",
        (
            f"{_BAD_INPUT}/test_payloads.py",
            f"{_BAD_INPUT}/test_arguments.py",
            f"{_BAD_INPUT}/test_event_names.py",
        ),
    ),
    Elsewhere(
        "receipts for the chats of others",
        "forged spans of a chat",
        "they change nothing",
        ("tests/integration/test_receipts.py::test_a_receipt_for_a_chat_of_others_changes_nothing",),
    ),
    Elsewhere(
        "forged and confused tokens",
        "unsigned, with another algorithm, key, issuer, audience, role or subject",
        "each is `unauthorized`",
        ("tests/unit/auth/test_verifier.py", "tests/unit/auth/test_jwks.py"),
    ),
)
