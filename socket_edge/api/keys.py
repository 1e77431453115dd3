"""Finds the API key with which a request comes."""

import hmac
from collections.abc import Sequence
from typing import Final

from infra.settings.api_keys import ApiKey, digest_of
from infra.wire.errors import ErrorCode, Rejection

_SCHEME: Final = b"bearer "


class ApiKeys:
    """The keys that an edge accepts."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = keys

    def find(self, authorization: bytes) -> ApiKey:
        """Return the key in an `Authorization` header. Raises Rejection(unauthorized)."""
        if authorization[: len(_SCHEME)].lower() == _SCHEME:
            digest = digest_of(authorization[len(_SCHEME) :].strip())
            # All are compared, so that the time tells nothing.
            for key in [key for key in self._keys if hmac.compare_digest(key.digest, digest)]:
                return key
        raise Rejection(ErrorCode.UNAUTHORIZED, "The API key is missing or not valid.")
