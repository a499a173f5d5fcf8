"""The error function and its complement.

erf(x) / x by a polynomial near 0. Beyond, (1 + 2a) exp(a**2) erfc(a) by a polynomial in
(a - k) / (a + k): M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of
(1 + 2x) exp(x**2) erfc x in 0 <= x < inf", Math. Comp. 36 (1981).
"""

from __future__ import annotations

from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.vector_math_exp import exp
from smelt.codegen.llvm.vector_math_number import (
    Number,
    exact_product,
    exact_sum,
    fma,
    polynomial,
    table,
)


def erf(x: Number) -> Number:
    """Return the error function."""
    a = abs(x)
    far = (1.0 - _complement(a)).copysign(x)
    return (a < 0.85).where(_near(x), far)


def erfc(x: Number) -> Number:
    """Return 1 - erf(x), right where that is tiny."""
    a = abs(x)
    tail = _complement(a)
    far = (x < 0.0).where(2.0 - tail, tail)
    return (a < 0.5).where(1.0 - _near(x), far)


def _near(x: Number) -> Number:
    """Return erf(x) for |x| < 0.85."""
    z = x * x
    # erf(x) / x begins with 1.128…: adding the 1 last keeps a digit more of the rest.
    return fma(x, polynomial(z, table(x, c.ERF_FLOAT, c.ERF_DOUBLE)), x)


def _complement(a: Number) -> Number:
    """Return erfc(a) for a >= 0.49."""
    limit = 28.0 if a.double else 10.3
    a = (a > limit).where(limit, a)
    scale = c.ERFC_SCALE_DOUBLE[0] if a.double else c.ERFC_SCALE_FLOAT[0]
    t = (a - scale) / (a + scale)
    p = polynomial(t, table(a, c.ERFC_FLOAT, c.ERFC_DOUBLE))
    # exp(-a**2), with what rounding a**2 took away put back, and p / (1 + 2a) likewise.
    square, rest = exact_product(a, a)
    divisor, below = exact_sum(a + a, a.constant(1.0))
    quotient = p / divisor
    error = fma(-quotient, divisor, p) / divisor
    quotient_rest = error - quotient * (below / divisor)
    gauss = exp(-square)
    return gauss * (quotient + fma(quotient, -rest, quotient_rest))
