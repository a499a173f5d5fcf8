"""The thread pool: Python's side of it.

Workers are daemon threads of Python that enter native code once and stay there, without the GIL,
until the pool goes. A pool goes when nothing uses it any more: after `set_num_threads`, calls that
are under way finish on the old one. Before a fork the workers leave, and parent and child each
start their own at their next call.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

from smelt.runtime.native_layout import POOL_WORDS, Pool
from smelt.runtime.support import Support

_SPINS = 4000  # looks before a thread sleeps: about 50 microseconds
_MOST_THREADS = 4096


class ThreadPool:
    """Worker threads and the memory through which they are given work.

    Attributes:
        threads: number of workers, the caller included.
        address: address of the pool's memory for native code; 0 if there is only the caller.
    """

    def __init__(self, support: Support, threads: int) -> None:
        self.threads = 1
        self.address = 0
        self._workers: tuple[threading.Thread, ...] = ()
        if threads == 1:
            return
        memory = (ctypes.c_int64 * (POOL_WORDS + 8))()
        start = ctypes.addressof(memory)
        skipped = -start % 64 // 8
        memory[skipped + Pool.SPINS] = _SPINS
        sleep = _short_sleep()
        if sleep is not None:
            memory[skipped + Pool.SLEEP], memory[skipped + Pool.SLEEP_ARGUMENT] = sleep
        address = start + skipped * 8
        workers: list[threading.Thread] = []
        for number in range(1, threads):
            worker = threading.Thread(
                target=_work,
                args=(support, memory, address, number),
                name=f"smelt-worker-{number}",
                daemon=True,
            )
            try:
                worker.start()
            except RuntimeError:
                # The system gives no more threads, or the interpreter is shutting down: the pool
                # is as large as what was given.
                break
            workers.append(worker)
        self.threads = len(workers) + 1
        self.address = address if workers else 0
        self._workers = tuple(workers)
        self._stop = partial(_stop, support, memory, address)
        self._finalizer = weakref.finalize(self, self._stop)
        # Not at exit, where a daemon thread may be in the middle of a call; see `_stop_at_exit`.
        self._finalizer.atexit = False

    def close(self, timeout: float) -> bool:
        """Ask the workers to leave and wait for them; False if a call is using them."""
        if self.address == 0:
            return True
        if self._stop() != 0:
            return False
        self._finalizer.detach()
        for worker in self._workers:
            worker.join(timeout)
        return True


def _stop(support: Support, memory: Any, address: int) -> int:
    return support.stop(address)


def _work(support: Support, memory: Any, address: int, number: int) -> None:
    # `support` and `memory` are arguments so that both outlive the worker.
    support.worker(address, number)


def _short_sleep() -> tuple[int, int] | None:
    """Return (function, argument) of a sleep of some 50 µs where there is no futex."""
    match os.name, os.uname().sysname if hasattr(os, "uname") else "":
        case "posix", "Linux":
            return None
        case "posix", _:
            function = ctypes.CDLL(None).usleep
            return _function_address(function), 50
        case _:
            function = getattr(ctypes, "windll").kernel32.Sleep  # noqa: B009 (absent on Linux)
            return _function_address(function), 0


def _function_address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None, "a loaded function has an address"
    return address


# Reentrant: a signal handler may call compiled code while the pool is being made.
_lock = threading.RLock()
_wanted: int | None = None
_pool: ThreadPool | None = None


def get_num_threads() -> int:
    """Return how many threads a compiled call uses, the calling one included."""
    global _wanted
    if _wanted is None:
        _wanted = default_threads()
    return _wanted


def set_num_threads(threads: int) -> None:
    """Set how many threads compiled calls use from now on.

    Raises:
        ValueError: `threads` is not between 1 and 4096.
    """
    global _wanted, _pool
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"set_num_threads expects an int, got {type(threads).__name__}")
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"set_num_threads expects 1 to {_MOST_THREADS} threads, got {threads}")
    with _lock:
        if threads != _wanted:
            _wanted, _pool = threads, None


def current_pool(support: Support) -> ThreadPool:
    """Return the process's pool, starting it if need be; hold it for as long as a call uses it."""
    global _pool
    pool = _pool
    if pool is None:
        with _lock:
            pool = _pool
            if pool is None:
                pool = _pool = ThreadPool(support, get_num_threads())
    return pool


def default_threads() -> int:
    """Return the number of cores that this process may use.

    Hardware threads of one core count once; the CPU quota of a container is a bound.
    """
    if not hasattr(os, "sched_getaffinity"):
        return max(1, os.cpu_count() or 1)
    cores = {_core_of(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(cores), _quota()))


def _core_of(cpu: int) -> str:
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return siblings.read_text()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Return the whole CPUs that the control group allows, at least 1."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return _MOST_THREADS if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return _MOST_THREADS


def _before_fork() -> None:
    """Stop the workers: a process is forked best without threads, and both sides start anew."""
    global _pool
    pool = _pool
    if pool is not None and pool.close(timeout=1.0):
        with _lock:
            if _pool is pool:
                _pool = None


def _after_fork_in_child() -> None:
    global _lock, _pool
    _lock = threading.RLock()
    _pool = None  # if a call of another thread kept its workers, they are not here


def _stop_at_exit() -> None:
    pool = _pool
    if pool is not None:
        pool.close(timeout=1.0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
atexit.register(_stop_at_exit)
