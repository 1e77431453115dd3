"""Settings of the hook before sending: workers ask the app's backend about each message."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from infra.settings.base import Settings, variable
from infra.settings.values import HttpUrl, are_signing_secrets
from infra.wire.urls import check_url


def _url(value: str) -> str:
    """Accept what webhooks accept, and plain HTTP to this machine."""
    host = urlsplit(value).hostname or ""
    if value.startswith("http://"):
        if not _is_loopback(host):
            raise ValueError("must start with https://, unless it is an address of this machine")
    else:
        check_url(value)
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secrets(value: str) -> str:
    if not are_signing_secrets(value):
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return value


class HookSettings(Settings):
    """Whom workers ask before they store a message."""

    hook_url: Annotated[HttpUrl, AfterValidator(_url)] | None = None
    """[The hook](hook.md): where to ask about each message before it is stored, like
    `https://app.example/chat-hook`; `http://` only to this machine. Nobody is asked when not set."""
    hook_secrets: Annotated[str, AfterValidator(_secrets)] | None = None
    """The hook: `whsec_` and base64, which signs the requests; two, separated by a space, while the endpoint
    changes from one to the other."""
    hook_failure: Literal["open", "closed"] | None = None
    """The hook: what becomes of messages without an answer. `open` lets them pass, `closed` refuses them
    with `unavailable`. Must be set together with `HOOK_URL`."""
    hook_timeout_s: float = Field(0.5, ge=0.01, le=5)
    """The hook: how long to wait for an answer; messages take that much longer. Less than
    `REDISPATCH_S`."""

    def contradictions(self) -> Iterator[str]:
        """Yield a line for each setting that does not fit the others."""
        yield from super().contradictions()
        if self.hook_url is not None:
            for name in ("hook_secrets", "hook_failure"):
                if getattr(self, name) is None:
                    yield f"{variable(name)} is not set, but {variable('hook_url')} is. Set it too."
