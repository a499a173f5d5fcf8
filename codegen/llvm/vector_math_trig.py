"""Sine, cosine and tangent, right for every argument.

x = q pi/2 + r with |r| <= pi/4. Arguments of moderate size subtract q times pi/2 in parts whose
products with q are exact (Cody and Waite 1980). Vectors that hold a greater one take a slower way
as well: M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", SIGNUM
Newsletter 18 (1983), which multiplies by just those digits of 2/pi that matter.
"""

from __future__ import annotations

import math

from smelt.codegen.llvm import library
from smelt.codegen.llvm import vector_math_coefficients as c
from smelt.codegen.llvm.values import Value, integer_constant, mangled
from smelt.codegen.llvm.vector_math_exp import split
from smelt.codegen.llvm.vector_math_number import Number, fma, polynomial, table
from smelt.codegen.llvm.writer import Writer

DIGITS_OF_TWO_OVER_PI = "smelt.two_over_pi"


def sin(x: Number) -> Number:
    """Return the sine."""
    quadrant, r, tail = reduced(x)
    result = _at(quadrant, _sine(r, tail), _cosine(r, tail))
    # The reduction loses the sign of a zero.
    return x.equals(0.0).where(x, result)


def cos(x: Number) -> Number:
    """Return the cosine: the sine, a quadrant further."""
    quadrant, r, tail = reduced(x)
    return _at(quadrant + 1, _sine(r, tail), _cosine(r, tail))


def tan(x: Number) -> Number:
    """Return sine over cosine; minus the inverse of that in odd quadrants."""
    quadrant, r, tail = reduced(x)
    sine, cosine = _sine(r, tail), _cosine(r, tail)
    odd = (quadrant & 1).differs(0)
    result = odd.where(-cosine, sine) / odd.where(sine, cosine)
    return x.equals(0.0).where(x, result)


def _at(quadrant: Number, sine: Number, cosine: Number) -> Number:
    value = (quadrant & 1).differs(0).where(cosine, sine)
    return (quadrant & 2).differs(0).where(-value, value)


def _sine(r: Number, tail: Number) -> Number:
    z = r * r
    rest = z * polynomial(z, table(r, c.SIN_FLOAT, c.SIN_DOUBLE))
    return r + fma(r, rest, tail * (1.0 - z * 0.5))


def _cosine(r: Number, tail: Number) -> Number:
    z = r * r
    half = z * 0.5
    high = 1.0 - half
    # What rounding took from 1 - half, and the polynomial.
    low = (1.0 - high) - half
    series = z * z * polynomial(z, table(r, c.COS_FLOAT, c.COS_DOUBLE))
    return high + (low + (series - r * tail))


def reduced(x: Number) -> tuple[Number, Number, Number]:
    """Return the quadrant as an integer, and r in two parts."""
    w = x.w
    limit = 2.0**19 if x.double else 2.0**12
    large = abs(x) > limit
    near = large.where(0.0, x)
    whole, quadrant = split(near, c.TWO_OVER_PI_DOUBLE[0])
    first, second, third, fourth = table(x, c.HALF_PI_FLOAT, c.HALF_PI_DOUBLE)
    r = near - whole * first
    tail = near.constant(0.0)
    for part in (second, third):
        product = whole * part
        before, r = r, r - product
        tail = tail + ((before - r) - product)
    tail = tail - whole * fourth
    r, tail = _renormalised(r, tail)
    some, done, start = w.name("large"), w.name("reduced"), w.name("near")
    w.jump(start)
    w.label(start)
    w.branch(w.any_lane(large.value), some, done)
    w.label(some)
    far_quadrant, far = _reduced_large(x)
    wanted = [
        (quadrant, large.where(far_quadrant, quadrant)),
        (r, large.where(far, r)),
        (tail, large.where(0.0, tail)),
    ]
    last = w.name("far")
    w.jump(last)
    w.label(last)
    w.jump(done)
    w.label(done)
    found: list[Number] = []
    for fast, slow in wanted:
        phi = (
            f"phi {fast.value.type} [ {fast.value.text}, %{start} ], [ {slow.value.text}, %{last} ]"
        )
        found.append(x.of(w.emit(phi, fast.value.element, fast.value.lanes)))
    return found[0], found[1], found[2]


def _renormalised(r: Number, tail: Number) -> tuple[Number, Number]:
    total = r + tail
    return total, tail - (total - r)


def _reduced_large(x: Number) -> tuple[Number, Number]:
    """Return quadrant and r of numbers above 2**12, through double precision."""
    wide = x if x.double else x.convert("fpext", "double")

    def quadrant_of(w: Writer, value: Value) -> Value:
        return _payne_hanek(Number(w, value))[0].value

    def remainder_of(w: Writer, value: Value) -> Value:
        number = Number(w, value)
        r = _payne_hanek(number)[1]
        # Infinity has no sine.
        return (abs(number) < math.inf).where(r, number - number).value

    given = (wide.value,)
    quadrant = x.of(library.call(x.w, "far_quadrant", given, quadrant_of, "i64", rare=True))
    r = x.of(library.call(x.w, "far_remainder", given, remainder_of, rare=True))
    if x.double:
        return quadrant, r
    return quadrant.convert("trunc", "i32"), r.convert("fptrunc", "float")


def _payne_hanek(x: Number) -> tuple[Number, Number]:
    """Multiply the digits of |x| by the 192 digits of 2/pi that decide quadrant and fraction.

    |x| = m 2**k with an integer m of 53 digits. Digits of 2/pi whose product with 2**k is a
    multiple of 4 change nothing; those 192 places further down change the fraction by less than
    2**-135.
    """
    bits = x.bits()
    exponent = bits.logical_shift(52) & 0x7FF
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    # Number of the first digit that matters, counted from the zeros in front of the table.
    first = exponent - (1075 + 2) + 128
    # Lanes that are small, or infinite, have no use for the result.
    used = (first >= 0) & (exponent < 0x7FF)
    first = used.where(first, 0)
    index, shift = first.logical_shift(6), first & 63
    words = [_word(index + i) for i in range(4)]
    w0, w1, w2 = (
        (words[i] << shift) | (words[i + 1].logical_shift(1).logical_shift(63 - shift))
        for i in range(3)
    )
    middle_low = m * w1
    middle = middle_low + _high(m, w2)
    carry = middle.of(m.w.compare("ult", middle.value, middle_low.value)).convert("zext", "i64")
    top = m * w0 + _high(m, w1) + carry
    rounded = (top + (1 << 61)).logical_shift(62)
    fraction = top - (rounded << 62)
    high = fraction.convert("sitofp", "double") * 2.0**-62
    low = middle.convert("uitofp", "double") * 2.0**-126
    half_pi = c.WHOLE_HALF_PI_DOUBLE
    r = fma(high, half_pi[0], fma(low, half_pi[0], high * half_pi[1]))
    negative = x < 0.0
    return negative.where(-rounded, rounded), negative.where(-r, r)


def _high(a: Number, b: Number) -> Number:
    """Return the upper half of the product of unsigned words."""
    low = (1 << 32) - 1
    a0, a1, b0, b1 = a & low, a.logical_shift(32), b & low, b.logical_shift(32)
    inner = a1 * b0 + (a0 * b0).logical_shift(32)
    carry = a0 * b1 + (inner & low)
    return a1 * b1 + inner.logical_shift(32) + carry.logical_shift(32)


def _word(index: Number) -> Number:
    w = index.w
    w.module.define(DIGITS_OF_TWO_OVER_PI, _table_text)
    base = Value(f"@{DIGITS_OF_TWO_OVER_PI}", "ptr")
    at = w.emit(
        f"getelementptr i64, {base.typed}, {index.value.typed}", "ptr", index.value.lanes, "at"
    )
    lanes = index.value.lanes
    if not lanes:
        return index.of(w.emit(f"load i64, {at.typed}, align 8", "i64"))
    kind = f"{mangled('i64', lanes)}.{mangled('ptr', lanes)}"
    everywhere = w.spread(Value("true", "i1"), lanes)
    zero = Value("zeroinitializer", "i64", lanes)
    operands = (at, Value("8", "i32"), everywhere, zero)
    return index.of(w.call(f"llvm.masked.gather.{kind}", "i64", lanes, operands))


def _table_text() -> str:
    words = ", ".join(f"i64 {integer_constant(word).text}" for word in c.TWO_OVER_PI_WORDS)
    count = len(c.TWO_OVER_PI_WORDS)
    return f"@{DIGITS_OF_TWO_OVER_PI} = internal constant [{count} x i64] [{words}]"
