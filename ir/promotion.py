"""Promotion and broadcasting: once, above the graph, by PyTorch's rules.

Below the frontend every operand has the dtype and the shape that its op asks for; this file says
which dtype and shape those are. Operands fall into three categories, and one of a higher category
decides alone unless a lower one brings a higher kind of number: a float32 tensor plus the Python
number 2.5 stays float32, an int64 tensor plus it becomes the default float.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import DTypeError, TypeInferenceError
from smelt.ir.types import Shape


class Category(IntEnum):
    """How much an operand counts in promotion."""

    NUMBER = 0
    ZERO_DIM = 1
    DIMENSIONED = 2


Promotable = tuple[DType, Category]

_COMPLEX_OF = {
    dtypes.float16: dtypes.complex64,
    dtypes.bfloat16: dtypes.complex64,
    dtypes.float32: dtypes.complex64,
    dtypes.float64: dtypes.complex128,
}
_SIGNED_OF_BITS = {d.bits: d for d in (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)}


def promote(a: DType, b: DType) -> DType:
    """Return the least dtype that both convert to.

    Raises:
        DTypeError: uint64 meets a signed integer, which no integer type covers.
    """
    if a is b:
        return a
    low, high = (a, b) if a.kind.value <= b.kind.value else (b, a)
    if high.kind is Kind.COMPLEX:
        if low.kind is Kind.COMPLEX or low is dtypes.float64:
            return dtypes.complex128
        return high
    if high.kind is Kind.FLOAT:
        if low.kind is not Kind.FLOAT:
            return high
        if low.bits == high.bits:  # the two half types
            return dtypes.float32
        return low if low.bits > high.bits else high
    if low.kind is Kind.BOOL:
        return high
    if low.kind is high.kind:
        return low if low.bits > high.bits else high
    signed = _SIGNED_OF_BITS.get(max(high.bits, 2 * low.bits))
    if signed is None:
        raise DTypeError(
            f"no integer dtype holds both {low.torch_name} and {high.torch_name}: "
            "convert one of them with .to(dtype)"
        )
    return signed


def result_type(operands: Iterable[Promotable]) -> DType:
    """Return the dtype in which operands of the given dtypes and categories meet."""
    found: list[DType | None] = [None, None, None]
    for dtype, category in operands:
        held = found[category]
        found[category] = dtype if held is None else promote(held, dtype)
    number, zero_dim, dimensioned = found
    result = _combine(dimensioned, _combine(zero_dim, number))
    assert result is not None, "promotion needs an operand"
    return result


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None:
        return lower
    if lower is None or higher.is_complex:
        return higher
    if higher.is_floating_point:
        return _COMPLEX_OF[higher] if lower.is_complex else higher
    if higher is dtypes.bool_ or lower.is_floating_point or lower.is_complex:
        return promote(higher, lower)
    return higher


def number_dtype(value: bool | int | float | complex, default: DType) -> DType:
    """Return the dtype of a Python number, `default` being the default floating dtype."""
    match value:
        case bool():
            return dtypes.bool_
        case int():
            return dtypes.int64
        case float():
            return default
        case complex():
            return _COMPLEX_OF[default]


def float_type(dtype: DType, default: DType) -> DType:
    """Return the dtype of a float function, or true division, of `dtype`."""
    return dtype if dtype.kind in (Kind.FLOAT, Kind.COMPLEX) else default


def sum_type(dtype: DType) -> DType:
    """Return the dtype of a sum or product: int64 for bools and integers."""
    return dtype if dtype.kind in (Kind.FLOAT, Kind.COMPLEX) else dtypes.int64


def can_cast(source: DType, target: DType) -> bool:
    """Tell whether a result of `source` may be stored in place into `target`."""
    if source.is_complex and not target.is_complex:
        return False
    if _is_inexact(source) and not _is_inexact(target):
        return False
    return target is not dtypes.bool_ or source is dtypes.bool_


def _is_inexact(dtype: DType) -> bool:
    return dtype.kind in (Kind.FLOAT, Kind.COMPLEX)


def broadcast(*shapes: Shape, op: str = "broadcast") -> Shape:
    """Return the shape to which all of `shapes` expand.

    Raises:
        TypeInferenceError: two sizes of one dimension differ and neither is 1.
    """
    result: Shape = ()
    for shape in shapes:
        if shape == result:
            continue
        if len(shape) < len(result):
            shape, result = result, shape
        extended = list(shape)
        shift = len(shape) - len(result)
        for position, extent in enumerate(result):
            other = shape[position + shift]
            if other == extent or extent == 1:
                continue
            if other != 1:
                listed = ", ".join(_shape_text(s) for s in shapes)
                raise TypeInferenceError(
                    f"{op}: shapes {listed} do not broadcast: sizes {other} and {extent} meet "
                    f"at dimension {position + shift}, and neither is 1"
                )
            extended[position + shift] = extent
        result = tuple(extended)
    return result


def _shape_text(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"
