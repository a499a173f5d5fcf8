"""How long each kernel of compiled programs takes.

Programs poll before each launch (`abi.Table.POLL`). While a profile is taken the runtime's poll
leaves a time stamp, so programs need not be compiled differently, and nothing is measured of the
rest of the time.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from smelt.runtime.native_layout import Trace

_ROOM = 1 << 16  # stamps of a program in which control flow decides how many there are
_UNNAMED = "(all launches)"


@dataclass(frozen=True)
class KernelTime:
    """How long a kernel took in all.

    Attributes:
        program: name of its program.
        kernel: its name.
        launches: how often it was launched.
        seconds: how long all launches took together.
    """

    program: str
    kernel: str
    launches: int
    seconds: float


class Profile:
    """Measures the programs that run within it, in all threads.

    with Profile() as profile:
        step(images, labels)
    print(profile)
    """

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin; RuntimeError if another profile is being taken."""
        global _active
        if _active is not None:
            raise RuntimeError("another profile is being taken")
        _active = self
        return self

    def __exit__(self, *exception: object) -> None:
        global _active
        _active = None

    @property
    def kernels(self) -> tuple[KernelTime, ...]:
        """The kernels, those that took the longest first."""
        with self._lock:
            found = [KernelTime(*names, *total) for names, total in self._totals.items()]
        return tuple(sorted(found, key=lambda k: -k.seconds))

    def __str__(self) -> str:
        """Return a table of the kernels."""
        kernels = self.kernels
        total = sum(k.seconds for k in kernels) or 1.0
        lines = [f"{'ms':>10} {'%':>6} {'launches':>9} {'µs each':>10}  kernel"]
        lines += [
            f"{k.seconds * 1e3:10.3f} {100 * k.seconds / total:6.1f} {k.launches:9d} "
            f"{k.seconds / k.launches * 1e6:10.1f}  {k.program}: {k.kernel}"
            for k in kernels
        ]
        return "\n".join(lines)

    @contextmanager
    def trace(self, program: str, launches: tuple[str, ...]) -> Iterator[int]:
        """Give the address of a trace for one call, and account for it afterwards."""
        room = len(launches) + 1 if launches else _ROOM
        trace = (ctypes.c_int64 * (Trace.STAMPS + room))()
        trace[Trace.CAPACITY] = room
        start = time.perf_counter()
        yield ctypes.addressof(trace)
        seconds = time.perf_counter() - start
        stamps = list(trace[Trace.STAMPS : Trace.STAMPS + trace[Trace.COUNT]])
        if len(stamps) < 2 or stamps[-1] == stamps[0]:
            return  # it has launched nothing
        tick = seconds / (stamps[-1] - stamps[0])
        if len(stamps) == len(launches) + 1:
            rows = [(n, 1, b - a) for n, a, b in zip(launches, stamps, stamps[1:])]
        else:
            rows = [(_UNNAMED, len(stamps) - 1, stamps[-1] - stamps[0])]
        with self._lock:
            for kernel, count, ticks in rows:
                before, passed = self._totals.get((program, kernel), (0, 0.0))
                total = before + count, passed + ticks * tick
                self._totals[program, kernel] = total


_active: Profile | None = None


def active() -> Profile | None:
    """Return the profile that is being taken, if any."""
    return _active
