"""Events that clients may not send, and names of no event."""

import pytest

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient
from tests.integration.bad_input.refusals import assert_refused


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
        *("introduce", "catch_up", "announce", "confirm_delivery"),
        *("connect", "disconnect", "connect_error", "disconnecting", "newListener"),
    ],
)
@pytest.mark.parametrize("payload", ["", ",{}", ',{"token":"x"},"y",3'], ids=["bare", "object", "many"])
async def test_an_event_that_clients_may_not_send_is_unknown(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payload: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"{payload}]', "unknown_event")


@pytest.mark.parametrize("command", ["5", "null", "true", "{}", '["send_message"]', "1.5"])
async def test_the_name_of_an_event_must_be_a_string(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_refused(chat, raw, mallory, f"[{command},{{}}]", "invalid_payload")
