"""Arithmetic: sums, products, quotients, powers, rounding, clamping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.base import TensorBase
from smelt.dispatch import apply, cast
from smelt.functions import operands
from smelt.functions.operands import (
    Number,
    Operand,
    binary,
    common_dtype,
    float_unary,
    labelled,
    meet,
    op,
    unary,
)
from smelt.ir import dtypes, promotion
from smelt.ir.dtypes import Kind
from smelt.ir.errors import ArgumentError, DTypeError
from smelt.state import settings

if TYPE_CHECKING:
    from smelt.tensor import Tensor

_ADD, _SUB, _MUL, _DIV = op("add"), op("sub"), op("mul"), op("div")
_FLOORDIV, _TRUNCDIV, _MOD, _REM, _POW = (
    op("floordiv"),
    op("truncdiv"),
    op("mod"),
    op("rem"),
    op("pow"),
)
_MAXIMUM, _MINIMUM = op("maximum"), op("minimum")
_OR, _AND = op("bitwise_or"), op("bitwise_and")


def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """Return input + alpha * other; of bools, their disjunction."""
    if alpha != 1:
        other = _scaled(input, other, alpha, "add")
    dtype = common_dtype("add", input, other)
    return binary(_OR if dtype is dtypes.bool_ else _ADD, "add", input, other, dtype)


def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """Return input - alpha * other."""
    if alpha != 1:
        other = _scaled(input, other, alpha, "sub")
    dtype = common_dtype("sub", input, other)
    for x in (input, other):
        if isinstance(x, bool) or (isinstance(x, TensorBase) and x.dtype is dtypes.bool_):
            raise DTypeError("sub: bools have no difference; use ^ or logical_xor() instead of -")
    return binary(_SUB, "sub", input, other, dtype)


def rsub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """Return other - alpha * input."""
    return sub(other, input, alpha=alpha)


def mul(input: Operand, other: Operand) -> Tensor:
    """Return input * other; of bools, their conjunction."""
    dtype = common_dtype("mul", input, other)
    return binary(_AND if dtype is dtypes.bool_ else _MUL, "mul", input, other, dtype)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Return input / other, rounded towards zero ("trunc") or down ("floor") if asked."""
    dtype = common_dtype("div", input, other)
    if rounding_mode is None:
        return binary(
            _DIV, "div", input, other, promotion.float_type(dtype, settings.default_dtype)
        )
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ArgumentError(
            f"div: rounding_mode must be None, 'trunc' or 'floor', not {rounding_mode!r}"
        )
    if dtype.is_floating_point:
        return trunc(binary(_DIV, "div", input, other, dtype))
    return binary(_TRUNCDIV, "div", input, other, _numeric(dtype))


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """Return the quotient rounded down."""
    dtype = _numeric(common_dtype("floor_divide", input, other))
    return binary(_FLOORDIV, "floor_divide", input, other, dtype)


def remainder(input: Operand, other: Operand) -> Tensor:
    """Return the remainder with the sign of the divisor, as Python's %."""
    dtype = _numeric(common_dtype("remainder", input, other))
    return binary(_MOD, "remainder", input, other, dtype)


def fmod(input: Operand, other: Operand) -> Tensor:
    """Return the remainder with the sign of the dividend, as C's fmod."""
    dtype = _numeric(common_dtype("fmod", input, other))
    return binary(_REM, "fmod", input, other, dtype)


def pow(input: Operand, exponent: Operand) -> Tensor:
    """Return input to the power exponent.

    Raises:
        RuntimeError: an integer tensor meets a negative integer exponent.
    """
    dtype = _numeric(common_dtype("pow", input, exponent))
    if isinstance(input, TensorBase) and operands.is_number(exponent):
        value = operands.as_number(exponent)
        if dtype.is_integer and isinstance(value, int) and value < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if dtype.is_floating_point:
            match value:
                case 2:
                    return square(cast(input, dtype))  # type: ignore[arg-type]
                case 0.5:
                    return labelled(sqrt(cast(input, dtype)), "pow")  # type: ignore[arg-type]
    power = binary(_POW, "pow", input, exponent, dtype)
    return labelled(power, "pow@1" if isinstance(exponent, TensorBase) else "pow")


def float_power(input: Operand, exponent: Operand) -> Tensor:
    """Return input to the power exponent, in float64."""
    return binary(_POW, "float_power", input, exponent, dtypes.float64)


def neg(input: Tensor) -> Tensor:
    """Return -input."""
    operands.expect_tensor(input, "neg", "input")
    if input.dtype is dtypes.bool_:
        raise DTypeError("neg: a bool has no negative; use ~ or logical_not() instead of -")
    return apply("neg", (input,))


def positive(input: Tensor) -> Tensor:
    """Return input itself, which must not be bool."""
    if input.dtype is dtypes.bool_:
        raise DTypeError("positive: the unary + is not defined for bool tensors")
    return input


def abs(input: Tensor) -> Tensor:
    """Return |input|."""
    operands.expect_tensor(input, "abs", "input")
    return input if input.dtype is dtypes.bool_ else apply("abs", (input,))


def sign(input: Tensor) -> Tensor:
    """Return -1, 0 or 1 by the sign of each element."""
    operands.expect_tensor(input, "sign", "input")
    return input.clone() if input.dtype is dtypes.bool_ else apply("sign", (input,))


def floor(input: Tensor) -> Tensor:
    """Return each element rounded down."""
    return _rounded("floor", input)


def ceil(input: Tensor) -> Tensor:
    """Return each element rounded up."""
    return _rounded("ceil", input)


def trunc(input: Tensor) -> Tensor:
    """Return each element rounded towards zero."""
    return _rounded("trunc", input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return each element rounded to `decimals` places, ties to even."""
    if decimals == 0 or not input.dtype.is_floating_point:
        return _rounded("round", input)
    if decimals > 0:
        return div(_rounded("round", mul(input, 10.0**decimals)), 10.0**decimals)
    return mul(_rounded("round", div(input, 10.0**-decimals)), 10.0**-decimals)


def frac(input: Tensor) -> Tensor:
    """Return input - trunc(input)."""
    return sub(input, trunc(input))


def sqrt(input: Tensor) -> Tensor:
    """Return the square root."""
    return float_unary(op("sqrt"), "sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """Return 1 / sqrt(input)."""
    return float_unary(op("rsqrt"), "rsqrt", input)


def reciprocal(input: Tensor) -> Tensor:
    """Return 1 / input."""
    return float_unary(op("reciprocal"), "reciprocal", input)


def square(input: Tensor) -> Tensor:
    """Return input * input."""
    if input.dtype.kind is Kind.FLOAT:
        return unary(op("square"), "square", input)
    return mul(input, input)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the greater of two elements; NaN if either is."""
    operands.expect_tensor(other, "maximum", "other")
    return binary(_MAXIMUM, "maximum", input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the lesser of two elements; NaN if either is."""
    operands.expect_tensor(other, "minimum", "other")
    return binary(_MINIMUM, "minimum", input, other)


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return input limited to [min, max]; a bound that is None does not limit."""
    operands.expect_tensor(input, "clamp", "input")
    if min is None and max is None:
        raise ArgumentError("clamp: at least one of 'min' and 'max' must not be None")
    given = [bound for bound in (min, max) if bound is not None]
    dtype = operands.result_dtype(input, *given)
    if dtype.kind is Kind.FLOAT and all(operands.is_number(b) for b in given):
        clamped = op("clamp")
        low = None if min is None else float(min)
        high = None if max is None else float(max)
        found = apply(clamped, (cast(input, dtype),), clamped.attrs(low=low, high=high))
        return labelled(found, "clamp@1")
    result = cast(input, dtype)
    if min is not None:
        result = binary(_MAXIMUM, "clamp", result, min, dtype)
    if max is not None:
        result = binary(_MINIMUM, "clamp", result, max, dtype)
    return result


def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """Return input limited from below."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """Return input limited from above."""
    return clamp(input, max=max)


def relu(input: Tensor) -> Tensor:
    """Return the greater of the input and 0; NaN stays."""
    operands.expect_tensor(input, "relu", "input")
    return apply("relu", (input,))


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Return input + weight * (end - input)."""
    if operands.is_number(weight):
        dtype = operands.result_dtype(input, end)
        return apply("lerp", meet("lerp", (input, end, weight), dtype))
    return apply("lerp", meet("lerp", (input, end, weight), None))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return input + value * tensor1 * tensor2."""
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return input + value * tensor1 / tensor2."""
    return add(input, div(tensor1, tensor2), alpha=value)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """Return sqrt(input² + other²), scaled so that squares do not overflow."""
    dtype = operands.float_dtype(input, other)
    a, b = meet("hypot", (input, other), dtype.accumulator)
    a, b = abs(a), abs(b)
    high, low = maximum(a, b), minimum(a, b)
    nonzero = binary(op("gt"), "hypot", high, 0)
    ratio = where_number(nonzero, div(low, high), 0)
    bounded = mul(high, sqrt(add(square(ratio), 1)))
    result = where_tensor(binary(op("eq"), "hypot", high, float("inf")), high, bounded)
    return cast(result, dtype)


def where_number(condition: Tensor, x: Tensor, other: Number) -> Tensor:
    """Return x where the condition holds, else a number."""
    return where_tensor(condition, x, operands.to_tensor(other, x.dtype))


def where_tensor(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return x where the condition holds, else y, of one dtype."""
    return apply("where", operands.spread("where", condition, x, y))


def copysign(input: Tensor, other: Operand) -> Tensor:
    """Return |input| with the sign of other."""
    return binary(op("copysign"), "copysign", input, other, operands.float_dtype(input, other))


def _numeric(dtype: dtypes.DType) -> dtypes.DType:
    return dtypes.int64 if dtype is dtypes.bool_ else dtype


def _scaled(input: Operand, other: Operand, alpha: Number, function: str) -> Tensor | Number:
    dtype = operands.result_dtype(input, other)
    if isinstance(alpha, float) and not dtype.is_floating_point and not dtype.is_complex:
        raise DTypeError(
            f"{function}: for integer operands alpha must be an integer, not {alpha!r}"
        )
    if operands.is_number(other):
        return operands.as_number(other) * alpha
    return mul(cast(other, dtype), alpha)


def _rounded(name: str, input: Tensor) -> Tensor:
    operands.expect_tensor(input, name, "input")
    if input.dtype.is_integer:
        return input.clone()
    return apply(name, (input,))
