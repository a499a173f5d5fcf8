"""The exact meaning of every scalar operation, as functions over NumPy arrays and scalars.

The loop interpreter, constant folding and the references of elementwise ops all compute with this
one table, so `smelt.ir.scalar.SCALAR_OPS` has one definition in numbers:

    evaluate("add", x, y) -> array or scalar of the operands' dtype
    evaluate("cast", x, dtype=dtypes.int32)

What the one-line meanings there leave open is settled here:

- The half types compute in float32 and round once. Conversions to them go through float32.
- Integer arithmetic wraps; the least integer divided by -1 is itself. Division by zero has no
  meaning here (NumPy gives 0): whoever builds the expression checks the divisor first.
- Float `floordiv` and `mod` are NumPy's: `a == b * floordiv + mod`, and `mod` has b's sign.
- Float to integer truncates as x86 does: to i64 and u32 through i64, to i32 and the narrower types
  through i32, where NaN and what does not fit give the least value; then the low bits are kept.
  To u64 as to i64, but values from 2**63 on are right up to 2**64. To bool: not equal to zero.
- The sign of a zero that `max` or `min` gives for zeros of both signs is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind
from smelt.ir.special import erf_float32

Array = Any
"""A NumPy array or scalar."""

# NumPy's stubs cannot say that an array or a scalar comes back as one came in.
xp: Any = np


def evaluate(op: str, *values: Array, dtype: DType | None = None) -> Array:
    """Return the result of scalar operation `op` on arrays or scalars of equal dtypes.

    Args:
        op: name in `SCALAR_OPS`.
        values: its operands; arrays broadcast as in NumPy.
        dtype: result dtype of a conversion.
    """
    with np.errstate(all="ignore"):
        if dtype is not None and op in CONVERSIONS:
            return CONVERSIONS[op](values[0], dtype)
        if op in ROUNDED and _is_half(values[0]):
            wide = ROUNDED[op](*(v.astype(np.float32) for v in values))
            return wide.astype(values[0].dtype)
        return FUNCTIONS[op](*values)


def _is_half(value: Array) -> bool:
    return value.dtype in (dtypes.float16.numpy, dtypes.bfloat16.numpy)


def _unsigned(value: Array) -> Array:
    return value.view(np.dtype(f"u{value.dtype.itemsize}"))


def _pow(a: Array, b: Array) -> Array:
    # NumPy takes a square root where a lone exponent is 0.5, which differs from the power at -inf
    # and at -0.0; an exponent for each element takes the other path.
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    powers = xp.power(xp.atleast_1d(a), xp.array(xp.broadcast_to(b, shape), ndmin=1))
    return powers.reshape(shape)[()]


def _truncdiv(a: Array, b: Array) -> Array:
    quotient = xp.floor_divide(a, b)
    inexact = xp.not_equal(xp.multiply(quotient, b), a)
    return xp.where(
        inexact & (xp.less(a, 0) != xp.less(b, 0)), quotient + a.dtype.type(1), quotient
    )[()]


def _mulhi(a: Array, b: Array) -> Array:
    bits = 8 * a.dtype.itemsize
    if bits < 64:
        wide = np.int64 if a.dtype.kind == "i" else np.uint64
        product = xp.multiply(a.astype(wide), b.astype(wide))
        return xp.right_shift(product, wide(bits)).astype(a.dtype)
    if a.dtype.kind == "i":
        high = _mulhi(_unsigned(a), _unsigned(b)).view(np.int64)
        # A negative operand counts as 2**64 too much in the unsigned product.
        zero = np.int64(0)
        high = high - xp.where(xp.less(a, 0), b, zero) - xp.where(xp.less(b, 0), a, zero)
        return high[()]
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    carry = (middle & low) + a0 * b1
    return a1 * b1 + (middle >> half) + (carry >> half)


def _select(condition: Array, yes: Array, no: Array) -> Array:
    return xp.where(condition, yes, no)[()]


def cast(value: Array, dtype: DType) -> Array:
    """Return `value` converted to `dtype`; see the module's docstring for what does not fit."""
    source = dtypes.of_numpy(value.dtype)
    if source is dtype:
        return value
    if source.kind is Kind.FLOAT and dtype.is_integer:
        return _float_to_integer(value, dtype)
    if dtype.kind is Kind.BOOL:
        return xp.not_equal(value, source.numpy.type(0))
    if dtype.is_half and source is not dtypes.float32:
        return value.astype(np.float32).astype(dtype.numpy)
    return value.astype(dtype.numpy)


def _float_to_integer(value: Array, dtype: DType) -> Array:
    wide = xp.trunc(value.astype(np.float64))
    if dtype is dtypes.uint64:
        top = xp.greater_equal(wide, 2.0**63)
        lowered = _truncate(xp.where(top, wide - 2.0**63, wide), np.int64)
        return xp.where(top, lowered ^ np.int64(-(2**63)), lowered).view(np.uint64)[()]
    through = np.int64 if dtype in (dtypes.int64, dtypes.uint32) else np.int32
    return _truncate(wide, through).astype(dtype.numpy)


def _truncate(wide: Array, to: type[np.int32] | type[np.int64]) -> Array:
    """Return integral float64 values as `to`, whose least value stands for what does not fit."""
    low = float(np.iinfo(to).min)
    fits = xp.greater_equal(wide, low) & xp.less(wide, -low)
    return xp.where(fits, xp.where(fits, wide, 0.0).astype(to), np.iinfo(to).min).astype(to)[()]


def bitcast(value: Array, dtype: DType) -> Array:
    """Return the bits of `value` as a dtype of the same size."""
    return value.view(dtype.numpy)


# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969):
# erf on |x| <= 0.46875, erfc on (0.46875, 4], x * erfc on (4, inf); numerators and denominators
# from the highest power down.
_ERF_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_ERFC_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_ERFC_LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    top, bottom = coefficients
    return xp.polyval(top, x) / xp.polyval(bottom, x)


def _erf_pieces(x: Array) -> tuple[Array, Array]:
    """Return erf where |x| is small, and erfc of |x| elsewhere; both computed everywhere."""
    y = xp.abs(x)
    small = x * _ratio(_ERF_SMALL, xp.square(xp.minimum(y, 0.5)))
    # exp(-y²) with y split, so that the rounding of y² is not magnified.
    clipped = xp.minimum(y, 30.0)
    coarse = xp.trunc(clipped * 16.0) / 16.0
    gauss = xp.exp(-coarse * coarse) * xp.exp(-(clipped - coarse) * (clipped + coarse))
    middle = _ratio(_ERFC_MIDDLE, xp.minimum(y, 4.0))
    z = 1.0 / xp.square(xp.maximum(clipped, 4.0))
    large = (0.56418958354775628695 - z * _ratio(_ERFC_LARGE, z)) / xp.maximum(clipped, 4.0)
    return small, gauss * xp.where(y <= 4.0, middle, large)


def _erf(a: Array) -> Array:
    if a.dtype == np.float32:
        return erf_float32(a)[()]
    x = a.astype(np.float64)
    small, tail = _erf_pieces(x)
    result = xp.where(xp.abs(x) <= 0.46875, small, xp.copysign(1.0 - tail, x))
    return xp.where(xp.isnan(x), x, result).astype(a.dtype)[()]


def _erfc(a: Array) -> Array:
    x = a.astype(np.float64)
    small, tail = _erf_pieces(x)
    result = xp.where(xp.abs(x) <= 0.46875, 1.0 - small, xp.where(x < 0, 2.0 - tail, tail))
    return xp.where(xp.isnan(x), x, result).astype(a.dtype)[()]


ROUNDED: Mapping[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "floordiv": np.floor_divide, "mod": np.mod, "rem": np.fmod, "pow": _pow,
    "atan2": np.arctan2, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round": np.rint, "sign": np.sign, "exp": np.exp, "expm1": np.expm1, "exp2": np.exp2,
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "erf": _erf, "erfc": _erfc,
}  # fmt: skip
"""Operations whose result in a half type is the float32 result, rounded."""

FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    **ROUNDED,
    "truncdiv": _truncdiv, "max": np.maximum, "min": np.minimum, "mulhi": _mulhi,
    "neg": np.negative, "abs": np.abs, "copysign": np.copysign, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert, "shl": np.left_shift,
    "shr": np.right_shift, "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "isnan": np.isnan,
    "isfinite": np.isfinite, "select": _select,
}  # fmt: skip
"""Every operation but the conversions, on operands that are not of a half type."""

CONVERSIONS: Mapping[str, Callable[[Array, DType], Array]] = {"cast": cast, "bitcast": bitcast}
"""Operations that take the result's dtype."""
