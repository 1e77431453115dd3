"""Requests that remember their answers."""

from infra.wire.inbox import Answer
from socket_edge.relay.requests import OpenRequests, Request


class Asked:
    """Opens requests and keeps what they were answered."""

    def __init__(self, deadline_s: float = 60) -> None:
        self.open = OpenRequests(deadline_s)
        self.answers: dict[str, list[Answer]] = {}

    def request(
        self, payload: bytes = b"{}", name: str = "send_message", open_requests: OpenRequests | None = None
    ) -> Request:
        """Open a request; one with another deadline, if other open requests are given."""
        answers: list[Answer] = []

        def settle(answer: Answer) -> None:
            answers.append(answer)

        source = self.open if open_requests is None else open_requests
        request = source.open(name, "user", "socket", payload, settle)
        self.answers[request.id] = answers
        return request

    def codes(self, request: Request) -> list[str | None]:
        """Return the codes that a request was answered with; None stands for success."""
        return [answer.failure.code if answer.failure else None for answer in self.answers[request.id]]
