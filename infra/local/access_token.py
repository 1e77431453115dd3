"""Issues a token of the local stack's sign-in service without a password."""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.errors import CommandError
from infra.local.signin.errors import SigninError
from infra.local.signin.settings import SigninSettings
from infra.local.signin.tokens import issue
from infra.local.stack_env import NAME

_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


def local_token(folder: Path, username: str, ttl_s: int) -> str:
    """Return an access token for `username`, creating user and profile if needed. Raises CommandError."""
    if not (folder / NAME).exists():
        raise CommandError(f"no local stack was ever started in {folder}: start it with `make run` first")
    supabase_url = SigninSettings.load(folder).supabase_url or ""
    if urlsplit(supabase_url).hostname not in _LOOPBACK:
        raise CommandError(f"{supabase_url} is not the local sign-in service: sign in there to get a token")
    try:
        return issue(folder, f"{supabase_url.rstrip('/')}/auth/v1", username, ttl_s).token
    except ValueError as error:
        raise CommandError(str(error)) from error
    except SigninError as error:
        raise CommandError(f"{error}: is the local stack running? Start it with `make run`") from error
