"""Arrays as attributes: immutable, and compared by a digest of their contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.errors import DTypeError
from smelt.ir.types import TensorType


@dataclass(frozen=True, eq=False, repr=False)
class ConstantValue:
    """A read-only, row-major array. Two are equal when type and bits are.

    Attributes:
        array: the elements; what is passed in is copied unless it is read-only and row-major.

    Raises:
        DTypeError: smelt has no dtype for the elements.
    """

    array: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.dtype not in {d.numpy for d in dtypes.ALL}:
            raise DTypeError(f"constant: smelt has no dtype for elements of type {array.dtype}")
        if array.flags.writeable or not array.flags.c_contiguous:
            array = np.array(array, order="C", copy=True)
            array.flags.writeable = False
        object.__setattr__(self, "array", array)

    @property
    def type(self) -> TensorType:
        """Element type and shape."""
        return TensorType(dtypes.of_numpy(self.array.dtype), self.array.shape)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of type and contents, 128 bits of SHA-256."""
        found = hashlib.sha256(str(self.type).encode())
        found.update(self.array.tobytes())
        return found.hexdigest()[:32]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConstantValue) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"ConstantValue({self.type}, {self.digest[:8]})"
