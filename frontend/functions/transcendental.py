"""Exponentials, logarithms, trigonometric and hyperbolic functions, the error function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from smelt.dispatch import cast
from smelt.functions import arithmetic, operands
from smelt.functions.operands import Operand, binary, float_unary, op
from smelt.ir.dtypes import Kind

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def exp(input: Tensor) -> Tensor:
    """Return e to the power of each element."""
    return float_unary(op("exp"), "exp", input)


def expm1(input: Tensor) -> Tensor:
    """Return exp(input) - 1, accurate near 0."""
    return float_unary(op("expm1"), "expm1", input)


def exp2(input: Tensor) -> Tensor:
    """Return 2 to the power of each element."""
    return float_unary(op("exp2"), "exp2", input)


def log(input: Tensor) -> Tensor:
    """Return the natural logarithm."""
    return float_unary(op("log"), "log", input)


def log2(input: Tensor) -> Tensor:
    """Return the base-2 logarithm."""
    return float_unary(op("log2"), "log2", input)


def log10(input: Tensor) -> Tensor:
    """Return the base-10 logarithm."""
    return float_unary(op("log10"), "log10", input)


def log1p(input: Tensor) -> Tensor:
    """Return log(1 + input), accurate near 0."""
    return float_unary(op("log1p"), "log1p", input)


def sin(input: Tensor) -> Tensor:
    """Return the sine of radians."""
    return float_unary(op("sin"), "sin", input)


def cos(input: Tensor) -> Tensor:
    """Return the cosine of radians."""
    return float_unary(op("cos"), "cos", input)


def tan(input: Tensor) -> Tensor:
    """Return the tangent of radians."""
    return float_unary(op("tan"), "tan", input)


def asin(input: Tensor) -> Tensor:
    """Return the arc sine."""
    return float_unary(op("asin"), "asin", input)


def acos(input: Tensor) -> Tensor:
    """Return the arc cosine."""
    return float_unary(op("acos"), "acos", input)


def atan(input: Tensor) -> Tensor:
    """Return the arc tangent."""
    return float_unary(op("atan"), "atan", input)


def sinh(input: Tensor) -> Tensor:
    """Return the hyperbolic sine."""
    return float_unary(op("sinh"), "sinh", input)


def cosh(input: Tensor) -> Tensor:
    """Return the hyperbolic cosine."""
    return float_unary(op("cosh"), "cosh", input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return float_unary(op("tanh"), "tanh", input)


def asinh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine."""
    return float_unary(op("asinh"), "asinh", input)


def acosh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic cosine."""
    return float_unary(op("acosh"), "acosh", input)


def atanh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic tangent."""
    return float_unary(op("atanh"), "atanh", input)


def erf(input: Tensor) -> Tensor:
    """Return the error function."""
    return float_unary(op("erf"), "erf", input)


def erfc(input: Tensor) -> Tensor:
    """Return 1 - erf(input), accurate where erf is near 1."""
    return float_unary(op("erfc"), "erfc", input)


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return float_unary(op("sigmoid"), "sigmoid", input)


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Return the angle of the point (other, input), in radians."""
    return binary(op("atan2"), "atan2", input, other, operands.float_dtype(input, other))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """Return log(input / (1 - input)), with input limited to [eps, 1 - eps] if given."""
    dtype = operands.float_dtype(input)
    x = cast(input, dtype.accumulator)
    if eps is not None:
        x = arithmetic.clamp(x, eps, 1 - eps)
    return cast(log(arithmetic.div(x, arithmetic.rsub(x, 1))), dtype)


def xlogy(input: Operand, other: Operand) -> Tensor:
    """Return input * log(other), 0 where input is 0 and other is not NaN."""
    dtype = operands.float_dtype(input, other)
    x, y = operands.meet("xlogy", (input, other), dtype.accumulator)
    product = arithmetic.mul(x, log(y))
    zero = binary(op("eq"), "xlogy", x, 0)
    known = binary(op("eq"), "xlogy", y, y)
    both = binary(op("bitwise_and"), "xlogy", zero, known)
    return cast(arithmetic.where_tensor(both, operands.to_tensor(0.0, x.dtype), product), dtype)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """Return log(exp(input) + exp(other)) without overflow."""
    dtype = operands.float_dtype(input, other)
    a, b = operands.meet("logaddexp", (input, other), dtype.accumulator)
    high = arithmetic.maximum(a, b)
    gap = arithmetic.neg(arithmetic.abs(arithmetic.sub(a, b)))
    apart = arithmetic.add(high, log1p(exp(gap)))
    # Equal infinities have no difference.
    equal = binary(op("eq"), "logaddexp", a, b)
    return cast(arithmetic.where_tensor(equal, arithmetic.add(a, math.log(2.0)), apart), dtype)


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """Return log2(2**input + 2**other) without overflow."""
    dtype = operands.float_dtype(input, other)
    a, b = operands.meet("logaddexp2", (input, other), dtype.accumulator)
    scaled = logaddexp(arithmetic.mul(a, math.log(2.0)), arithmetic.mul(b, math.log(2.0)))
    return cast(arithmetic.div(scaled, math.log(2.0)), dtype)


def deg2rad(input: Tensor) -> Tensor:
    """Return degrees as radians."""
    return arithmetic.mul(input, math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Return radians as degrees."""
    return arithmetic.mul(input, 180 / math.pi)


def sinc(input: Tensor) -> Tensor:
    """Return sin(πx) / (πx), 1 at 0."""
    dtype = operands.float_dtype(input)
    angle = arithmetic.mul(cast(input, dtype.accumulator), math.pi)
    zero = binary(op("eq"), "sinc", angle, 0)
    safe = arithmetic.where_tensor(zero, operands.to_tensor(1.0, angle.dtype), angle)
    one = operands.to_tensor(1.0, angle.dtype)
    return cast(arithmetic.where_tensor(zero, one, arithmetic.div(sin(safe), safe)), dtype)


def nan_to_num(
    input: Tensor,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """Return input with NaN and infinities replaced; by the dtype's extremes unless given."""
    if input.dtype.kind is not Kind.FLOAT:
        return input.clone()
    from smelt.limits import finfo

    limits = finfo(input.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    known = binary(op("eq"), "nan_to_num", input, input)
    result = arithmetic.where_number(known, input, nan)
    is_high = binary(op("eq"), "nan_to_num", result, math.inf)
    is_low = binary(op("eq"), "nan_to_num", result, -math.inf)
    result = arithmetic.where_tensor(is_high, operands.to_tensor(high, input.dtype), result)
    return arithmetic.where_tensor(is_low, operands.to_tensor(low, input.dtype), result)
