"""Powers of floats.

|x|**y = exp(y log |x|) with log |x| in two numbers (some 65 digits for double precision), so that
nothing is lost in the product: the series of 2 atanh as in `vector_math_log`, its first two terms
in double-double arithmetic (T. J. Dekker, Numer. Math. 18, 1971). Single precision computes in
double, where a plain logarithm is enough.
"""

from __future__ import annotations

import math

from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.vector_math_exp import clamped, exp, reduced_pair, scaled
from smelt.codegen.llvm.vector_math_log import decomposed, log
from smelt.codegen.llvm.vector_math_number import (
    Number,
    exact_product,
    exact_sum,
    fma,
    polynomial,
)


def power(x: Number, y: Number) -> Number:
    """Return x to the power y; special values as C's pow."""
    if x.double:
        magnitude = _power_of_magnitude(abs(x), y)
    else:
        wide_x, wide_y = (v.convert("fpext", "double") for v in (abs(x), y))
        product = wide_y * log(wide_x)
        magnitude = exp(product).convert("fptrunc", "float")
    size = abs(y)
    whole = y.rounded("trunc").equals(y)
    # Above 2**53 (2**24) every number is even, infinity included.
    half = y * 0.5
    odd = whole & half.rounded("trunc").differs(half) & (size < (2.0**53 if x.double else 2.0**24))
    negative = x.constant(1.0).copysign(x) < 0.0
    result = (negative & odd).where(-magnitude, magnitude)
    undefined = (x < 0.0) & (x > -math.inf) & ~whole
    result = undefined.where(x.constant(math.nan), result)
    result = (abs(x).equals(1.0) & size.equals(math.inf)).where(1.0, result)
    return (y.equals(0.0) | x.equals(1.0)).where(1.0, result)


def _power_of_magnitude(a: Number, y: Number) -> Number:
    """Return a**y for a >= 0 in double precision."""
    high, low = _logarithm(a)
    product, rest = exact_product(high, y)
    rest = fma(low, y, rest)
    # Where the product is far beyond the range, its parts may be NaN.
    bounded = clamped(product, -1500.0, 1500.0)
    rest = product.equals(bounded).where(rest, 0.0)
    r, tail, n = reduced_pair(bounded, rest)
    series = r * r * polynomial(r, c.EXP_DOUBLE)
    regular = scaled(1.0 + (r + (series + fma(tail, r, tail))), n)
    regular = (bounded < -746.0).where(0.0, (bounded > 710.0).where(math.inf, regular))
    # 0 and infinity have no logarithm: their powers follow from the sign of y.
    edge = a.equals(0.0).where(-y, y)
    special = a.equals(0.0) | a.equals(math.inf)
    limits = (edge > 0.0).where(a.constant(math.inf), a.constant(0.0))
    limits = y.is_nan().where(y, limits)
    result = special.where(limits, regular)
    return a.is_nan().where(a, result)


def _logarithm(a: Number) -> tuple[Number, Number]:
    """Return log(a) in two numbers."""
    f, e = decomposed(a)
    # s = f / (2 + f), its divisor in two parts.
    divisor, rest = exact_sum(f.constant(2.0), f)
    s = f / divisor
    product, error = exact_product(s, divisor)
    s_low = (((f - product) - error) - s * rest) / divisor
    z, z_low = exact_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    # log(1 + f) = 2s + s z (2/3 + z R(z))
    third = c.THIRD_DOUBLE
    tail = z * polynomial(z, c.LOG_TAIL_DOUBLE)
    inner, inner_low = exact_sum(z.constant(third[0]), tail)
    inner_low = inner_low + third[1]
    t, t_low = exact_product(z, inner)
    t_low = fma(z, inner_low, fma(z_low, inner, t_low))
    u, u_low = exact_product(s, t)
    u_low = fma(s, t_low, fma(s_low, t, u_low))
    high, low = exact_sum(s + s, u)
    low = low + (u_low + (s_low + s_low))
    ln2 = c.LN2_DOUBLE
    main = e * ln2[0]
    total, below = exact_sum_any(main, high)
    below = below + (fma(e, ln2[1], low))
    return exact_sum(total, below)


def exact_sum_any(a: Number, b: Number) -> tuple[Number, Number]:
    """Return the rounded sum and what rounding took away, for any two (D. E. Knuth, TAOCP 2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
