"""The standard normal quantile of random words, in one fixed order of IEEE operations.

Source: Wichura, "Algorithm AS 241: The percentage points of the normal distribution", 1988:
PPND7 for float32, PPND16 for float64. Each function exists as a rule for graphs and on arrays;
both apply the same operations in the same order, so they give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.op import Operand, Rules

Array = Any
Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class _Precision:
    """The constants for one float type; polynomials are given lowest degree first.

    Attributes:
        dtype: the float type.
        integer: the integer type of its width.
        mantissa: number of stored bits of the significand.
        central: numerator and denominator for probabilities in [0.075, 0.925].
        middle: those for tails, where sqrt(-log p) <= 5.
        far: those for tails beyond, None where no word gets there.
        log_terms: how many terms of the series of log are kept.
    """

    dtype: DType
    integer: DType
    mantissa: int
    central: tuple[Coefficients, Coefficients]
    middle: tuple[Coefficients, Coefficients]
    far: tuple[Coefficients, Coefficients] | None
    log_terms: int

    @property
    def bits(self) -> int:
        """Width of a word."""
        return self.dtype.bits

    @property
    def bias(self) -> int:
        """Bias of the exponent."""
        return 2 ** (self.bits - self.mantissa - 2) - 1

    @property
    def log_series(self) -> Coefficients:
        """Coefficients of log((1 + s) / (1 - s)) / s in powers of s * s."""
        return tuple(2.0 / (2 * k + 1) for k in range(self.log_terms))


_SINGLE = _Precision(
    dtypes.float32,
    dtypes.int32,
    23,
    (
        (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
        (1.0, 17.895169469, 78.757757664, 67.187563600),
    ),
    (
        (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103),
        (1.0, 0.73700164250, 0.12021132975),
    ),
    None,
    5,
)

_DOUBLE = _Precision(
    dtypes.float64,
    dtypes.int64,
    52,
    (
        (
            3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427,
            13731.693765509461125, 45921.953931549871457, 67265.770927008700853,
            33430.575583588128105, 2509.0809287301226727,
        ),
        (
            1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
            21213.794301586595867, 39307.895800092710610, 28729.085735721942674,
            5226.4952788528545610,
        ),
    ),
    (
        (
            1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550,
            3.64784832476320460504, 1.27045825245236838258, 0.241780725177450611770,
            0.0227238449892691845833, 7.74545014278341407640e-4,
        ),
        (
            1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
            0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ),
    ),
    (
        (
            6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580,
            0.296560571828504891230, 0.0265321895265761230930, 1.24266094738807843860e-3,
            2.71155556874348757815e-5, 2.01033439929228813265e-7,
        ),
        (
            1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
            7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ),
    ),
    11,
)  # fmt: skip


def normal_quantile_rule(r: Rules, word: Operand) -> Operand:
    """Return standard normal numbers from random words, i32 giving f32 and i64 giving f64.

    The lowest bits give the distance from the nearer end of (0, 1), the sign bit gives the side.
    """
    p = _SINGLE if r.type(word).dtype is dtypes.int32 else _DOUBLE

    def polynomial(coefficients: Coefficients, x: Operand) -> Operand:
        total = r.full_like(x, coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = r.shift(r("mul", total, x), c)
        return total

    def ratio(pair: tuple[Coefficients, Coefficients], x: Operand) -> Operand:
        return r("div", polynomial(pair[0], x), polynomial(pair[1], x))

    magnitude = r("bitwise_and", word, r.full_like(word, 2 ** (p.bits - 1) - 1))
    tail = r.scale(r.shift(r.cast(magnitude, p.dtype), 0.5), 2.0**-p.bits)
    q = r("sub", r.full_like(tail, 0.5), tail)
    central = r("mul", q, ratio(p.central, r("sub", r.full_like(q, 0.180625), r("mul", q, q))))

    # log: tail = 2**exponent * m with m in [sqrt(1/2), sqrt(2)).
    bits = r("bitcast", tail, dtype=p.integer)
    start = r.full_like(bits, _log_offset(p))
    shifted = r("sub", bits, start)
    exponent = r("shr", shifted, r.full_like(bits, p.mantissa))
    scaled = r("sub", bits, r("shl", exponent, r.full_like(bits, p.mantissa)))
    m = r("bitcast", scaled, dtype=p.dtype)
    s = r("div", r.shift(m, -1.0), r.shift(m, 1.0))
    series = r("mul", s, polynomial(p.log_series, r("mul", s, s)))
    log = r("add", r.scale(r.cast(exponent, p.dtype), math.log(2.0)), series)

    depth = r("sqrt", r("neg", log))
    value = ratio(p.middle, r.shift(depth, -1.6))
    if p.far is not None:
        beyond = r("gt", depth, r.full_like(depth, 5.0))
        value = r("where", beyond, ratio(p.far, r.shift(depth, -5.0)), value)
    value = r("where", r("le", q, r.full_like(q, 0.425)), central, value)
    negative = r("lt", word, r.full_like(word, 0))
    return r("where", negative, r("neg", value), value)


def _log_offset(p: _Precision) -> int:
    """Return the bits of sqrt(1/2), from which on a number counts as 2**0 * m."""
    fraction = int((math.sqrt(0.5) * 2 - 1) * 2**p.mantissa)
    return ((p.bias - 1) << p.mantissa) + fraction


def normal_quantile(xp: Any, word: Array) -> Array:
    """Return what `normal_quantile_rule` gives, on arrays."""
    p = _SINGLE if word.dtype == xp.int32 else _DOUBLE
    number, integer = p.dtype.numpy.type, p.integer.numpy.type

    def polynomial(coefficients: Coefficients, x: Array) -> Array:
        total = x * number(coefficients[-1])
        total += number(coefficients[-2])
        for c in reversed(coefficients[:-2]):
            total *= x
            total += number(c)
        return total

    def ratio(pair: tuple[Coefficients, Coefficients], x: Array) -> Array:
        result = polynomial(pair[0], x)
        result /= polynomial(pair[1], x)
        return result

    tail = (word & integer(2 ** (p.bits - 1) - 1)).astype(p.dtype.numpy)
    tail += number(0.5)
    tail *= number(2.0**-p.bits)
    q = number(0.5) - tail
    central = ratio(p.central, number(0.180625) - q * q)
    central *= q

    bits = tail.view(p.integer.numpy)
    exponent = (bits - integer(_log_offset(p))) >> integer(p.mantissa)
    m = (bits - (exponent << integer(p.mantissa))).view(p.dtype.numpy)
    s = (m - number(1.0)) / (m + number(1.0))
    log = s * polynomial(p.log_series, s * s)
    log += exponent.astype(p.dtype.numpy) * number(math.log(2.0))

    depth = xp.sqrt(-log)
    value = ratio(p.middle, depth - number(1.6))
    if p.far is not None:
        beyond = depth > number(5.0)
        if beyond.any():
            value = xp.where(beyond, ratio(p.far, depth - number(5.0)), value)
    value = xp.where(q <= number(0.425), central, value)
    return xp.where(word < integer(0), -value, value)
