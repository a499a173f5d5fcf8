"""Logarithms and the inverse hyperbolic functions.

x = 2**e * (1 + f) with sqrt(0.5) <= 1 + f < sqrt(2), by integer arithmetic on the bits. Single
precision uses a polynomial in f; double precision the series of 2 atanh(s), s = f / (2 + f), in the
order of operations of K. C. Ng's log (FreeBSD msun, e_log.c): f - (h - s * (h + R)), h = f**2 / 2.
"""

from __future__ import annotations

import math

from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.vector_math_number import Number, fma, polynomial, table


def decomposed(x: Number) -> tuple[Number, Number]:
    """Return f and e, as floats, of a positive finite x."""
    least, lift, power = (2.0**-1022, 2.0**54, 54.0) if x.double else (2.0**-126, 2.0**25, 25.0)
    denormal = x < least
    x = denormal.where(x * lift, x)
    digits = 52 if x.double else 23
    # Taking away the bits of sqrt(0.5) leaves the exponent of the nearest power of two on top.
    distance = x.bits() - x.constant(math.sqrt(0.5)).bits()
    exponent = distance >> digits
    mantissa = (x.bits() - (exponent << digits)).as_float()
    e = exponent.convert("sitofp", x.value.element)
    return mantissa - 1.0, e - denormal.where(x.constant(power), 0.0)


def _special(x: Number, result: Number) -> Number:
    """Return `result`, but -inf at 0, inf at inf, NaN below 0 and at NaN."""
    result = (x.equals(0.0)).where(-math.inf, result)
    result = (x.equals(math.inf)).where(x, result)
    return (x >= 0.0).where(result, (x + x).is_nan().where(x, x.constant(math.nan)))


def _log_of_one_plus(f: Number) -> Number:
    """Return log(1 + f) for sqrt(0.5) <= 1 + f < sqrt(2)."""
    half = f * f * 0.5
    if not f.double:
        return f - (half - f * f * f * polynomial(f, c.LOG_FLOAT))
    s = f / (2.0 + f)
    z = s * s
    return f - (half - s * fma(z, polynomial(z, c.LOG_SERIES_DOUBLE), half))


def _with_exponent(f: Number, e: Number, correction: Number | None = None) -> Number:
    """Return e ln 2 + log(1 + f), plus a small correction."""
    high, low = table(f, c.LN2_FLOAT, c.LN2_DOUBLE)
    half = f * f * 0.5
    small = e * low if correction is None else fma(e, low, correction)
    if f.double:
        s = f / (2.0 + f)
        z = s * s
        rest = fma(s, fma(z, polynomial(z, c.LOG_SERIES_DOUBLE), half), small)
    else:
        rest = fma(f * f * f, polynomial(f, c.LOG_FLOAT), small)
    return fma(e, high, f - (half - rest))


def log(x: Number) -> Number:
    """Return the natural logarithm."""
    return _special(x, _with_exponent(*decomposed(x)))


def log2(x: Number) -> Number:
    """Return the logarithm to base 2, exact at powers of 2."""
    f, e = decomposed(x)
    return _special(x, fma(_log_of_one_plus(f), c.LOG2_E_DOUBLE[0], e))


def log10(x: Number) -> Number:
    """Return the logarithm to base 10."""
    f, e = decomposed(x)
    high, low = table(x, c.LOG10_2_FLOAT, c.LOG10_2_DOUBLE)
    return _special(x, fma(e, high, fma(_log_of_one_plus(f), c.LOG10_E_DOUBLE[0], e * low)))


def log1p(x: Number) -> Number:
    """Return log(1 + x): log of the rounded sum u, corrected by what rounding took away over u."""
    u = 1.0 + x
    # The lesser of the two is what lost digits.
    lost = (x > 1.0).where(1.0 - (u - x), x - (u - 1.0))
    f, e = decomposed(u)
    result = _special(u, _with_exponent(f, e, lost / u))
    tiny = abs(x) < (2.0**-54 if x.double else 2.0**-25)
    return tiny.where(x, result)


def asinh(x: Number) -> Number:
    """Return log1p(a + a**2 / (1 + sqrt(1 + a**2))) with the sign of x; log(2a) where a is huge."""
    a = abs(x)
    huge = a > (2.0**28 if x.double else 2.0**14)
    bounded = huge.where(1.0, a)
    square = bounded * bounded
    argument = bounded + square / (1.0 + (1.0 + square).sqrt())
    return _huge_or(huge, a, argument).copysign(x)


def acosh(x: Number) -> Number:
    """Return log1p(t + sqrt(2t + t**2)), t = x - 1; log(2x) where x is huge; NaN below 1."""
    huge = x > (2.0**28 if x.double else 2.0**14)
    t = huge.where(1.0, x) - 1.0
    argument = t + fma(t, t, t + t).sqrt()
    return (x < 1.0).where(x.constant(math.nan), _huge_or(huge, x, argument))


def _huge_or(huge: Number, x: Number, argument: Number) -> Number:
    """Return log(x) + ln 2 where x is huge, else log1p(argument): one logarithm serves both."""
    u = 1.0 + argument
    lost = (argument > 1.0).where(1.0 - (u - argument), argument - (u - 1.0))
    f, e = decomposed(huge.where(x, u))
    correction = huge.where(0.0, lost / u)
    one_more = e + huge.where(x.constant(1.0), 0.0)
    result = _special(huge.where(x, u), _with_exponent(f, one_more, correction))
    tiny = abs(argument) < (2.0**-54 if x.double else 2.0**-25)
    return (tiny & ~huge).where(argument, result)


def atanh(x: Number) -> Number:
    """Return log1p(2a / (1 - a)) / 2 with the sign of x; infinite at 1, NaN beyond."""
    a = abs(x)
    result = log1p((a + a) / (1.0 - a)) * 0.5
    result = (a > 1.0).where(x.constant(math.nan), result)
    tiny = a < (2.0**-28 if x.double else 2.0**-13)
    return tiny.where(x, result.copysign(x))
