"""An event with which operators try an endpoint."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from infra.wire.events import iso_ms
from infra.wire.webhooks import Event


def make_trial() -> Event:
    """Return an event that tells of nothing."""
    return Event(
        id=f"test/{uuid4()}",
        type="test",
        number=0,
        created_at=iso_ms(datetime.now(UTC)),
        data=msgspec.Raw(b"{}"),
        is_test=True,
    )
