"""A network namespace at the far end of a link that delays every packet, and loses some.

This is a program: the namespace is its own, and it passes packets between two tun devices, one on each side.
Kernels that have netem could do so themselves; many, such as those of small virtual machines, are built
without it.
"""

import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from infra.local.tether import tether

NEAR: Final = "10.0.0.1"
FAR: Final = "10.0.0.2"
_CLONE_NEWNET: Final = 0x4000_0000
_TUNSETIFF: Final = 0x4004_54CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_PACKET: Final = 65_536
_libc = ctypes.CDLL(None, use_errno=True)


class SlowLink:
    """The link, seen from the near side. Programs that start with `prefix` run on the far side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            tether([sys.executable, "-m", __name__]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._read()
        self.prefix = ["/usr/bin/nsenter", f"--net=/proc/{self._process.pid}/ns/net"]

    def change(self, delay_s: float, loss: float) -> int:
        """Delay each packet by so much from now on, and lose this share; return how many were lost before."""
        assert self._process.stdin
        self._process.stdin.write(f"{delay_s} {loss}\n")
        return int(self._read())

    def stop(self) -> None:
        """Take the link away, and with it the far side."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the link has ended"
        return line


@contextmanager
def slow_link() -> Iterator[SlowLink]:
    """Be in a network namespace of our own, with a link to another one, which at first delays nothing.

    Call it from the main thread. Threads that exist already stay where they are.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _enter_new_namespace()
        _ip("link set lo up")
        link = SlowLink()
        try:
            yield link
        finally:
            link.stop()
    finally:
        _check(_libc.setns(home, _CLONE_NEWNET))
        os.close(home)


def _enter_new_namespace() -> None:
    _check(_libc.unshare(_CLONE_NEWNET))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def _open_device(name: str, ours: str, theirs: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip(f"address add {ours} peer {theirs} dev {name}")
    _ip(f"link set {name} up txqueuelen 10000")
    return device


class _Pump:
    """Passes packets between two devices."""

    def __init__(self, near: int, far: int) -> None:
        self._other = {near: far, far: near}
        self._on_the_way: deque[tuple[float, int, bytes]] = deque()
        self._delay_s = self._loss = 0.0
        self._lost = 0

    def run(self) -> None:
        """Go on until standard input ends."""
        poll = select.poll()
        for fd in (*self._other, sys.stdin.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll(self._wait_ms()):
                if fd in self._other:
                    self._take(fd)
                elif not self._obey():
                    return
            self._deliver()

    def _wait_ms(self) -> float | None:
        if not self._on_the_way:
            return None
        return max(0.0, self._on_the_way[0][0] - time.monotonic()) * 1_000

    def _take(self, device: int) -> None:
        due, sink = time.monotonic() + self._delay_s, self._other[device]
        try:
            while packet := os.read(device, _PACKET):
                if random.random() < self._loss:
                    self._lost += 1
                else:
                    self._on_the_way.append((due, sink, packet))
        except BlockingIOError:
            pass

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._on_the_way and self._on_the_way[0][0] <= now:
            _, sink, packet = self._on_the_way.popleft()
            try:
                os.write(sink, packet)
            except OSError:  # no room, or no packet that this side takes
                self._lost += 1

    def _obey(self) -> bool:
        words = os.read(sys.stdin.fileno(), 100).split()
        if words:
            self._delay_s, self._loss = map(float, words)
            print(self._lost, flush=True)
        return bool(words)


def _main() -> None:
    near = _open_device("near", NEAR, FAR)
    _enter_new_namespace()
    _ip("link set lo up")
    far = _open_device("far", FAR, NEAR)
    print("ready", flush=True)
    _Pump(near, far).run()


if __name__ == "__main__":
    _main()
