"""Memory that the runtime shares with its own native code; fields are eight bytes each.

`smelt.ir.abi` fixes what emitted code sees. What lies behind the context's RUNTIME pointer and in
the pool is private to `pool_ir` (which reads and writes it) and to the Python of this package.
"""

from __future__ import annotations

from enum import IntEnum


class Record(IntEnum):
    """What RUNTIME points to: one for a call, and a copy for each worker that takes part.

    The addresses of Python's functions are zero where polling is not wanted: signals are handled
    by the main thread only.
    """

    ENTRY = 0  # the program's entry
    POOL = 1  # the pool, or null to run every range in the calling thread
    WORKER = 2  # number of the worker that this record belongs to
    WORKERS = 3  # how many workers there is scratch memory for
    NESTED = 4  # 1 in a worker's copy: parallel loops in it run where they are
    SHARED = 5  # the record of the call itself
    INTERRUPTED = 6  # 1 once the call should stop; only in the call's own record
    SAVE_THREAD = 7  # PyEval_SaveThread
    RESTORE_THREAD = 8  # PyEval_RestoreThread
    CHECK_SIGNALS = 9  # PyErr_CheckSignals, or null
    THREAD = 10  # Python's state of the calling thread while the GIL is released
    NEXT_POLL = 11  # time stamp before which nothing is checked
    TRACE = 12  # where launches leave time stamps, by `Trace`, or null


class Trace(IntEnum):
    """Time stamps of one call: one before each launch, one at the end."""

    CAPACITY = 0  # how many there is room for
    COUNT = 1
    STAMPS = 2


class Pool(IntEnum):
    """The pool's memory; what different threads write is 64 bytes apart."""

    JOB = 0  # low half: number of the job; high half: how many workers take part
    PENDING = 8  # workers that have not finished the job
    WAITING = 9  # 1 while the caller sleeps until PENDING is 0
    SLEEPERS = 16  # workers that sleep until JOB changes
    LOCK = 24  # 1 while a caller owns the pool
    CONTEXT = 32
    BODY = 33
    ENVIRONMENT = 34
    BEGIN = 35
    END = 36
    STOP = 40  # 1 when workers should leave
    SPINS = 41  # how often a thread looks before it sleeps
    SLEEP = 42  # where there is no futex: `void (i32)`, a short sleep
    SLEEP_ARGUMENT = 43


POOL_WORDS = 48

PROTOCOL = 3
"""Number of this layout; it goes up with every change here or in `pool_ir`."""

CALL = "smelt_call"
PARALLEL_FOR = "smelt_parallel_for"
POLL = "smelt_poll"
WORKER = "smelt_worker"
STOP = "smelt_stop"
