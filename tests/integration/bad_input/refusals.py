"""What a refusal looks like, and that it leaves nothing behind."""

from typing import Any

from tests.harness.deployment import Deployment, user_id_of
from tests.harness.raw import RawClient, event


def traces(chat: Deployment, username: str) -> list[int]:
    """Count what a user has left in the store: messages, chats, dead letters and reports."""
    return [
        chat.rows(f"SELECT count(*) FROM {table} WHERE {column} = :u", u=user_id_of(username))[0][0]
        for table, column in (
            ("messages", "sender_id"),
            ("chat_members", "user_id"),
            ("dead_letters", "user_id"),
            ("reports", "reporter_id"),
        )
    ]


async def assert_alive(raw: RawClient, username: str) -> None:
    ack = await raw.ask(event("send_message", {"username": username, "text": "still here"}))
    assert ack["success"], ack


async def assert_refused(
    chat: Deployment,
    raw: RawClient,
    username: str,
    data: str,
    code: str,
    name: str | None = None,
    **more: Any,
) -> None:
    """Assert a refusal in the ack and as an `error` event, nothing stored, and a connection that lives on."""
    ack = await raw.ask(data)
    error = await raw.expect("error")
    assert ack == {
        "success": False,
        "error": error["message"],
        "code": code,
        "retryable": False,
        **more,
    }
    assert error == {
        "code": code,
        "message": ack["error"],
        "retryable": False,
        **({"event": name} if name else {}),
        **more,
    }
    assert ack["error"]
    assert traces(chat, username) == [0, 0, 0, 0]
    await assert_alive(raw, username)


async def assert_closed(chat: Deployment, raw: RawClient, username: str, frame: str | bytes) -> None:
    """Assert that a frame that breaks the protocol ends its connection, and leaves nothing behind."""
    await raw.send(frame)
    await raw.closed()
    assert {error["code"] for error in raw.of("error")} <= {"invalid_payload"}
    assert traces(chat, username) == [0, 0, 0, 0]
