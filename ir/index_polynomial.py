"""Polynomials over index expressions, and intervals of integers: the arithmetic of `index`.

A polynomial maps monomials to integer coefficients, none of them 0. A monomial is a sorted tuple of
atoms, the expressions that addition and multiplication cannot take apart; `()` is the constant.
Nobody edits a polynomial once it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from smelt.ir import scalar
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var, integer

Monomial = tuple[Expr, ...]
Polynomial = dict[Monomial, int]


@lru_cache(maxsize=1 << 16)
def order_key(expr: Expr) -> str:
    """Return a text by which expressions are put into one deterministic order."""
    match expr:
        case Var(name, _):
            return name
        case Const(value, dtype):
            return f"{value}:{dtype.name}"
        case Read(reader, _):
            return f"read{reader}"
        case Load(buffer, index):
            return f"{buffer.name}[{','.join(map(order_key, index))}]"
        case Apply(op, args, dtype):
            return f"{op}:{dtype.name}({','.join(map(order_key, args))})"


def polynomial_of_atom(atom: Expr) -> Polynomial:
    """Return an expression that is not taken apart as a polynomial."""
    if isinstance(atom, Const):
        return {(): int(atom.value)} if atom.value else {}
    return {(atom,): 1}


def constant_of(a: Polynomial) -> int | None:
    """Return the value of a polynomial that is a constant, else None."""
    if not a:
        return 0
    return a[()] if len(a) == 1 and () in a else None


def added(a: Polynomial, b: Polynomial) -> Polynomial:
    """Return the sum."""
    total = dict(a)
    for monomial, count in b.items():
        number = total.get(monomial, 0) + count
        if number:
            total[monomial] = number
        else:
            del total[monomial]
    return total


def scaled(a: Polynomial, factor: int) -> Polynomial:
    """Return an integer multiple."""
    return {m: c * factor for m, c in a.items()} if factor else {}


def multiplied(a: Polynomial, b: Polynomial) -> Polynomial:
    """Return the product, expanded."""
    total: Polynomial = {}
    for left, m in a.items():
        for right, n in b.items():
            joined = left + right
            monomial = tuple(sorted(joined, key=order_key)) if len(joined) > 1 else joined
            total[monomial] = total.get(monomial, 0) + m * n
    return {m: c for m, c in total.items() if c}


def expression(a: Polynomial) -> Expr:
    """Return a polynomial as an expression: larger strides first, the constant last."""
    terms = sorted(
        ((m, c) for m, c in a.items() if m),
        key=lambda t: (t[1] < 0, -len(t[0]), -abs(t[1]), [order_key(x) for x in t[0]]),
    )
    total: Expr | None = None
    for monomial, count in terms:
        product = monomial[0]
        for atom in monomial[1:]:
            product = scalar.apply("mul", product, atom)
        size = count if total is None else abs(count)
        if size != 1:
            product = scalar.apply("mul", product, integer(size))
        if total is None:
            total = product
        else:
            total = scalar.apply("add" if count > 0 else "sub", total, product)
    number = a.get((), 0)
    if total is None:
        return integer(number)
    if number:
        sign = "add" if number > 0 else "sub"
        return scalar.apply(sign, total, integer(abs(number)))
    return total


def constant(value: int) -> Polynomial:
    """Return a constant as a polynomial."""
    return {(): value} if value else {}


def without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """Return a monomial divided by another; None where it is no multiple."""
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def split_constant(a: Polynomial, number: int) -> tuple[int, Polynomial]:
    """Return the multiple of `number` in the constant term, and what is left of the whole."""
    whole, left = divmod(a.get((), 0), number)
    rest = {m: c for m, c in a.items() if m}
    if left:
        rest[()] = left
    return whole, rest


def recombined(a: Polynomial) -> Polynomial:
    """Join `k*c*(x // c) + k*(x % c)` into `k*x`."""
    for monomial, count in a.items():
        for position, atom in enumerate(monomial):
            match atom:
                case Apply("mod", (x, Const() as c), _) if int(c.value) > 0:
                    others = monomial[:position] + monomial[position + 1 :]
                    quotient = _quotient_atom(x, int(c.value))
                    twin = tuple(sorted((*others, quotient), key=order_key))
                    if a.get(twin) == count * int(c.value):
                        kept = {m: n for m, n in a.items() if m not in (monomial, twin)}
                        whole = multiplied(_of_canonical(x), {others: count})
                        return recombined(added(kept, whole))
                case _:
                    pass
    return a


def _quotient_atom(x: Expr, number: int) -> Expr:
    match x:
        case Apply("floordiv", (inner, Const(value, _)), _):
            return scalar.apply("floordiv", inner, integer(int(value) * number))
        case _:
            return scalar.apply("floordiv", x, integer(number))


def _of_canonical(x: Expr) -> Polynomial:
    """Return the polynomial of an expression that `expression` made."""
    match x:
        case Const(value, _):
            return constant(int(value))
        case Apply("add", (a, b), _):
            return added(_of_canonical(a), _of_canonical(b))
        case Apply("sub", (a, b), _):
            return added(_of_canonical(a), scaled(_of_canonical(b), -1))
        case Apply("mul", (a, b), _):
            return multiplied(_of_canonical(a), _of_canonical(b))
        case _:
            return polynomial_of_atom(x)


@dataclass(frozen=True, slots=True)
class Bound:
    """An interval of integers, inclusive; None where it has no end."""

    low: int | None
    high: int | None

    def __add__(self, other: Bound) -> Bound:
        return Bound(
            None if self.low is None or other.low is None else self.low + other.low,
            None if self.high is None or other.high is None else self.high + other.high,
        )

    def __mul__(self, other: Bound) -> Bound:
        if self.low == self.high and self.low is not None:
            return other.times(self.low)
        if other.low == other.high and other.low is not None:
            return self.times(other.low)
        ends = (self.low, self.high), (other.low, other.high)
        if None not in ends[0] and None not in ends[1]:
            products = [x * y for x in ends[0] for y in ends[1] if x is not None and y is not None]
            return Bound(min(products), max(products))
        if self.low is not None and other.low is not None and self.low >= 0 and other.low >= 0:
            return Bound(self.low * other.low, None)
        return Bound(None, None)

    def times(self, factor: int) -> Bound:
        """Return the interval of the values times a constant."""
        if factor == 0:
            return Bound(0, 0)
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Bound(low, high) if factor > 0 else Bound(high, low)

    def greater(self, other: Bound) -> Bound:
        """Return the interval of the greater of two values."""
        lows = [x for x in (self.low, other.low) if x is not None]
        low = max(lows, default=None)
        if self.high is None or other.high is None:
            return Bound(low, None)
        return Bound(low, max(self.high, other.high))

    def lesser(self, other: Bound) -> Bound:
        """Return the interval of the lesser of two values."""
        return self.times(-1).greater(other.times(-1)).times(-1)

    def either(self, other: Bound) -> Bound:
        """Return the least interval that contains both."""
        return Bound(
            None if self.low is None or other.low is None else min(self.low, other.low),
            None if self.high is None or other.high is None else max(self.high, other.high),
        )
