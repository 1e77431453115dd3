"""Drops the packets of chosen connections on the loopback device, as a firewall or a dead host does."""

import atexit
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psutil

_CHAIN: Final = "bbgram-faults"
_PORTS: Final = 15
"""Most ports in one rule."""


@dataclass(frozen=True)
class Connections:
    """The open connections of processes to a server on 127.0.0.1."""

    server_port: int
    ports: frozenset[int]
    """The ports of the clients."""

    @classmethod
    def of(cls, pids: Iterable[int], server_port: int) -> "Connections":
        """Return those that are open now."""
        return cls(
            server_port,
            frozenset(
                one.laddr.port
                for pid in pids
                for one in psutil.Process(pid).net_connections("tcp4")
                if one.raddr and one.raddr.port == server_port and one.status == psutil.CONN_ESTABLISHED
            ),
        )


@contextmanager
def dropped(connections: Connections, *, to_server: bool) -> Iterator[None]:
    """Drop what goes to the server, or what comes from it. New connections work. Needs root and iptables.

    The rules are in a chain of our own. What a killed run has left is removed first.
    """
    _remove()
    atexit.register(_remove)
    try:
        _iptables("-N", _CHAIN)
        _iptables("-I", "INPUT", "-i", "lo", "-j", _CHAIN)
        theirs, server = ("--sports", "--dport") if to_server else ("--dports", "--sport")
        for ports in _portions(connections.ports):
            several = ("-m", "multiport", theirs, ",".join(map(str, ports)))
            match = ("-s", "127.0.0.1", "-d", "127.0.0.1", "-p", "tcp", server, str(connections.server_port))
            _iptables("-A", _CHAIN, *match, *several, "-j", "DROP")
        yield
    finally:
        _remove()
        atexit.unregister(_remove)


def _portions(ports: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(ports)
    for start in range(0, len(ordered), _PORTS):
        yield ordered[start : start + _PORTS]


def _remove() -> None:
    for command in (
        ("-D", "INPUT", "-i", "lo", "-j", _CHAIN),
        ("-F", _CHAIN),
        ("-X", _CHAIN),
    ):
        subprocess.run(["iptables", "-w", *command], capture_output=True, check=False)


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", "-w", *arguments], check=True)
