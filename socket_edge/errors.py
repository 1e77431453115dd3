"""What can go wrong at an edge: one base class that knows how to answer a client."""

from infra.wire.errors import ErrorCode, Failure


class EdgeError(Exception):
    """A request or a connection failed for a reason that the client may know.

    `message` is one line for people, free of internals; the default message of `code` unless given.
    """

    def __init__(
        self, code: ErrorCode, message: str | None = None, *, retry_after_ms: int | None = None
    ) -> None:
        self.code = code
        self.message = message or code.default_message
        self.retry_after_ms = retry_after_ms
        super().__init__(self.message)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed when it is sent again later."""
        return self.code.retryable

    def failure(self) -> Failure:
        """Return the error as it travels to the client."""
        return Failure.of(self.code, self.message, retry_after_ms=self.retry_after_ms)
