"""The binary contract between emitted code and the runtime.

Emitted code exports the entry `i32 run(context *)`, and `i32 derive(context *)` where the program
keeps memory between calls; it refers to no symbol outside itself: all that it needs comes through
the context. Every field is eight bytes. `codegen` emits against these
numbers, `runtime` fills the memory; neither imports the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ENTRY = "run"

DERIVE = "derive"
"""The entry that fills the kept memory from the inputs; `run` only reads it."""


class Status(IntEnum):
    """What the entry returns."""

    DONE = 0
    DATA_ERROR = 1
    INTERRUPTED = 2


class Context(IntEnum):
    """Fields of the context, by position."""

    TABLE = 0  # pointer to the runtime's functions, by `Table`
    INPUTS = 1  # pointer to one pointer an input: its first element, offset applied
    OUTPUTS = 2  # pointer to one pointer an output
    CONSTANTS = 3  # pointer to one pointer a constant
    ARENA = 4  # pointer to the arena, 64-byte aligned
    SIZES = 5  # pointer to one i64 a symbolic size
    ERROR = 6  # pointer to the error record, by `Error`; all zero before the call
    SCRATCH = 7  # pointer to the workers' scratch memory, 64-byte aligned
    SCRATCH_STRIDE = 8  # bytes from one worker's scratch memory to the next one's
    RUNTIME = 9  # the runtime's own
    KEPT = 10  # pointer to the memory that is kept between calls, 64-byte aligned


class Table(IntEnum):
    """Functions that the runtime passes in, by position in the table.

    PARALLEL_FOR: `void (context *, body *, void *environment, i64 begin, i64 end)` runs
        `body(context, environment, begin', end', worker)` on disjoint ranges that cover
        [begin, end), on all workers, and returns when all are done. `body` is
        `void (context *, void *environment, i64 begin, i64 end, i64 worker)`; the worker's number
        is below the number of workers that scratch memory was made for; 0 is the caller.
    POLL: `i32 (context *)` returns nonzero when the call should stop (Ctrl-C). Cheap; called
        between launches and, by the pool, between the caller's ranges.
    """

    PARALLEL_FOR = 0
    POLL = 1


class Error(IntEnum):
    """Fields of the error record, i64 each.

    The first failing check claims STATE (0 to 1, atomically) and then writes the others.
    """

    STATE = 0
    CODE = 1  # key of `structured.DATA_ERRORS`
    VALUE = 2
    LIMIT = 3


@dataclass(frozen=True)
class NativeObject:
    """Relocatable machine code of one program.

    Attributes:
        code: the ELF (or Mach-O, COFF) object file; exports `ENTRY`, `DERIVE` where memory is
            kept, and has no undefined symbol.
        scratch_bytes: scratch memory that each worker needs, a multiple of 64.
        target: triple, CPU and features that it was compiled for; code runs nowhere else.
    """

    code: bytes
    scratch_bytes: int
    target: str
