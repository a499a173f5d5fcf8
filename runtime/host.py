"""What the machine is that code runs on, as far as it can be told without a compiler."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def host_features() -> frozenset[str]:
    """Return the names of the processor's features as the system lists them; empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def host_platform() -> str:
    """Return the system and architecture, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"
