"""The text of attribute values and constants.

Floats are written in hexadecimal, so that text keeps every bit; a NaN that is not the usual one is
written as `bits(0x…)`.
"""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
from smelt.ir import dtypes
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind

INLINE_ELEMENTS = 16
"""Constants of at most this many elements are written in place, larger ones as their digest."""

RESERVED = frozenset({"true", "false", "none", "nan", "inf", "bits", "complex"}) | {
    d.name for d in dtypes.ALL
}
"""Words that mean something in an attribute, so that no symbolic size may have such a name."""


def print_float(value: float) -> str:
    """Return the text of a float: `0x1.8p+1`, `-0x0p+0`, `inf`, `nan`."""
    if value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").removesuffix(".")
    return f"{mantissa}p{exponent}"


def print_attribute(value: Any) -> str:
    """Return the text of one attribute value.

    Raises:
        TypeError: attributes have no values of this type.
    """
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return print_float(value)
        case complex():
            return f"complex({print_float(value.real)}, {print_float(value.imag)})"
        case str():
            return json.dumps(value)
        case DType():
            return value.name
        case Dim():
            return str(value)
        case ConstantValue():
            return print_constant(value)
        case tuple():
            parts = [print_attribute(v) for v in cast(tuple[Any, ...], value)]
            return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
        case _:
            raise TypeError(f"{value!r} of type {type(value).__name__} is not an attribute value")


def print_constant(value: ConstantValue) -> str:
    """Return the text of a constant: `f32[2](0x1p+0, -0x0p+0)`, or `f32[900]@` and its digest."""
    if value.array.size > INLINE_ELEMENTS:
        return f"{value.type}@{value.digest}"
    dtype = value.type.dtype
    elements = ", ".join(_print_element(x, dtype) for x in value.array.reshape(-1))
    return f"{value.type}({elements})"


def _print_element(element: Any, dtype: DType) -> str:
    match dtype.kind:
        case Kind.BOOL:
            return "true" if element else "false"
        case Kind.INT | Kind.UINT:
            return str(int(element))
        case Kind.FLOAT:
            return _print_bits(element, dtype, print_float(float(element)))
        case Kind.COMPLEX:
            number = complex(element)
            text = f"complex({print_float(number.real)}, {print_float(number.imag)})"
            return _print_bits(element, dtype, text, number)


def _print_bits(element: Any, dtype: DType, text: str, number: complex | None = None) -> str:
    """Return `text` if it stands for exactly the bits of `element`, else those bits."""
    raw = np.asarray(element, dtype.numpy).tobytes()
    meant = float(element) if number is None else number
    if "nan" in text and canonical_bits(meant, dtype) != raw:
        return f"bits(0x{int.from_bytes(raw, 'little'):x})"
    return text


def canonical_bits(value: float | complex, dtype: DType) -> bytes:
    """Return the bits that the text of a number stands for; every NaN is the positive quiet one."""
    nan = float("nan")
    if isinstance(value, complex):
        real = nan if value.real != value.real else value.real
        imaginary = nan if value.imag != value.imag else value.imag
        return np.array(complex(real, imaginary), dtype.numpy).tobytes()
    return np.array(nan if value != value else value, dtype.numpy).tobytes()
