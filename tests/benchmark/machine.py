"""Describes the machine that measured."""

import os
import platform
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine(others: str = "") -> str:
    """Return date, machine and version of Python, and what else there is, as a sentence."""
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {_cpu_name()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}{_build()}{others}."
    )


def _build() -> str:
    """Say if this Python was compiled with profile-guided optimization, as those in the usual images are."""
    is_optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return " (optimized build)" if is_optimized else ""


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
