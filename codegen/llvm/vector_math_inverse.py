"""The inverse trigonometric functions: atan, atan2, asin, acos.

The reductions are those of S. L. Moshier's Cephes library (atan.c, asin.c): arc tangents by
atan(a) = pi/4 + atan((a - 1) / (a + 1)) and pi/2 - atan(1/a), arc sines above one half by
pi/2 - 2 asin(sqrt((1 - a) / 2)).
"""

from __future__ import annotations

import math

from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.vector_math_number import Number, fma, polynomial, table

TAN_EIGHTH = math.sqrt(2.0) - 1.0
"""Tangent of pi / 8, up to which the polynomial holds."""


def _half_pi(x: Number) -> tuple[float, float]:
    high, low = table(x, c.WHOLE_HALF_PI_FLOAT, c.WHOLE_HALF_PI_DOUBLE)
    return high, low


def atan(x: Number) -> Number:
    """Return the arc tangent."""
    one = x.constant(1.0)
    return _angle(abs(x), one).copysign(x)


def _angle(y: Number, x: Number) -> Number:
    """Return the angle in [0, pi/2] of the point (x, y), both >= 0; finite or one infinite."""
    swapped = y > x
    less, more = swapped.where(x, y), swapped.where(y, x)
    large = less > more * TAN_EIGHTH
    # An infinite divisor gives the quotient 0; 0 / 0 cannot occur: the caller sees to it.
    t = large.where(less - more, less) / large.where(less + more, more)
    z = t * t
    series = z * polynomial(z, table(t, c.ATAN_FLOAT, c.ATAN_DOUBLE))
    high, low = _half_pi(t)
    base, rest = (large.where(t.constant(v / 2), 0.0) for v in (high, low))
    # pi/4 + series and its complement to pi/2, small terms first.
    small = fma(t, series, rest) + t
    angle = base + small
    complement = (high - base) - (small - low)
    return swapped.where(complement, angle)


def atan2(y: Number, x: Number) -> Number:
    """Return the angle of the point (x, y) in [-pi, pi]; signed zeros and infinities as in C."""
    a, b = abs(y), abs(x)
    infinite = a.equals(math.inf) & b.equals(math.inf)
    origin = a.equals(0.0) & b.equals(0.0)
    a = infinite.where(1.0, a)
    b = infinite.where(1.0, origin.where(1.0, b))
    # Sums must not overflow.
    huge = 2.0**1000 if x.double else 2.0**120
    factor = ((a > huge) | (b > huge)).where(x.constant(0.25), 1.0)
    angle = _angle(a * factor, b * factor)
    high, low = _half_pi(x)
    negative = x.constant(1.0).copysign(x) < 0.0
    angle = negative.where(2.0 * high - (angle - 2.0 * low), angle)
    result = angle.copysign(y)
    return (y.is_nan() | x.is_nan()).where(y + x, result)


def _half_angle(a: Number) -> tuple[Number, Number, Number]:
    """Return (near, v, s): asin(v) = v + v s; v is |x| up to one half, else sqrt((1 - |x|) / 2)."""
    near = a <= 0.5
    z = near.where(a * a, (1.0 - a) * 0.5)
    v = near.where(a, z.sqrt())
    return near, v, z * polynomial(z, table(a, c.ASIN_FLOAT, c.ASIN_DOUBLE))


def asin(x: Number) -> Number:
    """Return the arc sine; NaN beyond 1.

    Above one half, what the rounding of the square root took away is put back, and pi/4 is added
    last, as the terms nearly cancel (msun's e_asin.c).
    """
    a = abs(x)
    near, v, s = _half_angle(a)
    high, low = _half_pi(x)
    root = near.where(1.0, v)
    # At one the root is zero, and nothing is lost.
    lost = fma(-root, root, (1.0 - a) * 0.5) / (root <= 0.0).where(1.0, root + root)
    small = fma(root + root, s, (lost + lost) - low)
    rest = high / 2 - (root + root)
    far = high / 2 - (small - rest)
    return near.where(fma(v, s, v), far).copysign(x)


def acos(x: Number) -> Number:
    """Return the arc cosine; NaN beyond 1."""
    near, v, s = _half_angle(abs(x))
    high, low = _half_pi(x)
    value = fma(v, s, v)
    signed = value.copysign(x)
    middle = high - (signed - low)
    twice = value + value
    far = (x < 0.0).where(2.0 * high - (twice - 2.0 * low), twice)
    return near.where(middle, far)
