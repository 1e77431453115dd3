"""Encodes notices as JSON that is small enough for every push service."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any, Final

from functions.channels.channel import Notice
from functions.shorten import shorten

PUSH_BYTES: Final = 3_000
"""Web Push, FCM and APNs all accept 4,096 bytes, including what they add themselves."""
_TITLE_BYTES: Final = 400
_SENDERS_BYTES: Final = 800
_BODY_BYTES: Final = 600
"""What long names leave to a body. With `chatIds`, the rest stays below `PUSH_BYTES`."""
_LISTED_MAX = 20
"""The most senders and chats that are listed. `count` still covers all of them."""


def compact_json(value: Mapping[str, Any] | str) -> str:
    """Encode a value in as few bytes as possible."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fields(notice: Notice) -> dict[str, Any]:
    """Return the fields that an app needs to show a notice."""
    replacing = {"isReplacement": True} if notice.is_replacement else {}
    return {
        "id": str(notice.id),
        "title": notice.title,
        "body": notice.body,
        "count": notice.count,
        "unread": notice.unread,
        "senders": list(notice.senders[:_LISTED_MAX]),
        "chatIds": [str(chat_id) for chat_id in notice.chat_ids[:_LISTED_MAX]],
        **replacing,
    }


def encode_within(notice: Notice, encode: Callable[[Notice], str], max_bytes: int = PUSH_BYTES) -> str:
    """Return the encoded notice, which fits into `max_bytes` of UTF-8, at least `PUSH_BYTES`.

    Its body is shortened; long names are shortened and left out where they would leave it no room.
    """
    for fitting in (notice, _with_short_names(notice)):
        room = max_bytes - len(encode(replace(fitting, body="")).encode())
        if room >= min(_BODY_BYTES, _json_bytes(notice.body)):
            break
    return encode(replace(fitting, body=shorten(notice.body, room, _json_bytes)))


def _with_short_names(notice: Notice) -> Notice:
    total = accumulate(_json_bytes(name) + len('"",') for name in notice.senders)
    listed = sum(1 for size in total if size <= _SENDERS_BYTES)
    title = shorten(notice.title, _TITLE_BYTES, _json_bytes)
    return replace(notice, title=title, senders=notice.senders[:listed])


def _json_bytes(text: str) -> int:
    """Return the size of a text within a JSON string."""
    return len(compact_json(text).encode()) - len('""')
