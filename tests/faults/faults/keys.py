"""The endpoint that publishes the signing keys: down, slow, garbage, and then with a new key."""

import asyncio
import time
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.harness.waiting import until

_COOLDOWN_S: Final = 2.0


@fault(
    "JWKS down, slow, garbage, key rotated",
    "known keys keep working, new ones work within the cool-down",
    settings={"jwks_cooldown_s": _COOLDOWN_S},
)
async def endpoint_broken(field: Field) -> None:
    """Break the endpoint in three ways, repair it, and rotate the key."""
    server = field.project.server
    good = server.body
    for client in field.clients[:2]:  # so that both edges know the key
        await client.reconnect()
    field.project.keys["unpublished"] = ec.generate_private_key(ec.SECP256R1())
    for status, delay_s, body in ((503, 0.0, b"down"), (200, 8.0, good), (200, 0.0, b"<html>")):
        server.status, server.delay_s, server.body = status, delay_s, body
        await _try_known_and_unknown_keys(field)
    server.status, server.delay_s = 200, 0.0
    field.expect(not any(client.refusals for client in field.clients), "a known key was refused")
    field.project.add_key("second")
    field.kid = "second"
    field.healed()
    await asyncio.gather(*(client.reconnect() for client in field.clients[:8]))
    took_s = time.monotonic() - field.records.healed_at
    field.notes.append(f"new key accepted everywhere after {took_s:.1f} s")
    field.expect(took_s < _COOLDOWN_S + 5, "the new key was not accepted in time")


async def _try_known_and_unknown_keys(field: Field) -> None:
    """Have the edges ask the broken endpoint for an unknown key while users with a known one connect."""
    server = field.project.server
    # An edge asks again only after its cool-down.
    await asyncio.sleep(_COOLDOWN_S + 0.5)
    hits = server.hits
    strangers = [asyncio.create_task(field.sign_in_with("unpublished", edge)) for edge in field.chat.edges]
    await until(lambda: server.hits >= hits + len(strangers), "every edge asks for the key", timeout_s=5)
    await asyncio.gather(*(client.reconnect() for client in field.clients[:8]))
    hang = not any(one.done() for one in strangers)
    field.expect(hang or not server.delay_s, "known keys were not used until the endpoint had answered")
    refusals = set(await asyncio.gather(*strangers))
    field.expect(refusals == {"unavailable"}, f"an unknown key got {refusals}")
