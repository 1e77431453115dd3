"""Events that clients may not send, and names of the wrong type."""

import pytest

from infra.wire.registry import INTERNAL_COMMANDS
from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient
from tests.integration.bad_input.refusals import assert_closed, assert_refused


@pytest.mark.parametrize(
    "command",
    [
        *(
            "dance",
            "SEND_MESSAGE",
            "send_message ",
            "",
            "*",
            "__proto__",
            "new_message",
            "error",
            "message",
            "ping",
        ),
        *INTERNAL_COMMANDS,
        *("connect", "disconnect", "connect_error", "disconnecting", "newListener"),
    ],
)
@pytest.mark.parametrize("payload", ["", ",{}", ',{"token":"x"},"y",3'], ids=["bare", "object", "many"])
async def test_an_event_that_clients_may_not_send_is_unknown(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payload: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"{payload}]', "unknown_event")


@pytest.mark.parametrize("command", ["5", "-1", "1.5"])
async def test_no_event_is_named_by_a_number(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_refused(chat, raw, mallory, f"[{command},{{}}]", "unknown_event")


@pytest.mark.parametrize("command", ["null", "true", "{}", '["send_message"]'])
async def test_what_begins_with_no_name_ends_the_connection(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_closed(chat, raw, mallory, f"42[{command},{{}}]")
