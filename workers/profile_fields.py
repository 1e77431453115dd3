"""What others see of a profile besides the username: a name, an avatar, and data of the app."""

from typing import Any, TypedDict

import msgspec
from sqlalchemy import Row


class ProfileFields(TypedDict):
    """Fields of whatever shows a user. Those that are not set are left out."""

    name: str | msgspec.UnsetType
    avatar_url: str | msgspec.UnsetType
    data: msgspec.Raw | msgspec.UnsetType


def profile_fields(row: Row[Any]) -> ProfileFields:
    """Return these fields of a row with `display_name`, `avatar_url`, `data` and `deleted_at` of a profile.

    A deleted user has none. Nor has one who has lost their username to somebody else, until they get another.
    """
    is_deleted = row.deleted_at is not None
    return ProfileFields(
        name=msgspec.UNSET if is_deleted else row.display_name or msgspec.UNSET,
        avatar_url=msgspec.UNSET if is_deleted else row.avatar_url or msgspec.UNSET,
        data=msgspec.UNSET if is_deleted or row.data is None else msgspec.Raw(row.data.encode()),
    )
