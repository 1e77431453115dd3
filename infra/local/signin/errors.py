"""Errors in the shape that Supabase clients understand."""

from typing import Any


class SigninError(Exception):
    """A refused request. `status` is the HTTP status, `error_code` one of Supabase Auth's own.

    https://supabase.com/docs/guides/auth/debugging/error-codes
    """

    def __init__(self, status: int, error_code: str, message: str, **details: Any) -> None:
        self.status = status
        self.error_code = error_code
        self.message = message
        self.details = details
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        return {"code": self.status, "error_code": self.error_code, "msg": self.message, **self.details}
