"""Symbolic dimensions: integer polynomials over named sizes, in canonical form.

A dimension of a tensor is an `int` or a `Dim`. Arithmetic on a `Dim` gives a `Dim`, or an `int`
where the symbols cancel, so two dimensions are equal exactly when their canonical forms are.
Whatever code wants to know about a dimension it asks through `holds`, whose answer, where it does
not follow from the form alone, is recorded as a guard by the `Assumptions` in force.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from smelt.ir.errors import UndecidedDimError

Relation = Literal["==", "!=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A size that is known only when the program runs; at least 0."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Quotient:
    """`numerator // denominator` or `numerator % denominator` that does not simplify."""

    op: Literal["//", "%"]
    numerator: int | Dim
    denominator: int | Dim

    def __str__(self) -> str:
        return f"({self.numerator} {self.op} {self.denominator})"


Atom = Symbol | Quotient
Monomial = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Dim:
    """A canonical sum of integer multiples of monomials.

    Attributes:
        terms: (monomial, coefficient) pairs, no coefficient zero, sorted by their text; the
            empty monomial carries the constant.
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: int | Dim) -> int | Dim:
        return _sum(self, other)

    __radd__ = __add__

    def __neg__(self) -> int | Dim:
        return self * -1

    def __sub__(self, other: int | Dim) -> int | Dim:
        return _sum(self, other * -1)

    def __rsub__(self, other: int) -> int | Dim:
        return _sum(self * -1, other)

    def __mul__(self, other: int | Dim) -> int | Dim:
        product: dict[Monomial, int] = {}
        for left, m in self.terms:
            for right, n in _terms(other):
                monomial = tuple(sorted(left + right, key=str))
                product[monomial] = product.get(monomial, 0) + m * n
        return _canonical(product)

    __rmul__ = __mul__

    def __floordiv__(self, other: int | Dim) -> int | Dim:
        return _divide(self, other)[0]

    def __rfloordiv__(self, other: int) -> int | Dim:
        return _divide(other, self)[0]

    def __mod__(self, other: int | Dim) -> int | Dim:
        return _divide(self, other)[1]

    def __rmod__(self, other: int) -> int | Dim:
        return _divide(other, self)[1]

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, coefficient in self.terms:
            factors = [str(a) for a in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if parts else ""
            parts.append(sign + "*".join(factors))
        return "".join(parts)

    def __repr__(self) -> str:
        return f"Dim({self})"

    def __bool__(self) -> bool:
        return holds(self, "!=", 0)

    def __lt__(self, other: int | Dim) -> bool:
        return holds(self, "<", other)

    def __le__(self, other: int | Dim) -> bool:
        return holds(self, "<=", other)

    def __gt__(self, other: int | Dim) -> bool:
        return holds(other, "<", self)

    def __ge__(self, other: int | Dim) -> bool:
        return holds(other, "<=", self)


def symbol(name: str) -> Dim:
    """Return the dimension that is the symbol `name`."""
    return Dim((((Symbol(name),), 1),))


def symbols(dim: int | Dim) -> frozenset[str]:
    """Return the names of the symbols in `dim`."""
    names: set[str] = set()
    for monomial, _ in _terms(dim):
        for atom in monomial:
            match atom:
                case Symbol(name):
                    names.add(name)
                case Quotient(_, numerator, denominator):
                    names |= symbols(numerator) | symbols(denominator)
    return frozenset(names)


def evaluate(dim: int | Dim, values: Mapping[str, int]) -> int:
    """Return the value of `dim` where each symbol has its value in `values`."""
    total = 0
    for monomial, coefficient in _terms(dim):
        product = coefficient
        for atom in monomial:
            match atom:
                case Symbol(name):
                    product *= values[name]
                case Quotient("//", numerator, denominator):
                    product *= evaluate(numerator, values) // evaluate(denominator, values)
                case Quotient(_, numerator, denominator):
                    product *= evaluate(numerator, values) % evaluate(denominator, values)
        total += product
    return total


def substitute(dim: int | Dim, values: Mapping[str, int | Dim]) -> int | Dim:
    """Return `dim` with each symbol named in `values` replaced by its value."""
    total: int | Dim = 0
    for monomial, coefficient in _terms(dim):
        product: int | Dim = coefficient
        for atom in monomial:
            match atom:
                case Symbol(name):
                    product = product * values.get(name, symbol(name))
                case Quotient(op, numerator, denominator):
                    quotient, remainder = _divide(
                        substitute(numerator, values), substitute(denominator, values)
                    )
                    product = product * (quotient if op == "//" else remainder)
        total = total + product
    return total


def is_static(*dims: int | Dim) -> bool:
    """Tell whether every one of `dims` is a plain integer."""
    return all(isinstance(d, int) for d in dims)


Question = tuple[int | Dim, Relation, int | Dim]


@dataclass
class Assumptions:
    """The example sizes of a trace, and the answers that were taken from them.

    Attributes:
        example: value of each symbol in the call being traced.
        guards: each question answered from `example`, with its answer; the traced program is
            valid for another call only if these answers are the same there.
    """

    example: Mapping[str, int]
    guards: dict[Question, bool] = field(default_factory=dict[Question, bool])


_assumptions: ContextVar[Assumptions | None] = ContextVar("smelt_dim_assumptions", default=None)


@contextmanager
def assuming(assumptions: Assumptions) -> Generator[Assumptions]:
    """Answer questions about dimensions from `assumptions` inside the block."""
    token = _assumptions.set(assumptions)
    try:
        yield assumptions
    finally:
        _assumptions.reset(token)


_RELATIONS: dict[Relation, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def holds(a: int | Dim, relation: Relation, b: int | Dim) -> bool:
    """Answer whether `a relation b`; the one place where a dimension is questioned.

    Raises:
        UndecidedDimError: the answer depends on the symbols and no `Assumptions` are in force.
    """
    if isinstance(a, int) and isinstance(b, int):
        return _RELATIONS[relation](a, b)
    low, high = _bounds(a - b)
    match relation:
        case "==" | "!=":
            if low is not None and low == high == 0:
                return relation == "=="
            if (low is not None and low > 0) or (high is not None and high < 0):
                return relation == "!="
        case "<" | "<=":
            limit = 0 if relation == "<" else 1
            if high is not None and high < limit:
                return True
            if low is not None and low >= limit:
                return False
    assumptions = _assumptions.get()
    if assumptions is None:
        raise UndecidedDimError(f"whether {a} {relation} {b} depends on the sizes at run time")
    left, right = evaluate(a, assumptions.example), evaluate(b, assumptions.example)
    answer = _RELATIONS[relation](left, right)
    assumptions.guards[a, relation, b] = answer
    return answer


def same(a: int | Dim, b: int | Dim) -> bool:
    """Answer whether two dimensions are equal for certain or by a recorded guard."""
    return a == b or holds(a, "==", b)


def _terms(dim: int | Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, Dim):
        return dim.terms
    return (((), dim),) if dim else ()


def _canonical(terms: Mapping[Monomial, int]) -> int | Dim:
    kept = [(m, c) for m, c in terms.items() if c]
    if all(not m for m, _ in kept):
        return sum(c for _, c in kept)
    # Constants last, then by text: a deterministic order that reads as people write it.
    return Dim(tuple(sorted(kept, key=lambda t: (not t[0], [str(a) for a in t[0]]))))


def _sum(a: int | Dim, b: int | Dim) -> int | Dim:
    total = dict(_terms(a))
    for monomial, coefficient in _terms(b):
        total[monomial] = total.get(monomial, 0) + coefficient
    return _canonical(total)


def _divide(a: int | Dim, b: int | Dim) -> tuple[int | Dim, int | Dim]:
    """Return (a // b, a % b), moving what divides evenly out of the quotient."""
    if b == 0:
        raise ZeroDivisionError(f"dimension {a} divided by zero")
    if isinstance(a, int) and isinstance(b, int):
        return divmod(a, b)
    if a == b:
        return 1, 0
    divisor = _terms(b)
    if len(divisor) != 1:
        return _opaque("//", a, b), _opaque("%", a, b)
    monomial, coefficient = divisor[0]
    even: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for m, c in _terms(a):
        quotient = _without(m, monomial)
        if quotient is not None and c % coefficient == 0:
            even[quotient] = c // coefficient
        else:
            rest[m] = c
    remainder = _canonical(rest)
    if remainder == 0:
        return _canonical(even), 0
    if isinstance(remainder, int) and isinstance(b, int):
        return _sum(_canonical(even), remainder // b), remainder % b
    return _sum(_canonical(even), _opaque("//", remainder, b)), _opaque("%", remainder, b)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _opaque(op: Literal["//", "%"], a: int | Dim, b: int | Dim) -> Dim:
    return Dim((((Quotient(op, a, b),), 1),))


def _bounds(dim: int | Dim) -> tuple[int | None, int | None]:
    """Return the least and greatest value of `dim` over all sizes, None where unbounded."""
    low: int | None = 0
    high: int | None = 0
    for monomial, coefficient in _terms(dim):
        if not monomial:
            low = None if low is None else low + coefficient
            high = None if high is None else high + coefficient
        elif any(isinstance(a, Quotient) for a in monomial):
            return None, None
        elif coefficient > 0:
            high = None
        else:
            low = None
    return low, high
