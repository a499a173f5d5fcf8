"""Exponentials and what is made of them: exp, expm1, exp2, sinh, cosh, tanh.

x = n ln 2 + r with |r| <= ln 2 / 2 in two parts of ln 2 (W. J. Cody and W. Waite, "Software Manual
for the Elementary Functions", 1980), a polynomial in r, and 2**n put into the exponent by integer
arithmetic, in two factors so that denormal results are right. n comes from adding 1.5 * 2**23
(2**52), whose last digits then are n.
"""

from __future__ import annotations

from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.values import mangled
from smelt.codegen.llvm.vector_math_number import Number, fma, polynomial, table


def split(x: Number, factor: float) -> tuple[Number, Number]:
    """Return round(x * factor) as a float and as an integer; |x * factor| < 2**21."""
    magic = 1.5 * 2.0**52 if x.double else 1.5 * 2.0**23
    shifted = fma(x, factor, magic)
    whole = shifted - magic
    integer = shifted.bits() - x.constant(magic).bits()
    return whole, integer


def power_of_two(like: Number, exponent: Number) -> Number:
    """Return 2**exponent, of the type of `like`, for an integer in the range of its exponents."""
    bias, digits = (1023, 52) if like.double else (127, 23)
    return ((exponent + bias) << digits).as_float()


def scaled(x: Number, exponent: Number) -> Number:
    """Return x * 2**exponent, rounded once, for |exponent| up to twice the range."""
    if x.w.module.target.has("avx512f"):
        # One instruction there, and a call of the C library nearly everywhere else.
        power = x.w.resize(exponent.value, "i32", signed=True)
        lanes = x.value.lanes
        name = f"llvm.ldexp.{mangled(x.value.element, lanes)}.{mangled('i32', lanes)}"
        return x.of(x.w.call(name, x.value.element, lanes, (x.value, power)))
    half = exponent >> 1
    return x * power_of_two(x, half) * power_of_two(x, exponent - half)


def reduced(x: Number) -> tuple[Number, Number]:
    """Return r and n with x = n ln 2 + r."""
    whole, n = split(x, c.LOG2_E_DOUBLE[0])
    high, low = table(x, c.LN2_FLOAT, c.LN2_DOUBLE)
    return fma(whole, -low, fma(whole, -high, x)), n


def reduced_pair(x: Number, rest: Number) -> tuple[Number, Number, Number]:
    """Return r, its tail, and n with x + rest = n ln 2 + r + tail; |rest| is small."""
    whole, n = split(x, c.LOG2_E_DOUBLE[0])
    high, low = table(x, c.LN2_FLOAT, c.LN2_DOUBLE)
    first = x - whole * high
    second = rest - whole * low
    r = first + second
    return r, second - (r - first), n


def clamped(x: Number, low: float, high: float) -> Number:
    """Return x between two limits; NaN stays."""
    x = (x > high).where(high, x)
    return (x < low).where(low, x)


def _tail(r: Number) -> Number:
    """Return exp(r) - 1 - r."""
    return r * r * polynomial(r, table(r, c.EXP_FLOAT, c.EXP_DOUBLE))


def exp(x: Number, scale: int = 0) -> Number:
    """Return e**x * 2**scale."""
    x = clamped(x, -746.0, 711.0) if x.double else clamped(x, -105.0, 90.0)
    r, n = reduced(x)
    return scaled(1.0 + (r + _tail(r)), n + scale if scale else n)


def exp2(x: Number) -> Number:
    """Return 2**x."""
    x = clamped(x, -1080.0, 1025.0) if x.double else clamped(x, -155.0, 129.0)
    whole, n = split(x, 1.0)
    r = x - whole
    return scaled(fma(r, polynomial(r, table(r, c.EXP2_FLOAT, c.EXP2_DOUBLE)), 1.0), n)


def expm1(x: Number) -> Number:
    """Return e**x - 1: 2 * (2**(n-1) * (exp(r) - 1) + (2**(n-1) - 1/2))."""
    bounded = clamped(x, -60.0, 710.0) if x.double else clamped(x, -30.0, 89.0)
    r, n = reduced(bounded)
    less = r + _tail(r)
    power = power_of_two(x, n - 1)
    result = fma(power, less, power - 0.5) * 2.0
    tiny = abs(x) < (2.0**-54 if x.double else 2.0**-25)
    return tiny.where(x, result)


def cosh(x: Number) -> Number:
    """Return (e**x + e**-x) / 2, from e**|x| / 2, which does not overflow too early."""
    half = exp(abs(x), -1)
    return half + 0.25 / half


def sinh(x: Number) -> Number:
    """Return (e**x - e**-x) / 2; by a polynomial where the two nearly cancel."""
    magnitude = abs(x)
    half = exp(magnitude, -1)
    z = x * x
    near = fma(z * x, polynomial(z, table(x, c.SINH_FLOAT, c.SINH_DOUBLE)), x)
    return (magnitude < 1.0).where(near, (half - 0.25 / half).copysign(x))


def tanh(x: Number) -> Number:
    """Return 1 - 2 / (e**2|x| + 1) with the sign of x; by a polynomial near 0."""
    magnitude = abs(x)
    z = x * x
    near = fma(z * x, polynomial(z, table(x, c.TANH_FLOAT, c.TANH_DOUBLE)), x)
    # Beyond this bound the result rounds to 1, and no power overflows.
    bounded = clamped(magnitude, 0.0, 20.0)
    far = 1.0 - 2.0 / (exp(bounded + bounded) + 1.0)
    return (magnitude < 0.625).where(near, far).copysign(x)
