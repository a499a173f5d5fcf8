"""Running compiled programs: loading, memory, threads, saved executables, the disk cache.

Takes object code that follows `smelt.ir.abi`; knows nothing of how it was made.
"""

from smelt.runtime.arena import release_memory
from smelt.runtime.artifact import ArtifactError
from smelt.runtime.cache import DiskCache, cache_key, default_cache
from smelt.runtime.device import DeviceError, device
from smelt.runtime.elf import LoadError
from smelt.runtime.executable import DataError, Executable
from smelt.runtime.pool import get_num_threads, set_num_threads
from smelt.runtime.signature import Signature, Slot, signature_of
from smelt.runtime.support import build_support

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
    "device",
    "get_num_threads",
    "release_memory",
    "set_num_threads",
    "signature_of",
]
