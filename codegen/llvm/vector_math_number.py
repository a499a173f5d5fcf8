"""Numbers that write what is computed with them: the notation of vector maths.

A formula such as `n * -LN2_HIGH + x` on a `Number` writes LLVM IR for one number or for a vector of
any length. Python floats stand for constants of the other operand's type. Nothing is contracted
unless `fma` says so, so error-free transformations stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.codegen.llvm import floats
from smelt.codegen.llvm.values import (
    Value,
    bits_of,
    float_constant,
    integer_constant,
    is_float,
)
from smelt.codegen.llvm.writer import Writer


@dataclass(frozen=True, eq=False)
class Number:
    """A float, an integer or a truth value, for each lane.

    Attributes:
        w: where its instructions go.
        value: what it is.
    """

    w: Writer
    value: Value

    @property
    def double(self) -> bool:
        """Whether it is of double precision."""
        return self.value.element == "double"

    def like(self, other: Number | float) -> Value:
        """Return the other operand of an operation with this number."""
        if isinstance(other, Number):
            return other.value
        if is_float(self.value.element):
            return float_constant(other, self.value.element)
        return integer_constant(int(other), self.value.element)

    def of(self, value: Value) -> Number:
        """Return a number computed in the same place."""
        return Number(self.w, value)

    def constant(self, value: float) -> Number:
        """Return a constant of this type and number of lanes."""
        return self.of(self.w.spread(self.like(value), self.value.lanes))

    def _binary(self, name: str, other: Number | float) -> Number:
        prefix = "f" if is_float(self.value.element) else ""
        return self.of(self.w.binary(prefix + name, self.value, self.like(other)))

    def __add__(self, other: Number | float) -> Number:
        return self._binary("add", other)

    __radd__ = __add__

    def __sub__(self, other: Number | float) -> Number:
        return self._binary("sub", other)

    def __rsub__(self, other: float) -> Number:
        return self.constant(other) - self

    def __mul__(self, other: Number | float) -> Number:
        return self._binary("mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Number | float) -> Number:
        return self._binary("div", other)

    def __rtruediv__(self, other: float) -> Number:
        return self.constant(other) / self

    def __neg__(self) -> Number:
        if is_float(self.value.element):
            return self.of(floats.negated(self.w, self.value))
        return self.constant(0) - self

    def __abs__(self) -> Number:
        return self.of(floats.absolute(self.w, self.value))

    def _integer(self, name: str, other: Number | int) -> Number:
        return self.of(self.w.binary(name, self.value, self.like(other)))

    def __lshift__(self, count: Number | int) -> Number:
        return self._integer("shl", count)

    def __rshift__(self, count: Number | int) -> Number:
        """Shift right, repeating the sign bit."""
        return self._integer("ashr", count)

    def logical_shift(self, count: Number | int) -> Number:
        """Shift right, filling with zeros."""
        return self._integer("lshr", count)

    def __and__(self, other: Number | int) -> Number:
        return self._integer("and", other)

    def __or__(self, other: Number | int) -> Number:
        return self._integer("or", other)

    def __xor__(self, other: Number | int) -> Number:
        return self._integer("xor", other)

    def __invert__(self) -> Number:
        return self.of(self.w.negation(self.value))

    def _compare(self, of_floats: str, of_integers: str, other: Number | float) -> Number:
        predicate = of_floats if is_float(self.value.element) else of_integers
        return self.of(self.w.compare(predicate, self.value, self.like(other)))

    def __lt__(self, other: Number | float) -> Number:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Number | float) -> Number:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Number | float) -> Number:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Number | float) -> Number:
        return self._compare("oge", "sge", other)

    def equals(self, other: Number | float) -> Number:
        """Return where it equals `other`; NaN equals nothing."""
        return self._compare("oeq", "eq", other)

    def differs(self, other: Number | float) -> Number:
        """Return where it does not equal `other`; NaN differs from everything."""
        return self._compare("une", "ne", other)

    def is_nan(self) -> Number:
        """Return where it is NaN."""
        return self._compare("uno", "ne", self)

    def where(self, yes: Number | float, no: Number | float) -> Number:
        """Return `yes` where this truth value holds, else `no`."""
        like = yes if isinstance(yes, Number) else no
        assert isinstance(like, Number)
        return self.of(self.w.select(self.value, like.like(yes), like.like(no)))

    def copysign(self, sign: Number) -> Number:
        """Return its magnitude with the sign of another number."""
        return self.of(floats.copysign(self.w, self.value, sign.value))

    def sqrt(self) -> Number:
        """Return its square root."""
        return self.of(floats.sqrt(self.w, self.value))

    def rounded(self, how: str = "round") -> Number:
        """Return it rounded to an integer: round, floor, ceil or trunc."""
        return self.of(floats.rounded(self.w, how, self.value))

    def bits(self) -> Number:
        """Return the bits of a float as an integer."""
        return self.of(floats.bitcast(self.w, self.value, f"i{bits_of(self.value.element)}"))

    def as_float(self) -> Number:
        """Return the float that has these bits."""
        element = "float" if self.value.element == "i32" else "double"
        return self.of(floats.bitcast(self.w, self.value, element))

    def convert(self, instruction: str, element: str) -> Number:
        """Convert by an LLVM instruction, such as `sitofp` or `fptrunc`."""
        return self.of(self.w.convert(instruction, self.value, element))


def fma(a: Number, b: Number | float, c: Number | float) -> Number:
    """Return a * b + c, rounded once where the machine can."""
    return a.of(a.w.intrinsic("fmuladd", a.value, a.like(b), a.like(c)))


def exact_product(a: Number, b: Number) -> tuple[Number, Number]:
    """Return the rounded product and what rounding took away."""
    high, low = floats.exact_product(a.w, a.value, b.value)
    return a.of(high), a.of(low)


def exact_sum(a: Number, b: Number) -> tuple[Number, Number]:
    """Return the rounded sum and what rounding took away; |a| >= |b| or a = 0.

    Dekker (1971).
    """
    total = a + b
    return total, b - (total - a)


def polynomial(x: Number, coefficients: Sequence[float]) -> Number:
    """Return the polynomial by Horner's rule, constant term first."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, coefficient)
    return total


def table(x: Number, single: Sequence[float], double: Sequence[float]) -> Sequence[float]:
    """Return the coefficients for the precision of `x`."""
    return double if x.double else single
