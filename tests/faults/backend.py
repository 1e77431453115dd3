"""The app's own backend: sends over HTTP, and repeats calls with the same `Idempotency-Key`."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import httpx

from tests.faults.records import Records, Sent
from tests.faults.wanted import Try
from tests.harness.deployment import user_id_of
from tests.harness.server_api import KEY

_GIVE_UP_S: Final = 20.0
"""How long it waits for an answer; longer than the deadline of a call."""
_PAUSE_S: Final = 0.2
"""Before it tries again."""
_EVERY_S: Final = 0.2
_AT_ONCE: Final = 5
"""Messages of every second call."""


class _Answer(NamedTuple):
    """What a call says of one message: a code as those of `Try`, and the message's id if it is acked."""

    code: str | None
    message_id: str | None = None


class FaultBackend:
    """Sends as one user, who has no socket, to clients: one call after another, to whichever edge answers."""

    def __init__(self, username: str, urls: Sequence[str], records: Records) -> None:
        self.user_id = user_id_of(username)
        self._username = username
        self._urls = itertools.cycle(urls)
        self._url = next(self._urls)
        self._records = records

    async def send_until(self, over: asyncio.Event, recipients: Sequence[str]) -> None:
        """Send single messages and several at once in turn, until it is over."""
        async with httpx.AsyncClient(verify=False, timeout=_GIVE_UP_S) as http:
            for number in itertools.count():
                if over.is_set():
                    return
                count = _AT_ONCE if number % 2 else 1
                texts = [f"{self._username}/{number}/{place}" for place in range(count)]
                await self._send(http, random.choice(recipients), texts)
                await asyncio.sleep(_EVERY_S)

    async def _send(self, http: httpx.AsyncClient, recipient: str, texts: Sequence[str]) -> None:
        """Make one call until each of its messages is acked or refused as not retryable."""
        sent = [Sent(self.user_id, recipient, text) for text in texts]
        self._records.sent += sent
        messages = [{"from": self.user_id, "to": recipient, "text": text} for text in texts]
        body = messages[0] if len(messages) == 1 else {"messages": messages}
        while open_ones := [one for one in sent if not (one.tries and one.tries[-1].is_final)]:
            if open_ones[0].tries:
                await asyncio.sleep(_PAUSE_S)
            attempts = {one.text: Try(connection=0, sent_at=time.monotonic()) for one in open_ones}
            for one in open_ones:
                one.tries.append(attempts[one.text])
            answers = await self._call(http, body, texts)
            for one, answer in zip(sent, answers, strict=True):
                if attempt := attempts.get(one.text):
                    attempt.code = answer.code
                    attempt.ended_at = None if answer.code is None else time.monotonic()
                    one.message_id = answer.message_id

    async def _call(self, http: httpx.AsyncClient, body: Any, texts: Sequence[str]) -> list[_Answer]:
        """Try once, with the first text as key; return what the call says of each message."""
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": texts[0]}
        try:
            answer = await http.post(f"{self._url}/v1/messages", json=body, headers=headers)
        except httpx.ReadTimeout:
            return [_Answer(None)] * len(texts)
        except httpx.TransportError:
            self._url = next(self._urls)
            return [_Answer("cut")] * len(texts)
        said = answer.json()
        if answer.status_code >= 400:
            return [_Answer(said["code"])] * len(texts)
        return [
            _Answer("ok", one["message"]["id"]) if "message" in one else _Answer(one["problem"]["code"])
            for one in said.get("results", [said])
        ]
