"""Why a request is refused, inside a worker."""

from infra.wire.errors import ErrorCode


class WorkerError(Exception):
    """Base of the worker's errors; carries what the client is told."""

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        super().__init__(message or code.default_message)
        self.code = code
        self.message = message or code.default_message
        self.retryable = code.retryable


class Refused(WorkerError):
    """The request is at fault: it is answered with the code and nothing is stored."""
