"""Floating-point operations of `SCALAR_OPS` on LLVM values of `float` and `double`.

No operation becomes a call outside the module: what the target has no instruction for (rounding
below SSE4.1, remainders anywhere) is written out. NaN is passed on by `max` and `min`.
"""

from __future__ import annotations

import math

from smelt.codegen.llvm import library
from smelt.codegen.llvm.values import (
    Value,
    bits_of,
    float_constant,
    integer_constant,
)
from smelt.codegen.llvm.writer import Writer


def constant(value: float, like: Value) -> Value:
    """Return a constant of the type of `like`."""
    return float_constant(value, like.element)


def extreme(w: Writer, a: Value, b: Value, *, greatest: bool) -> Value:
    """Return the greater or the lesser of two; NaN if either is."""
    x, y = w.matched(a, b)
    # The hardware's max and min give the second operand where either is NaN.
    chosen = w.select(w.compare("ogt" if greatest else "olt", x, y), x, y)
    return w.select(w.compare("uno", x, x), x, chosen)


def absolute(w: Writer, a: Value) -> Value:
    """Return |a|."""
    return w.intrinsic("fabs", a)


def negated(w: Writer, a: Value) -> Value:
    """Return -a."""
    return w.emit(f"fneg {a.typed}", a.element, a.lanes, "neg")


def copysign(w: Writer, a: Value, b: Value) -> Value:
    """Return |a| with the sign bit of b."""
    return w.intrinsic("copysign", a, b)


def sign(w: Writer, a: Value) -> Value:
    """Return -1, 0 or 1; NaN where a is."""
    zero = constant(0.0, a)
    one = copysign(w, w.spread(constant(1.0, a), a.lanes), a)
    signed = w.select(w.compare("one", a, zero), one, w.binary("fadd", a, a))
    return w.select(w.compare("oeq", a, zero), zero, signed)


def sqrt(w: Writer, a: Value) -> Value:
    """Return the square root, correctly rounded."""
    return w.intrinsic("sqrt", a)


def isnan(w: Writer, a: Value) -> Value:
    """Return whether a is NaN."""
    return w.compare("uno", a, a)


def isfinite(w: Writer, a: Value) -> Value:
    """Return whether a is neither infinite nor NaN."""
    return w.compare("olt", absolute(w, a), constant(math.inf, a))


ROUNDINGS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "roundeven"}


def rounded(w: Writer, op: str, a: Value) -> Value:
    """Return a rounded to an integer: floor, ceil, trunc, or round (to nearest, ties to even)."""
    if has_rounding(w):
        return w.intrinsic(ROUNDINGS[op], a)
    return library.call(w, op, (a,), lambda inner, x: _rounded(inner, op, x))


def has_rounding(w: Writer) -> bool:
    """Tell whether the machine has instructions that round to integers."""
    target = w.module.target
    return not target.triple.startswith(("x86_64", "i686")) or target.has("sse4.1")


def _rounded(w: Writer, op: str, x: Value) -> Value:
    # Adding and subtracting 2**23 (2**52) rounds to nearest even; what is greater is integral.
    magic = constant(2.0**23 if x.element == "float" else 2.0**52, x)
    magnitude = absolute(w, x)
    nearest = w.binary("fsub", w.binary("fadd", magnitude, magic), magic)
    one, zero = constant(1.0, x), constant(0.0, x)
    if op != "round":
        signed = copysign(w, nearest, x)
        if op == "trunc":
            excess = w.select(w.compare("ogt", nearest, magnitude), one, zero)
            nearest = w.binary("fsub", nearest, excess)
        elif op == "floor":
            excess = w.select(w.compare("ogt", signed, x), one, zero)
            nearest = w.binary("fsub", signed, excess)
        else:
            excess = w.select(w.compare("olt", signed, x), one, zero)
            nearest = w.binary("fadd", signed, excess)
    result = copysign(w, nearest, x)
    return w.select(w.compare("olt", magnitude, magic), result, w.binary("fadd", x, zero_like(x)))


def zero_like(x: Value) -> Value:
    """Return -0.0, which changes nothing when it is added."""
    return constant(-0.0, x)


def has_fma(w: Writer) -> bool:
    """Tell whether the machine has a fused multiply-add."""
    target = w.module.target
    return not target.triple.startswith(("x86_64", "i686")) or target.has("fma")


def exact_product(w: Writer, a: Value, b: Value) -> tuple[Value, Value]:
    """Return (p, e) with p + e = a * b exactly, barring overflow.

    Without a fused multiply-add by splitting the factors: T. J. Dekker, "A floating-point technique
    for extending the available precision", Numer. Math. 18 (1971).
    """
    a, b = w.matched(a, b)
    product = w.binary("fmul", a, b)
    if has_fma(w):
        return product, w.intrinsic("fma", a, b, negated(w, product))
    (a1, a2), (b1, b2) = _split(w, a), _split(w, b)
    error = w.binary("fsub", w.binary("fmul", a1, b1), product)
    for left, right in ((a1, b2), (a2, b1), (a2, b2)):
        error = w.binary("fadd", error, w.binary("fmul", left, right))
    return product, error


def _split(w: Writer, a: Value) -> tuple[Value, Value]:
    """Return the upper half of the digits of a, cut off, and the rest."""
    integer = f"i{bits_of(a.element)}"
    low = 12 if a.element == "float" else 27
    mask = integer_constant(-(1 << low), integer)
    upper = bitcast(w, w.binary("and", bitcast(w, a, integer), mask), a.element)
    return upper, w.binary("fsub", a, upper)


def bitcast(w: Writer, a: Value, element: str) -> Value:
    """Return the bits of a as another type of the same size."""
    return w.convert("bitcast", a, element)


def remainder(w: Writer, a: Value, b: Value) -> Value:
    """Return the exact remainder of a / b with the sign of a, as C's fmod."""
    return library.call(w, "fmod", (a, b), _remainder)


def _remainder(w: Writer, a: Value, b: Value) -> Value:
    """Subtract multiples of b, 24 digits of the quotient at a time.

    With B = b * 2**k chosen so that r / B < 2**25, the truncated quotient q is at most one too
    great, and r - q * B is exact, as all three are multiples of the last digit of b. A vector goes
    on until its last lane is done, nearly always after one round.
    """
    inf, zero, one = constant(math.inf, a), constant(0.0, a), constant(1.0, a)
    x, y = absolute(w, a), absolute(w, b)
    finite = w.compare("olt", x, inf)
    divisible = w.binary("and", w.compare("olt", y, inf), w.compare("ogt", y, zero))
    usable = w.binary("and", finite, divisible)
    first, divisor = w.select(usable, x, zero), w.select(usable, y, one)
    if a.element == "float":
        wide = (w.convert("fpext", v, "double") for v in (first, divisor))
        left = w.convert("fptrunc", _reduced(w, *wide), "float")
    else:
        left = _reduced(w, first, divisor)
    whole = w.binary("and", finite, w.compare("oeq", y, inf))
    result = copysign(w, w.select(whole, x, left), a)
    return w.select(w.binary("or", usable, whole), result, constant(math.nan, a))


def _reduced(w: Writer, first: Value, divisor: Value) -> Value:
    """Return the remainder of finite doubles >= 0 and > 0."""
    zero = constant(0.0, first)
    r = Value("%r", first.element, first.lanes)
    w.jump("more")
    w.label("more")
    top = len(w.lines)
    step = _scaled_divisor(w, r, divisor)
    quotient = rounded(w, "trunc", w.fdiv(r, step))
    product, error = exact_product(w, quotient, step)
    left = w.binary("fsub", w.binary("fsub", r, product), error)
    left = w.select(w.compare("olt", left, zero), w.binary("fadd", left, step), left)
    left = w.select(w.compare("oge", left, step), w.binary("fsub", left, step), left)
    w.lines.insert(top, f"  %r = phi {r.type} [ {first.text}, %entry ], [ {left.text}, %more ]")
    w.branch(w.any_lane(w.compare("oge", left, divisor)), "more", "done")
    w.label("done")
    return left


def _scaled_divisor(w: Writer, r: Value, divisor: Value) -> Value:
    """Return divisor * 2**k with k >= 0 such that r is below 2**25 (or 2**30) times it."""
    distance = w.binary("sub", _exponent(w, r), _exponent(w, divisor))
    up = w.binary("sub", distance, integer_constant(23))
    up = w.intrinsic("smin", up, integer_constant(2044))
    up = w.intrinsic("smax", up, integer_constant(0))
    # 2**k itself may be too large: two factors.
    half = w.binary("lshr", up, integer_constant(1))
    scaled = w.binary("fmul", divisor, power_of_two(w, half, "double"))
    return w.binary("fmul", scaled, power_of_two(w, w.binary("sub", up, half), "double"))


def _exponent(w: Writer, x: Value) -> Value:
    """Return the binary exponent of a positive double, biased; right for denormals."""
    tiny = w.compare("olt", x, constant(2.0**-900, x))
    scaled = w.select(tiny, w.binary("fmul", x, constant(2.0**100, x)), x)
    field = w.binary("lshr", bitcast(w, scaled, "i64"), integer_constant(52))
    return w.select(tiny, w.binary("sub", field, integer_constant(100)), field)


def power_of_two(w: Writer, exponent: Value, element: str) -> Value:
    """Return 2**exponent for an integer exponent in the range of normal numbers."""
    bias, digits = (127, 23) if element == "float" else (1023, 52)
    biased = w.binary("add", exponent, integer_constant(bias, exponent.element))
    return bitcast(w, w.binary("shl", biased, integer_constant(digits, exponent.element)), element)


def floor_modulo(w: Writer, a: Value, b: Value) -> Value:
    """Return the remainder with the sign of b, as NumPy's mod."""
    left = remainder(w, a, b)
    zero = constant(0.0, a)
    nonzero = w.compare("une", left, zero)
    opposite = w.binary("xor", w.compare("olt", left, zero), w.compare("olt", b, zero))
    moved = w.select(opposite, w.binary("fadd", left, b), left)
    result = w.select(nonzero, moved, copysign(w, zero, b))
    return w.select(w.compare("oeq", b, zero), left, result)


def floor_quotient(w: Writer, a: Value, b: Value) -> Value:
    """Return the quotient rounded down, by way of the exact remainder, as NumPy's floor_divide."""
    zero, one = constant(0.0, a), constant(1.0, a)
    left = remainder(w, a, b)
    quotient = w.fdiv(w.binary("fsub", a, left), b)
    nonzero = w.compare("une", left, zero)
    opposite = w.binary("xor", w.compare("olt", left, zero), w.compare("olt", b, zero))
    lowered = w.select(
        w.binary("and", nonzero, opposite), w.binary("fsub", quotient, one), quotient
    )
    down = rounded(w, "floor", lowered)
    up = w.compare("ogt", w.binary("fsub", lowered, down), constant(0.5, a))
    nearest = w.select(up, w.binary("fadd", down, one), down)
    plain = w.fdiv(a, b)
    nearest = w.select(w.compare("oeq", lowered, zero), copysign(w, zero, plain), nearest)
    return w.select(w.compare("oeq", b, zero), plain, nearest)
