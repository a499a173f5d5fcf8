"""Combine the lanes of a vector into fewer: the horizontal half of reductions."""

from __future__ import annotations

import math

from smelt.codegen.llvm import arithmetic
from smelt.codegen.llvm.values import (
    Operand,
    Value,
    float_constant,
    half_bits,
    integer_constant,
    mangled,
    register_type,
)
from smelt.codegen.llvm.writer import Writer
from smelt.ir.dtypes import DType, Kind


def identity(op: str, dtype: DType) -> Value:
    """Return the number that changes nothing when it is combined by `op`."""
    element = register_type(dtype)
    if dtype.kind is Kind.FLOAT:
        # -0.0 and not 0.0: adding it keeps the sign of a zero.
        number = {"add": -0.0, "mul": 1.0, "max": -math.inf, "min": math.inf}[op]
        if dtype.is_half:
            return integer_constant(half_bits(number, dtype), element)
        return float_constant(number, element)
    signed = dtype.kind is Kind.INT
    bits = 1 if dtype.kind is Kind.BOOL else dtype.bits
    least = -(1 << (bits - 1)) if signed else 0
    greatest = (1 << (bits - 1)) - 1 if signed else -1
    number = {"add": 0, "mul": 1, "or": 0, "xor": 0, "and": -1, "max": least, "min": greatest}[op]
    constant = integer_constant(number, element)
    if element == "i1":
        return Value("true" if number else "false", "i1", 0, abs(number))
    return constant


def reduced(w: Writer, op: str, value: Value, lanes: int, dtype: DType) -> Value:
    """Return `value` with each group of neighbouring lanes combined, so that `lanes` are left.

    Args:
        w: where it is written.
        op: add, mul, max, min, and, or, xor.
        value: a vector, its lanes a multiple of `lanes`.
        lanes: number of lanes of the result; 0 for a scalar.
        dtype: what the lanes are.
    """
    if not lanes and (dtype.kind is not Kind.FLOAT or (op in ("add", "mul") and not dtype.is_half)):
        return _reduced_by_intrinsic(w, op, value, dtype)
    groups = max(lanes, 1)
    width = value.lanes // groups
    while width > 1:
        if width % 2:
            parts = [_strided(w, value, offset, width, groups) for offset in range(width)]
            value = parts[0]
            for part in parts[1:]:
                value = _combined(w, op, value, part, dtype)
            width = 1
        else:
            width //= 2
            low = [g * 2 * width + i for g in range(groups) for i in range(width)]
            high = [i + width for i in low]
            value = _combined(w, op, w.shuffle(value, low), w.shuffle(value, high), dtype)
    return value if lanes else w.lane(value, 0)


def _strided(w: Writer, value: Value, offset: int, width: int, groups: int) -> Value:
    return w.shuffle(value, [g * width + offset for g in range(groups)])


def _combined(w: Writer, op: str, a: Operand, b: Operand, dtype: DType) -> Value:
    return w.value(arithmetic.apply(w, op, (a, b), dtype, dtype))


def _reduced_by_intrinsic(w: Writer, op: str, value: Value, dtype: DType) -> Value:
    suffix = mangled(value.element, value.lanes)
    if dtype.kind is Kind.FLOAT:
        # In order where rounding must be that of a plain loop, else as a tree.
        flags = "reassoc" if w.reassociate else ""
        start = identity(op, dtype)
        name = f"llvm.vector.reduce.f{op}.{suffix}"
        return w.call(name, value.element, 0, (start, value), flags)
    if op in ("max", "min"):
        op = ("s" if dtype.kind is Kind.INT else "u") + op
    return w.call(f"llvm.vector.reduce.{op}.{suffix}", value.element, 0, (value,))
