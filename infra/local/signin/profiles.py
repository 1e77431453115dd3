"""Creates the chat profile of a new user, as a trigger on `auth.users` would in a Supabase project."""

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from infra.local.signin.accounts import User
from infra.local.signin.errors import SigninError
from infra.local.signin.settings import SigninSettings
from infra.store.profiles import ensure_profile

MakeProfile = Callable[[User], None]
"""Ensures that a user has a profile. Raises SigninError."""


def profile_maker(settings: SigninSettings) -> MakeProfile:
    """Return a function that creates profiles in the configured database, or does nothing without one."""
    address = settings.database_url
    if address is None:
        return lambda _user: None

    def make_profile(user: User) -> None:
        try:
            ensure_profile(address, user.id, user.username, schema=settings.database_schema)
        except SQLAlchemyError as error:
            raise SigninError(500, "unexpected_failure", "Database error saving new user") from error

    return make_profile
