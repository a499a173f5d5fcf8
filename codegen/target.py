"""What the schedule and the emitters know about a machine.

A `Target` is data: two machines (or one machine and a narrower pretence of it) differ by their
fields alone, so a kernel for AVX2 can be made, and run, on a host with AVX-512.

    host(threads=None) -> Target            # this machine
    narrowed(target, "avx2") -> Target      # the same machine, as if it had only AVX2
    target.lanes(dtype) -> int              # elements in a vector register
    target.has("avx512f") -> bool
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

from smelt.ir.dtypes import DType


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that code is compiled for.

    Attributes:
        triple: LLVM's target triple.
        cpu: LLVM's name of the processor, for its instruction scheduling.
        features: LLVM's feature string, "+avx2,-avx512f,…", sorted by name.
        vector_bits: width of the vector registers that code should use.
        vector_registers: number of such registers.
        l2_bytes: level-2 cache of a core.
        threads: number of workers that a program runs on.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int
    vector_registers: int
    l2_bytes: int = 1024 * 1024
    threads: int = 1

    def lanes(self, dtype: DType) -> int:
        """Return how many elements of `dtype` a vector register holds."""
        return self.vector_bits // dtype.bits

    def has(self, feature: str) -> bool:
        """Tell whether the machine has a feature by LLVM's name, such as "avx512f"."""
        return f"+{feature}" in self.features.split(",")

    def with_threads(self, threads: int) -> Target:
        """Return the same machine with another number of workers."""
        return replace(self, threads=threads)


def host(threads: int | None = None) -> Target:
    """Return this machine.

    Args:
        threads: number of workers; None: one for each core that this process may use.
    """
    count = _usable_cores() if threads is None else threads
    return _detected().with_threads(count)


def narrowed(target: Target, level: str) -> Target:
    """Return `target` without what lies above an instruction set.

    Args:
        target: an x86-64 machine that has `level`.
        level: "avx512", "avx2" or "sse2".

    Raises:
        ValueError: the level is unknown, or the machine does not have it.
    """
    kept: dict[str, tuple[str, ...]] = {
        "avx512": (),
        "avx2": ("avx512", "avx10", "amx", "evex512"),
        "sse2": (
            "avx", "amx", "evex512", "fma", "f16c", "sse3", "ssse3", "sse4", "xop", "vaes",
            "vpclmulqdq", "gfni", "vex", "bmi", "lzcnt", "popcnt", "movbe", "sha512", "sm3", "sm4",
        ),
    }  # fmt: skip
    if level not in kept:
        raise ValueError(f"unknown instruction set {level!r}: expected one of {sorted(kept)}")
    needed = {"avx512": "avx512f", "avx2": "avx2", "sse2": "sse2"}[level]
    if not target.has(needed):
        raise ValueError(f"{target.cpu} ({target.triple}) does not have {needed}")
    dropped = kept[level]
    features = ",".join(
        f"-{f[1:]}" if f[1:].startswith(dropped) and dropped else f
        for f in target.features.split(",")
    )
    bits, registers = {"avx512": (512, 32), "avx2": (256, 16), "sse2": (128, 16)}[level]
    cpu = target.cpu if level == "avx512" else "x86-64"
    return replace(target, cpu=cpu, features=features, vector_bits=bits, vector_registers=registers)


@functools.cache
def _detected() -> Target:
    import llvmlite.binding as llvm

    found = dict(llvm.get_host_cpu_features())
    features = ",".join(("+" if on else "-") + name for name, on in sorted(found.items()))
    triple = llvm.get_process_triple()
    if found.get("avx512f") and found.get("avx512vl") and found.get("avx512dq"):
        bits, registers = 512, 32
    elif found.get("avx2") and found.get("fma"):
        bits, registers = 256, 16
    elif triple.startswith(("aarch64", "arm64")):
        bits, registers = 128, 32
    else:
        bits, registers = 128, 16
    return Target(
        triple=triple,
        cpu=llvm.get_host_cpu_name(),
        features=features,
        vector_bits=bits,
        vector_registers=registers,
        l2_bytes=_cache_bytes(2, 1024 * 1024),
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cache_bytes(level: int, default: int) -> int:
    """Return the size of a core's data cache as Linux states it, `default` where it does not."""
    units = {"K": 1024, "M": 1024 * 1024}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            found = {k: (index / k).read_text().strip() for k in ("level", "type", "size")}
        except OSError:
            continue
        if found["level"] == str(level) and found["type"] in ("Data", "Unified"):
            return int(found["size"][:-1]) * units[found["size"][-1]]
    return default
