"""What faults need of the machine: found out before anything starts, not when their turn comes."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.pgbouncer import pgbouncer_program


@dataclass(frozen=True)
class Need:
    """Something that must be here."""

    name: str
    is_here: Callable[[], bool]
    how: str
    """How to get it."""


def faketime() -> Path | None:
    """Return the library that shifts the clock of a process."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory(prefix="bbgram-faults-") as folder:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        ).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def _can_drop_packets() -> bool:
    try:
        return not subprocess.run(["iptables", "-w", "-S"], capture_output=True, check=False).returncode
    except OSError:
        return False


def _can_link_namespaces() -> bool:
    command = ["unshare", "--net", "ip", "tuntap", "add", "dev", "probe", "mode", "tun"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return False
    return not done.returncode and shutil.which("nsenter") is not None


MOUNT = Need(
    "the right to mount a file system", _can_mount, "run it as root, outside of containers without it"
)
FAKETIME = Need("faketime", lambda: faketime() is not None, "on Debian and Ubuntu: apt-get install faketime")
IPTABLES = Need(
    "iptables, and the right to use it",
    _can_drop_packets,
    "on Debian and Ubuntu: apt-get install iptables, as root",
)
TUN = Need(
    "network namespaces with tun devices, and iproute2",
    _can_link_namespaces,
    "on Debian and Ubuntu: apt-get install iproute2, as root, with /dev/net/tun",
)
PGBOUNCER = Need(
    "pgbouncer",
    lambda: pgbouncer_program() is not None,
    "on Debian and Ubuntu: apt-get install pgbouncer",
)


def lacks(needs: Mapping[str, Sequence[Need]]) -> Iterator[str]:
    """Yield a line for each thing that is not here; `needs` are those of each fault, by its name."""
    for need in dict.fromkeys(need for several in needs.values() for need in several):
        if not need.is_here():
            faults = ", ".join(name for name, several in needs.items() if need in several)
            yield f"make faults needs {need.name}: {need.how} (for: {faults})"
