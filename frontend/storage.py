"""The memory behind tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from smelt.ir.dtypes import DType

Array = np.ndarray[Any, Any]


class Promise(Protocol):
    """What will fill a storage: a segment of a trace that has not run yet."""

    def require(self, reason: str) -> None:
        """Fill the storages that wait for this, or raise `TraceError` at the user's line."""
        ...


class Storage:
    """A flat run of elements that tensors share.

    Attributes:
        memory: the elements, a 1-D array without gaps; None before a promise is kept. Reading it
            asks nothing of a promise, so it may be out of date: see `array`.
        dtype: element type.
        size: number of elements.
        epoch: raised by every write of smelt's; what is derived from the elements checks it.
        shared: whether NumPy code outside smelt sees the memory and may write it unnoticed.
        pending: what will fill the memory, or None where it is up to date.
    """

    __slots__ = (
        "__weakref__",
        "_address",
        "_addressed",
        "dtype",
        "epoch",
        "memory",
        "pending",
        "shared",
        "size",
    )

    def __init__(self, memory: Array, dtype: DType, *, shared: bool = False) -> None:
        self.memory: Array | None = memory
        self.dtype = dtype
        self.size = int(memory.size)
        self.epoch = 0
        self.shared = shared
        self.pending: Promise | None = None
        self._address = 0
        self._addressed: Array | None = None

    @classmethod
    def promised(cls, dtype: DType, size: int, pending: Promise) -> Storage:
        """Return a storage of `size` elements that `pending` is to fill."""
        storage = cls.__new__(cls)
        storage.memory = None
        storage.dtype = dtype
        storage.size = size
        storage.epoch = 0
        storage.shared = False
        storage.pending = pending
        storage._address = 0
        storage._addressed = None
        return storage

    def fulfil(self, memory: Array) -> None:
        """Take `memory` (1-D, of the promised dtype and size) as the elements of a promise."""
        assert self.memory is None, "views of the old memory exist"
        assert memory.ndim == 1 and memory.size == self.size, "a promise of another size"
        self.memory = memory
        self.pending = None

    @property
    def array(self) -> Array:
        """The elements as they are at this point of the program."""
        if self.pending is not None:
            self.pending.require("its elements are read")
        assert self.memory is not None and self.pending is None, "a promise was not kept"
        return self.memory

    @property
    def address(self) -> int:
        """Address of the first element, found once for each memory."""
        memory = self.array
        if self._addressed is not memory:
            self._address = int(memory.ctypes.data)
            self._addressed = memory
        return self._address

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        return self.address

    def nbytes(self) -> int:
        """Return the size in bytes."""
        return self.size * self.dtype.itemsize

    def tolist(self) -> list[Any]:
        """Return the elements as Python numbers."""
        return self.array.tolist()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.array[index].item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())
