"""A network between all parts that is slow and loses packets."""

import asyncio
from collections import Counter
from typing import Final

from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.faults.needs import TUN

_DELAY_S: Final = 0.05
_LOSS: Final = 0.05
_LASTS_S: Final = 30.0
_WAY_S: Final = 2.0
"""There and back takes 0.1 s. TCP sends a lost packet again after about 0.3 s, and once more after 0.6 s."""


@fault(
    "50 ms each way and 5 % loss between all parts",
    "answers by the deadline, delivered within 15 s",
    recovery_s=10.0,
    needs=(TUN,),
    needs_link=True,
    way_s=_WAY_S,
)
async def slow_and_lossy(field: Field) -> None:
    """Delay and lose packets between clients, edges, workers, Redis and Postgres."""
    sent, acked = len(field.records.sent), field.acked_of(field.clients)
    field.link.change(_DELAY_S, _LOSS)
    await asyncio.sleep(_LASTS_S)
    acks = field.acked_of(field.clients) - acked
    lost = field.link.change(0, 0)
    field.healed()
    codes = Counter(one.code or "pending" for message in field.records.sent[sent:] for one in message.tries)
    field.notes.append(f"{acks / _LASTS_S:.0f} messages/s meanwhile, {lost} packets lost, answers: {codes}")
    field.expect(lost > 0, "no packet was lost")
    field.expect(acks > 0, "no message was stored meanwhile")
