"""Who may write to whom, and where each user has a chat: one number per user in the row of the chat.

It is in the row that a send locks, so that a send sees what was committed while it waited for the lock.
"""

from enum import IntEnum
from typing import Final


class Box(IntEnum):
    """Where one member has a chat. From INBOX to ARCHIVED, the other one may write to them."""

    UNDECIDED = 0
    """Nobody has written to the member yet. It is listed in the inbox."""
    INBOX = 1
    PINNED = 2
    ARCHIVED = 3
    REQUESTS = 4
    """The other one waits to be accepted."""
    DECLINED = 5
    UNSEEN = 6
    """As UNDECIDED, but in no list: a block made the chat, or somebody of whom the member is not to hear."""

    @property
    def is_open(self) -> bool:
        """Whether the other one may write to the member, whatever the member's settings are."""
        return Box.INBOX <= self <= Box.ARCHIVED


REQUEST_MESSAGES: Final = 3
"""How many messages somebody may send before they are accepted."""

UNDECIDED: Final = f"({Box.UNDECIDED}, {Box.UNSEEN})"
"""SQL: the boxes of a member to whom nobody has written."""
IS_BLOCKED: Final = "({chat}.lo_blocked_at IS NOT NULL OR {chat}.hi_blocked_at IS NOT NULL)"
"""SQL: whether either member of a chat has blocked the other. `{chat}` is a row of `chats`."""
BOX: Final = "CASE {user} WHEN {chat}.user_lo THEN {chat}.lo_box ELSE {chat}.hi_box END"
"""SQL: the box in which the member `{user}` has a chat."""
IS_OPEN: Final = (
    f"({{chat}}.lo_box BETWEEN {Box.INBOX} AND {Box.ARCHIVED}"
    f" AND {{chat}}.hi_box BETWEEN {Box.INBOX} AND {Box.ARCHIVED}"
    " AND {chat}.lo_blocked_at IS NULL AND {chat}.hi_blocked_at IS NULL)"
)
"""SQL: whether both members may write, whatever their settings are."""
IS_WAITING: Final = f"{BOX} IN ({Box.REQUESTS}, {Box.DECLINED})"
"""SQL: whether the other member of a chat waits for the member `{user}` to accept them."""
SHOWS_PRESENCE: Final = f"""
    (
        NOT {IS_BLOCKED} AND NOT {IS_WAITING} AND {{profile}}.deleted_at IS NULL
        AND CASE {{profile}}.show_presence
            WHEN 'everyone' THEN true
            WHEN 'chats' THEN {{chat}}.user_lo = {{chat}}.user_hi
                OR coalesce({{chat}}.last_to_lo > coalesce({{chat}}.system_to_lo, 0), true)
                    AND coalesce({{chat}}.last_to_hi > coalesce({{chat}}.system_to_hi, 0), true)
            ELSE false
        END
    )
"""
"""SQL: whether the member `{user}`, whose profile is `{profile}`, lets the other one see their presence."""
IS_SILENT: Final = f"({IS_BLOCKED} OR {IS_WAITING} OR coalesce({{member}}.muted_until > now(), false))"
"""SQL: whether the member `{user}`, whose row is `{member}`, is notified of no message of a chat."""
SHOWN_DELIVERED: Final = (
    "coalesce({member}.shown_delivered_seq, greatest({member}.delivered_seq, {member}.read_seq))"
)
"""SQL: what others see of the watermark of a member. Read messages count as delivered."""
SHOWN_READ: Final = (
    "CASE WHEN {profile}.read_receipts THEN coalesce({member}.shown_read_seq, {member}.read_seq) ELSE 0 END"
)
"""SQL: what others see of the watermark of a member whose profile is `{profile}`."""
