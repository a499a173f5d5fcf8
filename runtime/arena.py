"""Memory for compiled programs: arenas, worker scratch, outputs. All of it is 64-byte aligned.

Nothing here takes a lock: lists are changed by single atomic operations, so memory may come back
from a garbage collection in the middle of anything.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

ALIGNMENT = 64
_PAGE = 4096


class _Memory(np.ndarray[Any, Any]):
    """Bytes that own themselves.

    A view of an array refers to the array that owns the memory, unless that is of another class:
    so views of an output refer to the output, which `OutputPool` watches, and not past it to this.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A piece of memory; it lives as long as this object or an array over it.

    Attributes:
        memory: what owns it.
        offset: position of the first aligned byte in it.
        address: address of that byte.
        nbytes: aligned bytes from there on.
    """

    memory: _Memory
    offset: int
    address: int
    nbytes: int


def allocate(nbytes: int) -> Block:
    """Return fresh memory of at least `nbytes` bytes; MemoryError if there is none."""
    # NumPy takes whole pages from the system, untouched, and asks for huge ones.
    memory = _Memory((nbytes + ALIGNMENT,), np.uint8)
    start = memory.ctypes.data
    offset = -start % ALIGNMENT
    return Block(memory, offset, start + offset, nbytes)


class ArenaPool:
    """Arenas that calls borrow: as many as there were ever calls at once.

    One list serves all programs, so the memory is that of the largest program, not their sum.
    """

    def __init__(self) -> None:
        self._free: list[Block] = []

    def take(self, nbytes: int) -> Block:
        """Return an arena of at least `nbytes` bytes, contents undefined."""
        try:
            block = self._free.pop()
        except IndexError:
            return allocate(_round(nbytes))
        # One that is too small is let go, so that arenas grow to what is needed.
        return block if block.nbytes >= nbytes else allocate(_round(nbytes))

    def give(self, block: Block) -> None:
        """Give an arena back."""
        self._free.append(block)

    def clear(self) -> None:
        """Let go of the arenas that no call is using."""
        self._free.clear()


class OutputPool:
    """Memory of output arrays, used again once nobody refers to it any more.

    An output is an array over a block. Every view, export and slice of it refers to that array in
    turn, so when it dies the block is free; a weak reference tells.

    Attributes:
        limit: bytes of free memory that are kept.
    """

    def __init__(self, limit: int = 2**28) -> None:
        self.limit = limit
        self._free: dict[int, list[Block]] = {}
        self._free_bytes = 0
        self._watched: dict[int, weakref.ref[Any]] = {}  # by the block's address

    def take(
        self, nbytes: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> tuple[np.ndarray[Any, Any], int]:
        """Return (row-major array of `nbytes` bytes, its address), contents undefined."""
        size = _round(nbytes)
        try:
            block = self._free[size].pop()
            self._free_bytes -= size
        except (KeyError, IndexError):
            block = allocate(size)
        array = np.ndarray(shape, dtype, block.memory, block.offset)
        self._watched[block.address] = weakref.ref(array, _Return(self, block))
        return array, block.address

    def clear(self) -> None:
        """Let go of the memory that no array uses."""
        self._free.clear()
        self._free_bytes = 0

    def _take_back(self, block: Block) -> None:
        del self._watched[block.address]
        # The count may be off by a few blocks when threads race; it only bounds what is kept.
        if self._free_bytes + block.nbytes <= self.limit:
            self._free_bytes += block.nbytes
            self._free.setdefault(block.nbytes, []).append(block)


class _Return:
    """The callback that brings a block back to its pool."""

    __slots__ = ("block", "pool")

    def __init__(self, pool: OutputPool, block: Block) -> None:
        self.pool = pool
        self.block = block

    def __call__(self, reference: weakref.ref[Any]) -> None:
        self.pool._take_back(self.block)


def _round(nbytes: int) -> int:
    """Round a size up, in steps of 64 bytes or of pages, so that few sizes occur."""
    step = ALIGNMENT if nbytes <= _PAGE else _PAGE
    return max(ALIGNMENT, -(-nbytes // step) * step)


ARENAS = ArenaPool()
OUTPUTS = OutputPool()


def release_memory() -> None:
    """Give back to the system what no running call and no array is using."""
    ARENAS.clear()
    OUTPUTS.clear()
