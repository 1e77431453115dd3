"""The link of the network's fault delays every packet, and loses some."""

import socket
import subprocess
import sys
import time

import pytest

from tests.faults.needs import TUN
from tests.harness.slow_link import FAR, slow_link
from tests.harness.waiting import eventually

PORT = 5_000
ECHO = f"""
import socket
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind(({FAR!r}, {PORT}))
    while True:
        server.sendto(*server.recvfrom(100))
"""
DELAY_S = 0.05


@pytest.mark.skipif(not TUN.is_here(), reason=f"there is no right to {TUN.name}")
def test_packets_are_late_or_lost() -> None:
    with slow_link() as link:
        echo = subprocess.Popen([*link.prefix, sys.executable, "-c", ECHO])
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(0.1)
                eventually(lambda: answers(client), "the far side answers")
                client.settimeout(30)
                assert link.change(DELAY_S, 0) >= 0
                began = time.monotonic()
                assert answers(client)
                assert time.monotonic() - began >= 2 * DELAY_S
                lost = link.change(0, 1)
                for _ in range(10):
                    client.sendto(b"x", (FAR, PORT))
                eventually(lambda: link.change(0, 1) >= lost + 10, "all are lost")
        finally:
            echo.kill()
            echo.wait()


def answers(client: socket.socket) -> bool:
    """Tell whether a packet comes back."""
    client.sendto(b"x", (FAR, PORT))
    try:
        return client.recv(100) == b"x"
    except (TimeoutError, ConnectionRefusedError):
        return False
