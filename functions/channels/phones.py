"""What phones are told of a notice, in the forms of FCM and of APNs, whoever carries it there."""

from typing import Any, Literal

from functions.channels.channel import Notice
from functions.channels.payload import compact_json, fields

Platform = Literal["fcm", "apns"]


def fcm_message(notice: Notice) -> dict[str, Any]:
    """Return a message of FCM's HTTP v1 API without its receiver. Its `data` may only hold strings."""
    return {
        "notification": {"title": notice.title, "body": notice.body},
        "data": {
            "id": str(notice.id),
            "count": str(notice.count),
            "unread": str(notice.unread),
            "chatIds": ",".join(fields(notice)["chatIds"]),
        },
        "android": {"collapse_key": str(notice.id), "notification": {"tag": str(notice.id)}},
    }


def apns_payload(notice: Notice) -> str:
    """Encode a notice for APNs, grouped by chat if it covers a single one. A replacement is silent."""
    aps: dict[str, Any] = {
        "alert": {"title": notice.title, "body": notice.body},
        "badge": notice.unread,
    }
    aps |= {"interruption-level": "passive"} if notice.is_replacement else {"sound": "default"}
    if len(notice.chat_ids) == 1:
        aps["thread-id"] = str(notice.chat_ids[0])
    return compact_json(
        {"aps": aps, "id": str(notice.id), "count": notice.count, "chatIds": fields(notice)["chatIds"]}
    )
