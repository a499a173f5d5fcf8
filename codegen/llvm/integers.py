"""Integer and bool operations of `SCALAR_OPS` on LLVM values.

Everything is defined for every operand: sums wrap, shifts outside the width give what `SCALAR_OPS`
says, a division by zero gives 0 (a `Check` has already reported it, or the lane is masked off), and
the least number divided by -1 is itself. i64 sums and products of `Linear` operands stay `Linear`.
"""

from __future__ import annotations

from smelt.codegen.llvm import library
from smelt.codegen.llvm.values import (
    Linear,
    Operand,
    Value,
    bits_of,
    integer_constant,
)
from smelt.codegen.llvm.writer import Writer


def add(w: Writer, a: Operand, b: Operand) -> Operand:
    """Return a + b, wrapping."""
    if isinstance(a, Linear) and isinstance(b, Linear) and a.lanes == b.lanes:
        return _linear(w, add(w, a.base, b.base), a.stride + b.stride, a.lanes)
    if isinstance(b, Linear):
        a, b = b, a
    if isinstance(a, Linear) and not b.lanes:
        return _linear(w, add(w, a.base, b), a.stride, a.lanes)
    x, y = w.value(a), w.value(b)
    if x.known is not None and y.known is not None:
        return integer_constant(x.known + y.known, x.element)
    if x.known == 0:
        return y
    if y.known == 0:
        return x
    return w.binary("add", x, y, "sum")


def sub(w: Writer, a: Operand, b: Operand) -> Operand:
    """Return a - b, wrapping."""
    if isinstance(b, Linear) or isinstance(a, Linear):
        return add(w, a, neg(w, b))
    if a.known is not None and b.known is not None:
        return integer_constant(a.known - b.known, a.element)
    if b.known == 0:
        return a
    return w.binary("sub", a, b, "difference")


def neg(w: Writer, a: Operand) -> Operand:
    """Return -a, wrapping."""
    if isinstance(a, Linear):
        return _linear(w, neg(w, a.base), -a.stride, a.lanes)
    return sub(w, integer_constant(0, a.element), a)


def mul(w: Writer, a: Operand, b: Operand) -> Operand:
    """Return a * b, wrapping."""
    if isinstance(b, Linear) or (isinstance(a, Value) and a.known is not None):
        a, b = b, a
    factor = b.known if isinstance(b, Value) else None
    if isinstance(a, Linear):
        if factor is not None and abs(a.stride * factor) < 1 << 62:
            return _linear(w, mul(w, a.base, b), a.stride * factor, a.lanes)
        return w.binary("mul", a, b, "product")
    x, y = a, w.value(b)
    if x.known is not None and y.known is not None:
        return integer_constant(x.known * y.known, x.element)
    if factor == 1:
        return x
    if factor == 0:
        return y
    return w.binary("mul", x, y, "product")


def mulhi(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Value:
    """Return the upper half of the double-width product."""
    x, y = w.matched(a, b)
    bits = bits_of(x.element)
    wide = f"i{2 * bits}"
    product = w.binary(
        "mul", w.resize(x, wide, signed=signed), w.resize(y, wide, signed=signed), "wide"
    )
    high = w.binary("lshr", product, integer_constant(bits, wide), "high")
    return w.resize(high, x.element, signed=False)


def floordiv(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Operand:
    """Return the quotient rounded down; 0 where b is 0."""
    divisor = _positive_constant(b)
    if divisor is not None and signed:
        if isinstance(a, Linear) and _small(a, divisor):
            return _divide_linear(w, a, divisor)[0]
        return _floor_by_constant(w, w.value(a), divisor)
    quotient = truncdiv(w, a, b, signed=signed)
    if not signed:
        return quotient
    x, y = w.matched(a, b)
    zero = integer_constant(0, x.element)
    inexact = w.compare("ne", w.binary("mul", quotient, y), x)
    opposite = w.compare("slt", w.binary("xor", x, y), zero)
    defined = w.compare("ne", y, zero)
    down = w.binary("and", w.binary("and", inexact, opposite), defined)
    return w.binary("sub", quotient, w.resize(down, x.element, signed=False))


def mod(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Operand:
    """Return the remainder with the sign of b; 0 where b is 0."""
    divisor = _positive_constant(b)
    if divisor is not None and signed:
        if isinstance(a, Linear) and _small(a, divisor):
            return _divide_linear(w, a, divisor)[1]
        quotient = _floor_by_constant(w, w.value(a), divisor)
        return sub(w, a, mul(w, quotient, b))
    remainder = rem(w, a, b, signed=signed)
    if not signed:
        return remainder
    y = w.value(b)
    zero = integer_constant(0, y.element)
    nonzero = w.compare("ne", remainder, zero)
    opposite = w.compare("slt", w.binary("xor", remainder, y), zero)
    wrong = w.binary("and", nonzero, opposite)
    return w.binary("add", remainder, w.select(wrong, y, zero))


def truncdiv(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Value:
    """Return the quotient rounded towards 0; 0 where b is 0."""
    x, y = w.matched(a, b)
    zero = integer_constant(0, x.element)
    is_zero = w.compare("eq", y, zero)
    quotient = _quotient(w, x, _divisor(w, y, signed=signed), signed=signed)
    if signed:
        is_minus_one = w.compare("eq", y, integer_constant(-1, x.element))
        quotient = w.select(is_minus_one, neg(w, x), quotient)
    return w.select(is_zero, zero, quotient)


def rem(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Value:
    """Return the remainder with the sign of a; 0 where b is 0."""
    x, y = w.matched(a, b)
    divisor = _divisor(w, y, signed=signed)
    quotient = _quotient(w, x, divisor, signed=signed)
    return w.binary("sub", x, w.binary("mul", quotient, divisor), "remainder")


def power(w: Writer, a: Operand, b: Operand) -> Operand:
    """Return a to the power b, wrapping, by squaring; b counts as unsigned."""
    known = b.known if isinstance(b, Value) else None
    if known is not None and 0 <= known <= 64:
        result: Operand = integer_constant(1, w.value(a).element)
        for bit in bin(known)[2:]:
            result = mul(w, result, result)
            if bit == "1":
                result = mul(w, result, a)
        return result
    return library.call(w, "power", (a, b), _power_loop)


def _power_loop(w: Writer, base: Value, exponent: Value) -> Value:
    one, zero = integer_constant(1, base.element), integer_constant(0, base.element)
    start = w.spread(one, base.lanes)
    result, square, left = (Value(f"%{n}", base.element, base.lanes) for n in ("r", "s", "left"))
    w.jump("more")
    w.label("more")
    top = len(w.lines)
    odd = w.compare("ne", w.binary("and", left, one), zero)
    new_result = w.binary("mul", result, w.select(odd, square, one))
    new_square = w.binary("mul", square, square)
    new_left = w.binary("lshr", left, one)
    values = ((result, start, new_result), (square, base, new_square), (left, exponent, new_left))
    for value, first, new in values:
        phi = f"phi {value.type} [ {first.text}, %entry ], [ {new.text}, %more ]"
        w.lines.insert(top, f"  {value.text} = {phi}")
    w.branch(w.any_lane(w.compare("ne", new_left, zero)), "more", "done")
    w.label("done")
    return new_result


def shift_left(w: Writer, a: Operand, b: Operand) -> Operand:
    """Return a << b; 0 where b is outside [0, bits)."""
    x, y = w.matched(a, b)
    inside, amount = _shift_amount(w, y)
    return w.select(inside, w.binary("shl", x, amount), integer_constant(0, x.element))


def shift_right(w: Writer, a: Operand, b: Operand, *, signed: bool) -> Operand:
    """Return a >> b; where b is outside [0, bits), all bits are the sign's."""
    x, y = w.matched(a, b)
    inside, amount = _shift_amount(w, y)
    if not signed:
        return w.select(inside, w.binary("lshr", x, amount), integer_constant(0, x.element))
    most = integer_constant(bits_of(x.element) - 1, x.element)
    return w.binary("ashr", x, w.select(inside, y, most))


def _shift_amount(w: Writer, b: Value) -> tuple[Value, Value]:
    inside = w.compare("ult", b, integer_constant(bits_of(b.element), b.element))
    return inside, w.select(inside, b, integer_constant(0, b.element))


def absolute(w: Writer, a: Operand) -> Value:
    """Return |a|, wrapping."""
    x = w.value(a)
    negative = w.compare("slt", x, integer_constant(0, x.element))
    return w.select(negative, neg(w, x), x)


def sign(w: Writer, a: Operand, *, signed: bool) -> Value:
    """Return -1, 0 or 1."""
    x = w.value(a)
    zero = integer_constant(0, x.element)
    positive = w.resize(w.compare("sgt" if signed else "ugt", x, zero), x.element, signed=False)
    if not signed:
        return positive
    return w.select(w.compare("slt", x, zero), integer_constant(-1, x.element), positive)


def extreme(w: Writer, a: Operand, b: Operand, *, greatest: bool, signed: bool) -> Value:
    """Return the greater or the lesser of two."""
    x, y = w.matched(a, b)
    if x.known is not None and y.known is not None and signed:
        return integer_constant((max if greatest else min)(x.known, y.known), x.element)
    if x.element == "i1":
        return w.binary("or" if greatest else "and", x, y)
    return w.intrinsic(f"{'s' if signed else 'u'}{'max' if greatest else 'min'}", x, y)


_HOLDS = {
    "eq": int.__eq__, "ne": int.__ne__, "lt": int.__lt__, "le": int.__le__, "gt": int.__gt__,
    "ge": int.__ge__,
}  # fmt: skip


def compare(w: Writer, relation: str, a: Operand, b: Operand, *, signed: bool) -> Value:
    """Return whether `a relation b`: eq, ne, lt, le, gt or ge."""
    if isinstance(b, Linear) and isinstance(a, Value) and not a.lanes:
        flipped = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(relation, relation)
        return compare(w, flipped, b, a, signed=signed)
    if isinstance(a, Linear) and isinstance(b, Value) and not b.lanes and signed:
        return _compare_linear(w, relation, a, b)
    x, y = w.value(a), w.value(b)
    if x.known is not None and y.known is not None and signed and x.element != "i1":
        return integer_constant(int(_HOLDS[relation](x.known, y.known)), "i1")
    return w.compare(_predicate(relation, signed=signed), x, y)


def _predicate(relation: str, *, signed: bool) -> str:
    if relation in ("eq", "ne"):
        return relation
    return ("s" if signed else "u") + relation


def _compare_linear(w: Writer, relation: str, a: Linear, b: Value) -> Value:
    """Compare `base + lane * stride` with a scalar in 32 bits: clamp the distance, which is enough.

    The mask of a loop's tail is one comparison this way, not one for each eight lanes.
    """
    reach = abs(a.stride) * a.lanes + 1
    if reach >= 1 << 30:
        return w.compare(_predicate(relation, signed=True), w.value(a), b)
    distance = w.value(sub(w, b, a.base))
    distance = extreme(w, distance, integer_constant(reach), greatest=False, signed=True)
    distance = extreme(w, distance, integer_constant(-reach), greatest=True, signed=True)
    ramp = ", ".join(f"i32 {lane * a.stride}" for lane in range(a.lanes))
    steps = Value(f"<{ramp}>", "i32", a.lanes)
    return w.compare(
        _predicate(relation, signed=True), steps, w.resize(distance, "i32", signed=True)
    )


def _linear(w: Writer, base: Operand, stride: int, lanes: int) -> Operand:
    return Linear(w.value(base), stride, lanes) if stride else base


def _positive_constant(b: Operand) -> int | None:
    known = b.known if isinstance(b, Value) else None
    return known if known is not None and known > 0 else None


def _floor_by_constant(w: Writer, x: Value, divisor: int) -> Operand:
    """Divide by a positive constant: `~(~x / d)` where x is negative, unsigned otherwise."""
    if x.known is not None:
        return integer_constant(x.known // divisor, x.element)
    if divisor == 1:
        return x
    if divisor & (divisor - 1) == 0:
        return w.binary("ashr", x, integer_constant(divisor.bit_length() - 1, x.element))
    signs = w.binary("ashr", x, integer_constant(bits_of(x.element) - 1, x.element), "signs")
    positive = w.binary("xor", x, signs)
    quotient = w.binary("udiv", positive, integer_constant(divisor, x.element))
    return w.binary("xor", quotient, signs)


def _small(a: Linear, divisor: int) -> bool:
    return abs(a.stride) * a.lanes + divisor < 1 << 31


def _divide_linear(w: Writer, a: Linear, divisor: int) -> tuple[Operand, Operand]:
    """Return quotient and remainder of an index: the scalar part once, the lanes in 32 bits."""
    base_quotient = w.value(_floor_by_constant(w, a.base, divisor))
    base_remainder = w.value(sub(w, a.base, mul(w, base_quotient, integer_constant(divisor))))
    if a.stride % divisor == 0:
        quotient = Linear(base_quotient, a.stride // divisor, a.lanes)
        return quotient, base_remainder
    # Steps of a falling index begin high enough to stay positive.
    lift = -(-max(0, -a.stride * (a.lanes - 1)) // divisor)
    ramp = ", ".join(f"i32 {lane * a.stride + lift * divisor}" for lane in range(a.lanes))
    start = w.resize(base_remainder, "i32", signed=True)
    small = w.binary("add", start, Value(f"<{ramp}>", "i32", a.lanes))
    by = integer_constant(divisor, "i32")
    steps = w.binary("udiv", small, by)
    rest = w.binary("urem", small, by)
    wide = w.resize(steps, "i64", signed=False)
    quotient = w.binary("add", wide, w.value(sub(w, base_quotient, integer_constant(lift))))
    return quotient, w.resize(rest, "i64", signed=False)


def _divisor(w: Writer, b: Value, *, signed: bool) -> Value:
    """Return b, or 1 where dividing by b would be undefined."""
    if b.known is not None and b.known not in (0, -1):
        return b
    bad = w.compare("eq", b, integer_constant(0, b.element))
    if signed:
        minus = w.compare("eq", b, integer_constant(-1, b.element))
        bad = w.binary("or", bad, minus)
    return w.select(bad, integer_constant(1, b.element), b)


def _quotient(w: Writer, a: Value, b: Value, *, signed: bool) -> Value:
    """Return a / b towards 0 where it is defined.

    Vectors of up to 32 bits divide in floating point, which has room for the exact quotient:
    hardware has no vector division of integers.
    """
    bits = bits_of(a.element)
    if not a.lanes or bits > 32 or not b.text.startswith("%"):
        return w.binary("sdiv" if signed else "udiv", a, b, "quotient")
    real = "double" if bits == 32 else "float"
    prefix = "s" if signed else "u"
    x, y = (w.convert(f"{prefix}itofp", v, real) for v in (a, b))
    quotient = w.emit(f"fdiv {x.typed}, {y.text}", real, a.lanes, "quotient")
    whole = f"i{64 if bits == 32 and not signed else 32}"
    return w.resize(w.convert("fptosi", quotient, whole), a.element, signed=True)
