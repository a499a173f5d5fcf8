"""Element types, shared by every IR level."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np


class Kind(Enum):
    """What kind of number a dtype holds, in the order of promotion."""

    BOOL = 0
    UINT = 1
    INT = 2
    FLOAT = 3
    COMPLEX = 4


@dataclass(frozen=True, eq=False, repr=False)
class DType:
    """An element type. There is one object for each, compared by identity.

    Attributes:
        name: name in IR text, such as `f32`.
        torch_name: name in the user's code, such as `float32`.
        kind: the kind of number.
        bits: size of an element in bits (bool occupies 8).
        numpy: the NumPy dtype that stores it.
    """

    name: str
    torch_name: str
    kind: Kind
    bits: int
    numpy: np.dtype[Any]

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return self.bits // 8

    @property
    def is_floating_point(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.kind is Kind.FLOAT

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self.kind is Kind.COMPLEX

    @property
    def is_integer(self) -> bool:
        """Whether this is an integer type; bool is not one."""
        return self.kind in (Kind.INT, Kind.UINT)

    @property
    def is_signed(self) -> bool:
        """Whether this type holds negative numbers."""
        return self.kind in (Kind.INT, Kind.FLOAT, Kind.COMPLEX)

    @property
    def is_half(self) -> bool:
        """Whether this is a 16-bit floating-point type."""
        return self.kind is Kind.FLOAT and self.bits == 16

    @property
    def accumulator(self) -> DType:
        """The type in which sums of this type are kept: float32 for the half types."""
        return float32 if self.is_half else self

    def __repr__(self) -> str:
        return f"smelt.{self.torch_name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (by_name, (self.name,))


def _dtype(name: str, torch_name: str, kind: Kind, bits: int, numpy: Any) -> DType:
    return DType(name, torch_name, kind, bits, np.dtype(numpy))


bool_ = _dtype("bool", "bool", Kind.BOOL, 8, np.bool_)
uint8 = _dtype("u8", "uint8", Kind.UINT, 8, np.uint8)
uint16 = _dtype("u16", "uint16", Kind.UINT, 16, np.uint16)
uint32 = _dtype("u32", "uint32", Kind.UINT, 32, np.uint32)
uint64 = _dtype("u64", "uint64", Kind.UINT, 64, np.uint64)
int8 = _dtype("i8", "int8", Kind.INT, 8, np.int8)
int16 = _dtype("i16", "int16", Kind.INT, 16, np.int16)
int32 = _dtype("i32", "int32", Kind.INT, 32, np.int32)
int64 = _dtype("i64", "int64", Kind.INT, 64, np.int64)
float16 = _dtype("f16", "float16", Kind.FLOAT, 16, np.float16)
bfloat16 = _dtype("bf16", "bfloat16", Kind.FLOAT, 16, ml_dtypes.bfloat16)
float32 = _dtype("f32", "float32", Kind.FLOAT, 32, np.float32)
float64 = _dtype("f64", "float64", Kind.FLOAT, 64, np.float64)
complex64 = _dtype("c64", "complex64", Kind.COMPLEX, 64, np.complex64)
complex128 = _dtype("c128", "complex128", Kind.COMPLEX, 128, np.complex128)

ALL: tuple[DType, ...] = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
FLOATS: tuple[DType, ...] = (float16, bfloat16, float32, float64)
INTEGERS: tuple[DType, ...] = (uint8, uint16, uint32, uint64, int8, int16, int32, int64)
REALS: tuple[DType, ...] = INTEGERS + FLOATS
COMPLEXES: tuple[DType, ...] = (complex64, complex128)

_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}


def by_name(name: str) -> DType:
    """Return the dtype that IR text calls `name`; KeyError if there is none."""
    return _BY_NAME[name]


def of_numpy(dtype: np.dtype[Any]) -> DType:
    """Return the dtype that stores its elements as `dtype`; KeyError if smelt has none."""
    return _BY_NUMPY[dtype]
