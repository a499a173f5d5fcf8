"""Comparisons, tests, logic and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.base import TensorBase
from smelt.dispatch import apply, cast
from smelt.functions import arithmetic, operands
from smelt.functions.operands import Operand, binary, op
from smelt.ir import dtypes
from smelt.ir.dtypes import Kind
from smelt.ir.errors import DTypeError

if TYPE_CHECKING:
    from smelt.tensor import Tensor

_EQ, _NE, _LT, _LE, _GT, _GE = op("eq"), op("ne"), op("lt"), op("le"), op("gt"), op("ge")


def eq(input: Operand, other: Operand) -> Tensor:
    """Return whether input == other, as bools."""
    return binary(_EQ, "eq", input, other)


def ne(input: Operand, other: Operand) -> Tensor:
    """Return whether input != other, as bools."""
    return binary(_NE, "ne", input, other)


def lt(input: Operand, other: Operand) -> Tensor:
    """Return whether input < other, as bools."""
    return binary(_LT, "lt", input, other)


def le(input: Operand, other: Operand) -> Tensor:
    """Return whether input <= other, as bools."""
    return binary(_LE, "le", input, other)


def gt(input: Operand, other: Operand) -> Tensor:
    """Return whether input > other, as bools."""
    return binary(_GT, "gt", input, other)


def ge(input: Operand, other: Operand) -> Tensor:
    """Return whether input >= other, as bools."""
    return binary(_GE, "ge", input, other)


def isnan(input: Tensor) -> Tensor:
    """Return whether each element is NaN."""
    return apply("isnan", (input,)) if input.dtype.kind is Kind.FLOAT else ne(input, input)


def isinf(input: Tensor) -> Tensor:
    """Return whether each element is infinite."""
    return apply("isinf", (input,)) if input.dtype.kind is Kind.FLOAT else ne(input, input)


def isfinite(input: Tensor) -> Tensor:
    """Return whether each element is neither NaN nor infinite."""
    return apply("isfinite", (input,)) if input.dtype.kind is Kind.FLOAT else eq(input, input)


def isposinf(input: Tensor) -> Tensor:
    """Return whether each element is positive infinity."""
    return eq(input, float("inf"))


def isneginf(input: Tensor) -> Tensor:
    """Return whether each element is negative infinity."""
    return eq(input, float("-inf"))


def signbit(input: Tensor) -> Tensor:
    """Return whether the sign bit of each element is set."""
    if input.dtype.kind is not Kind.FLOAT:
        return lt(input, 0)
    one = operands.to_tensor(1.0, input.dtype)
    signed = apply("copysign", operands.spread("signbit", one, input))
    return lt(signed, 0)


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return whether |input - other| <= atol + rtol * |other|, elementwise."""
    if input.dtype is not other.dtype:
        raise DTypeError(
            f"isclose: the operands differ in dtype: input is {input.dtype.torch_name}, "
            f"other is {other.dtype.torch_name}"
        )
    same = eq(input, other)
    if equal_nan:
        same = bitwise_or(same, bitwise_and(isnan(input), isnan(other)))
    x, y = (cast(t, dtypes.float64) if not t.dtype.is_floating_point else t for t in (input, other))
    gap = arithmetic.abs(arithmetic.sub(x, y))
    allowed = arithmetic.add(arithmetic.mul(arithmetic.abs(y), rtol), atol)
    near = bitwise_and(isfinite(gap), le(gap, allowed))
    return bitwise_or(same, near)


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Tell whether all elements are close: see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape and elements."""
    return input._sizes == other._sizes and bool(eq(input, other).all())


def where(
    condition: Tensor, input: Operand | None = None, other: Operand | None = None
) -> Tensor | tuple[Tensor, ...]:
    """Return input where the condition holds, else other; alone, the indices where it does."""
    operands.expect_tensor(condition, "where", "condition")
    if input is None and other is None:
        from smelt.functions.ordering import nonzero

        return nonzero(condition, as_tuple=True)
    if condition.dtype is not dtypes.bool_:
        raise DTypeError(
            f"where: the condition must be bool, but is {condition.dtype.torch_name}: "
            "compare it first"
        )
    dtype = operands.result_dtype(input, other)
    x, y = operands.to_tensor(input, dtype), operands.to_tensor(other, dtype)
    return arithmetic.where_tensor(condition, x, y)


def logical_not(input: Tensor) -> Tensor:
    """Return whether each element is zero."""
    return apply("bitwise_not", (cast(input, dtypes.bool_),))


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Return whether both elements are non-zero."""
    return binary(op("bitwise_and"), "logical_and", *_truths(input, other))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Return whether either element is non-zero."""
    return binary(op("bitwise_or"), "logical_or", *_truths(input, other))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Return whether exactly one of two elements is non-zero."""
    return binary(op("bitwise_xor"), "logical_xor", *_truths(input, other))


def bitwise_not(input: Tensor) -> Tensor:
    """Return the complement of the bits; of bools, the negation."""
    return apply("bitwise_not", (input,))


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """Return the conjunction of the bits."""
    return binary(op("bitwise_and"), "bitwise_and", input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """Return the disjunction of the bits."""
    return binary(op("bitwise_or"), "bitwise_or", input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """Return the exclusive disjunction of the bits."""
    return binary(op("bitwise_xor"), "bitwise_xor", input, other)


def bitwise_left_shift(input: Operand, other: Operand) -> Tensor:
    """Return input * 2**other by shifting bits."""
    return binary(op("shl"), "bitwise_left_shift", input, other)


def bitwise_right_shift(input: Operand, other: Operand) -> Tensor:
    """Return input / 2**other rounded down, by shifting bits."""
    return binary(op("shr"), "bitwise_right_shift", input, other)


def _truths(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    operands.expect_tensor(a, "logical", "input")
    if not isinstance(b, TensorBase):
        b = operands.to_tensor(b, dtypes.bool_)
    return cast(a, dtypes.bool_), cast(b, dtypes.bool_)
