"""The rows of `devices`, as `push` reads and changes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from functions.channels.channel import Device

_DEVICES = text(
    """
    SELECT id, user_id, channel, address, p256dh, auth, endpoint, language FROM devices
    WHERE user_id = :user_id ORDER BY registered_at DESC
    """
)
_TIME_ZONE = text(
    """
    SELECT time_zone FROM devices WHERE user_id = :user_id AND time_zone IS NOT NULL
    ORDER BY registered_at DESC LIMIT 1
    """
)
_SET_ENDPOINT = text("UPDATE devices SET endpoint = :endpoint WHERE id = :id AND address = :address")
_REMOVE = text("DELETE FROM devices WHERE id = :id AND address = :address AND registered_at <= :read_at")


def read_devices(conn: Connection, user_id: UUID) -> list[Device]:
    """Return the devices of a user, the last registered first."""
    return [Device(*row) for row in conn.execute(_DEVICES, {"user_id": user_id})]


def read_time_zone(conn: Connection, user_id: UUID) -> str | None:
    """Return the time zone of the device that was last registered with one."""
    zone: str | None = conn.execute(_TIME_ZONE, {"user_id": user_id}).scalar()
    return zone


def set_endpoint(conn: Connection, device: Device, endpoint: str) -> None:
    """Remember the endpoint of a device."""
    conn.execute(_SET_ENDPOINT, {"id": device.id, "address": device.address, "endpoint": endpoint})


def remove_device(conn: Connection, device: Device, read_at: datetime) -> None:
    """Remove a device, unless it was registered again after `read_at`."""
    conn.execute(_REMOVE, {"id": device.id, "address": device.address, "read_at": read_at})
