"""The keys of user names as they are folded now: invisible characters and repeated spaces are ignored.

If the new key of a profile is taken, the profile keeps its old key and a line on stderr says so: nobody can
find it by name until an operator renames it. Workers of the previous release still write old keys. A trigger
folds them, so that these workers can run beside new ones. Migration 0005 drops it.
"""

import re
import sys
import unicodedata

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"

_INVISIBLE = (
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_OLD = rf"{_INVISIBLE}|  |[\u0009-\u000d\u001c-\u001f\u0085\u1680\u2028\u2029]"
"""What no key contains any more: invisible characters, two spaces in a row, and spaces other than U+0020."""

TRIGGER = rf"""
CREATE FUNCTION profiles_fold_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.username_key := btrim(regexp_replace(
        normalize(regexp_replace(NEW.username_key, '{_INVISIBLE}', '', 'g'), NFKC), ' +', ' ', 'g'
    ));
    IF NEW.username_key = '' THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER profiles_fold_key BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION profiles_fold_key();
"""

_OLD_KEYS = text(
    "SELECT id, username FROM profiles WHERE username_key ~ :old ORDER BY created_at, id"
).execution_options(yield_per=1_000)
_REFOLD = text(
    """
    UPDATE profiles SET username_key = :key
    WHERE id = :id AND :key <> '' AND NOT EXISTS (SELECT FROM profiles WHERE username_key = :key)
    """
)


def fold(username: str) -> str:
    """Fold a name as the release of this migration does."""
    visible = re.sub(_INVISIBLE, "", unicodedata.normalize("NFKC", username).casefold())
    return " ".join(unicodedata.normalize("NFKC", visible).split())


def upgrade() -> None:
    """Add the trigger, which blocks other writers until the end, and fold existing keys, oldest first."""
    op.execute(TRIGGER)
    conn = op.get_bind()
    for user_id, username in conn.execute(_OLD_KEYS, {"old": _OLD}):
        key = fold(username)
        if not conn.execute(_REFOLD, {"id": user_id, "key": key}).rowcount:
            print(
                f"profile {user_id} keeps its old key and must be renamed: its name {username!a} "
                f"is now folded to {key!a}, which is taken or empty",
                file=sys.stderr,
            )


def downgrade() -> None:
    """Drop the trigger. The previous release finds folded keys too, by the visible part of a name."""
    op.execute("DROP TRIGGER profiles_fold_key ON profiles")
    op.execute("DROP FUNCTION profiles_fold_key")
