"""Values of LLVM IR while it is written: what they are called, what type they have.

How a dtype is kept depends on where it is:

| dtype       | in memory | in registers                                              |
|-------------|-----------|-----------------------------------------------------------|
| bool        | i8        | i1                                                        |
| f16, bf16   | i16       | i16, the bits; an operation widens to float and rounds once |
| others      | themselves | themselves                                               |

A value that varies from lane to lane is a vector; one that does not stays scalar until a vector is
needed. An i64 that grows evenly from lane to lane stays symbolic as `Linear`, so that addresses
are recognised for what they are.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache

from smelt.ir.dtypes import DType, Kind


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value or a constant.

    Attributes:
        text: its name (`%x`) or its constant, without the type.
        element: LLVM type of a lane, such as `float` or `i64`.
        lanes: number of lanes; 0 for a scalar.
        known: the number, for a scalar integer constant.
    """

    text: str
    element: str
    lanes: int = 0
    known: int | None = None

    @property
    def type(self) -> str:
        """The LLVM type."""
        return vector_type(self.element, self.lanes)

    @property
    def typed(self) -> str:
        """The type and the value, as an operand is written."""
        return f"{self.type} {self.text}"


@dataclass(frozen=True, slots=True)
class Linear:
    """The i64 vector `base + lane * stride`, not yet computed.

    Attributes:
        base: scalar i64.
        stride: what each lane adds; not 0.
        lanes: number of lanes.
    """

    base: Value
    stride: int
    lanes: int


Operand = Value | Linear


def vector_type(element: str, lanes: int) -> str:
    """Return the LLVM type of `lanes` elements; 0 lanes is a scalar."""
    return f"<{lanes} x {element}>" if lanes else element


def register_type(dtype: DType) -> str:
    """Return the LLVM type that holds a number of `dtype` in a register."""
    match dtype.kind:
        case Kind.BOOL:
            return "i1"
        case Kind.FLOAT if not dtype.is_half:
            return "float" if dtype.bits == 32 else "double"
        case Kind.INT | Kind.UINT | Kind.FLOAT:
            return f"i{dtype.bits}"
        case Kind.COMPLEX:
            raise AssertionError("complex values are split into real pairs before lowering")


def memory_type(dtype: DType) -> str:
    """Return the LLVM type of an element of `dtype` in memory."""
    return "i8" if dtype.kind is Kind.BOOL else register_type(dtype)


def bits_of(element: str) -> int:
    """Return the size of an LLVM scalar type in bits."""
    return {"float": 32, "double": 64, "ptr": 64}.get(element) or int(element[1:])


def is_float(element: str) -> bool:
    """Tell whether an LLVM scalar type is a floating-point type."""
    return element in ("float", "double")


@lru_cache(maxsize=4096)
def integer_constant(value: int, element: str = "i64") -> Value:
    """Return an integer constant, wrapped to the width of `element`."""
    bits = bits_of(element)
    wrapped = value & ((1 << bits) - 1)
    if bits > 1 and wrapped >> (bits - 1):
        wrapped -= 1 << bits
    return Value(str(wrapped), element, 0, wrapped)


def float_constant(value: float, element: str) -> Value:
    """Return a floating-point constant; for `float` it is rounded to single precision."""
    if element == "float":
        value = round_to_single(value)
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return Value(f"0x{bits:016X}", element)


def round_to_single(value: float) -> float:
    """Return `value` rounded to single precision; infinity where it is too large."""
    if math.isnan(value):
        return math.copysign(math.nan, value)
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def half_bits(value: float, dtype: DType) -> int:
    """Return the bits of `value` as float16 or bfloat16, by way of single precision."""
    import numpy as np

    with np.errstate(all="ignore"):
        return int(np.float32(value).astype(dtype.numpy).view(np.uint16))


def mangled(element: str, lanes: int = 0) -> str:
    """Return a type as it appears in the names of LLVM's overloaded intrinsics: `v16f32`."""
    scalar = {"float": "f32", "double": "f64", "ptr": "p0"}.get(element, element)
    return f"v{lanes}{scalar}" if lanes else scalar


ZERO = integer_constant(0)
ONE = integer_constant(1)
TRUE = Value("true", "i1", 0, 1)
FALSE = Value("false", "i1", 0, 0)
