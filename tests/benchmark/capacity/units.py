"""What is measured: the cost of a message, of a connect and of an idle socket."""

from pathlib import Path
from typing import Final

import msgspec

KINDS: Final = ("edge", "worker", "beat", "postgres", "redis")
"""The processes whose CPU is counted."""

FILE: Final = Path(__file__).parents[3] / "docs" / "benchmarks" / "capacity.json"


class Load(msgspec.Struct, frozen=True):
    """A load of messages."""

    edges: int
    rate: int
    """Messages/s, in an open loop."""
    apart: bool = False
    """Sender and recipient are on different edges."""
    older: int = 0
    """Messages that are stored already."""


class Message(msgspec.Struct, frozen=True, tag="message"):
    """What a message cost under a load."""

    load: Load
    cpu_ms: dict[str, float]
    """By kind of process; all edges together."""
    client_in: float
    """Bytes of frames from clients, without the heads of TCP and TLS."""
    client_out: float
    redis_in: float
    """Bytes that Redis received."""
    redis_out: float
    wal: float
    """Bytes that Postgres wrote into its log."""
    stored: float
    """Bytes by which the table of messages and its indexes grew."""
    entry_bytes: float
    """Memory that an entry in the stream of an edge takes."""
    ack_p99_ms: float


class Socket(msgspec.Struct, frozen=True, tag="socket"):
    """What connecting and being idle cost."""

    sockets: int
    connect_ms: dict[str, float]
    """CPU for a sign-in with catch-up, by kind of process."""
    connect_in: float
    """Bytes of frames from the client until it was signed in, without the HTTP request."""
    connect_out: float
    idle_us: dict[str, float]
    """CPU for a second of an idle socket, by kind of process."""
    edge_kb: float
    redis_bytes: float
    """Memory of Redis for a user who is online."""


Unit = Message | Socket


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """All measurements, and what they were made on."""

    measured: str
    """Date, machine and versions."""
    units: list[Unit]

    @classmethod
    def load(cls) -> "Capacity":
        """Return the measurements that the page shows."""
        return msgspec.json.decode(FILE.read_bytes(), type=cls)

    def save(self) -> None:
        """Keep the measurements."""
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def messages(self, load: Load) -> list[Message]:
        """Return what messages cost under a load, a value for each round."""
        return [unit for unit in self.units if isinstance(unit, Message) and unit.load == load]

    def sockets(self) -> list[Socket]:
        """Return what sockets cost, a value for each round."""
        return [unit for unit in self.units if isinstance(unit, Socket)]
