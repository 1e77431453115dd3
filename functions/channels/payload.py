"""A notice as data, small enough for every push service."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from functions.channels.channel import Notice

PUSH_BYTES: Final = 3_000
"""Web Push, FCM and APNs all take 4,096 bytes, what they add included."""
_LISTED = 20
"""Senders and chats that are named; `count` counts all the same."""


def as_json(value: Mapping[str, Any]) -> str:
    """Write it with as few bytes as possible."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fields(notice: Notice) -> dict[str, Any]:
    """Return what an app needs to show a notice."""
    return {
        "id": str(notice.id),
        "title": notice.title,
        "body": notice.body,
        "count": notice.count,
        "senders": list(notice.senders[:_LISTED]),
        "chatIds": [str(chat_id) for chat_id in notice.chat_ids[:_LISTED]],
    }


def fitted(notice: Notice, encode: Callable[[Notice], str], max_bytes: int = PUSH_BYTES) -> str:
    """Return the notice encoded, with as much of its body as fits into `max_bytes` of UTF-8."""
    encoded, chars = encode(notice), len(notice.body)
    while len(encoded.encode()) > max_bytes and chars:
        chars = chars * 4 // 5
        encoded = encode(replace(notice, body=f"{notice.body[:chars].rstrip()}…"))
    return encoded
