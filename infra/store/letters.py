"""Which dead letters are a user's."""

from typing import Final

from infra.wire.server_api import NOBODY

_UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
IS_LETTER_OF: Final = f"""(
    l.user_id IN (:user, '{NOBODY}') AND (l.user_id = :user OR EXISTS (
        SELECT FROM regexp_matches(lower(l.payload), '({_UUID})', 'g') AS named (found)
        WHERE found[1] = CAST(:user AS text) OR EXISTS (
            SELECT FROM chats c
            WHERE c.id = CAST(found[1] AS uuid) AND (c.user_lo = :user OR c.user_hi = :user)
        )
    ))
)"""
"""SQL: whether a row `l` of `dead_letters` is a user's.

They sent it, or the app's backend did and it names them or a chat of theirs. It need not be JSON.
"""
