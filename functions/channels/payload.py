"""Encodes notices as JSON that is small enough for every push service."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from functions.channels.channel import Notice

PUSH_BYTES: Final = 3_000
"""Web Push, FCM and APNs all accept 4,096 bytes, including what they add themselves."""
_LISTED_MAX = 20
"""The most senders and chats that are listed. `count` still covers all of them."""


def compact_json(value: Mapping[str, Any]) -> str:
    """Encode a value in as few bytes as possible."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fields(notice: Notice) -> dict[str, Any]:
    """Return the fields that an app needs to show a notice."""
    return {
        "id": str(notice.id),
        "title": notice.title,
        "body": notice.body,
        "count": notice.count,
        "senders": list(notice.senders[:_LISTED_MAX]),
        "chatIds": [str(chat_id) for chat_id in notice.chat_ids[:_LISTED_MAX]],
    }


def encode_within(notice: Notice, encode: Callable[[Notice], str], max_bytes: int = PUSH_BYTES) -> str:
    """Return the encoded notice. Its body is shortened until it fits into `max_bytes` of UTF-8."""
    encoded, chars = encode(notice), len(notice.body)
    while len(encoded.encode()) > max_bytes and chars:
        chars = chars * 4 // 5
        encoded = encode(replace(notice, body=f"{notice.body[:chars].rstrip()}…"))
    return encoded
