"""Running compiled programs: loading, memory, threads, saved executables, the disk cache.

Takes object code that follows `smelt.ir.abi`; knows nothing of how it was made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.runtime.arena import release_memory
    from smelt.runtime.artifact import ArtifactError
    from smelt.runtime.cache import DiskCache, cache_key, default_cache
    from smelt.runtime.device import DeviceError
    from smelt.runtime.elf import LoadError
    from smelt.runtime.executable import DataError, Executable
    from smelt.runtime.pool import get_num_threads, set_num_threads
    from smelt.runtime.signature import Signature, Slot, signature_of
    from smelt.runtime.support import build_support

# Where each public name lives: imported when it is asked for, since eager code needs few of them.
_HOMES = {
    "ArtifactError": "smelt.runtime.artifact",
    "DataError": "smelt.runtime.executable",
    "DeviceError": "smelt.runtime.device",
    "DiskCache": "smelt.runtime.cache",
    "Executable": "smelt.runtime.executable",
    "LoadError": "smelt.runtime.elf",
    "Signature": "smelt.runtime.signature",
    "Slot": "smelt.runtime.signature",
    "build_support": "smelt.runtime.support",
    "cache_key": "smelt.runtime.cache",
    "default_cache": "smelt.runtime.cache",
    "get_num_threads": "smelt.runtime.pool",
    "release_memory": "smelt.runtime.arena",
    "set_num_threads": "smelt.runtime.pool",
    "signature_of": "smelt.runtime.signature",
}

__all__ = [
    "ArtifactError",
    "DataError",
    "DeviceError",
    "DiskCache",
    "Executable",
    "LoadError",
    "Signature",
    "Slot",
    "build_support",
    "cache_key",
    "default_cache",
    "get_num_threads",
    "release_memory",
    "set_num_threads",
    "signature_of",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'smelt.runtime' has no attribute {name!r}")
    return getattr(import_module(home), name)
