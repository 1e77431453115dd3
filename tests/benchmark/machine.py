"""Describes the machine that measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine(others: str = "") -> str:
    """Return date, machine and version of Python, and what else there is, as a sentence."""
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {_cpu_name()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}{others}."
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
