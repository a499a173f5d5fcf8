"""The runtime's own native code, compiled and loaded.

The driver has `pool_ir.text` compiled for its target and hands the object to `load`; every saved
executable carries that object, so that it runs where there is no compiler.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from smelt.ir.abi import Table
from smelt.runtime import pool_ir
from smelt.runtime.cache import DiskCache, cache_key
from smelt.runtime.loader import LoadedObject, load
from smelt.runtime.native_layout import CALL, PARALLEL_FOR, POLL, STOP, WORKER


@dataclass(frozen=True, eq=False)
class Support:
    """The loaded support code.

    Attributes:
        code: the object file that it came from.
        call: enters a program: `i32 (context *)`. Called with the GIL, which it releases for the
            program; an exception that a signal handler raised comes out of the call.
        worker: the life of a worker thread: `void (pool *, i64 number)`.
        stop: tells a pool's workers to leave: `i32 (pool *)`, 0 when done.
        table: address of the functions for emitted code, by `abi.Table`.
    """

    code: bytes
    call: Any
    worker: Any
    stop: Any
    table: int
    _kept: tuple[Any, ...] = field(repr=False)


@lru_cache(maxsize=8)
def load_support(code: bytes) -> Support:
    """Load compiled support code; the same object for the same bytes."""
    loaded: LoadedObject = load(code)
    table = (ctypes.c_void_p * len(Table))()
    table[Table.PARALLEL_FOR] = loaded[PARALLEL_FOR]
    table[Table.POLL] = loaded[POLL]
    # PYFUNCTYPE keeps the GIL and looks for an exception afterwards; `smelt_call` itself lets the
    # GIL go, so that signal handlers can run in the middle.
    call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(loaded[CALL])
    worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(loaded[WORKER])
    stop = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(loaded[STOP])
    return Support(code, call, worker, stop, ctypes.addressof(table), (loaded, table))


def build_support(compile_ir_text: Any, triple: str, target: Any, cache: DiskCache) -> bytes:
    """Return the support code's object for a target, from the disk cache where it is known.

    Args:
        compile_ir_text: `compile_ir_text(text, target) -> bytes`, the compiler's.
        triple: the target's triple.
        target: what the compiler takes; its `str` is part of the key.
        cache: where the object is kept.
    """
    text = pool_ir.text(triple)
    key = cache_key("support", text, str(target))
    code = cache.get(key)
    if code is None:
        code = compile_ir_text(text, target)
        cache.put(key, code)
    return code
