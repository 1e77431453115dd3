"""Requests that remember their answers."""

from infra.wire.inbox import Answer
from socket_edge.relay.pending import PendingRequest, PendingRequests


class Asked:
    """Opens requests and records their answers."""

    def __init__(self, deadline_s: float = 60) -> None:
        self.open = PendingRequests(deadline_s)
        self.answers: dict[str, list[Answer]] = {}

    def request(
        self, payload: bytes = b"{}", name: str = "send_message", requests: PendingRequests | None = None
    ) -> PendingRequest:
        """Open a request, by default among `open`."""
        answers: list[Answer] = []

        def settle(answer: Answer) -> None:
            answers.append(answer)

        source = self.open if requests is None else requests
        request = source.open(name, "user", "socket", payload, settle)
        self.answers[request.id] = answers
        return request

    def codes(self, request: PendingRequest) -> list[str | None]:
        """Return the codes of a request's answers; None means success."""
        return [answer.failure.code if answer.failure else None for answer in self.answers[request.id]]
