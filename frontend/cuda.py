"""`smelt.cuda`: what programs ask about GPUs. This release runs on the CPU."""

from __future__ import annotations

from typing import Any

from smelt.runtime.device import DeviceError


def is_available() -> bool:
    """Tell whether tensors can be put on a GPU."""
    return False


def device_count() -> int:
    """Return the number of GPUs that tensors can be put on."""
    return 0


def is_initialized() -> bool:
    """Tell whether a GPU is in use."""
    return False


def synchronize(device: Any = None) -> None:
    """Wait for the work of the GPUs: there is none."""


def empty_cache() -> None:
    """Give unused memory of the GPUs back: there is none."""


def manual_seed(seed: int) -> None:
    """Seed the streams of the GPUs: there are none."""


def manual_seed_all(seed: int) -> None:
    """Seed the streams of all GPUs: there are none."""


def memory_allocated(device: Any = None) -> int:
    """Return the bytes in use on a GPU."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """Return the greatest number of bytes that was in use on a GPU."""
    return 0


def current_device() -> int:
    """Return the number of the GPU in use; DeviceError where there is none."""
    raise DeviceError("there is no GPU that tensors can be put on: smelt runs on the CPU here")


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Return the compute capability of a GPU; DeviceError where there is none."""
    raise DeviceError("there is no GPU that tensors can be put on: smelt runs on the CPU here")
