"""Simplify and question index expressions: i64 and bool expressions of `smelt.ir.scalar`.

    simplify(expr, ranges) -> Expr            # equal for all values of the variables in `ranges`
    bounds(expr, ranges) -> (low, high)       # inclusive; None where unbounded
    coefficient(expr, var, ranges) -> int | Expr | None     # stride of `var`; None: not affine
    depends(expr, var) -> bool
    holds(condition, ranges) -> bool | None   # None where it depends on the values
    loop_range(start, stop, step) -> Interval # what the variable of a loop ranges over

`ranges` gives each variable an inclusive `(low, high)`; either may be None (unbounded), and `high`
may be an expression over sizes, such as `n - 1`. A variable that is not in `ranges` is a size or a
loop variable: any value that is not negative. Arithmetic on sizes and loop variables is taken not
to overflow, as index arithmetic does not. Values read from data are unbounded, and so are variables
without a lower end: what is computed from them is left as it stands, for it may wrap.

Sums and products become one canonical polynomial, so two indices that are equal as polynomials are
equal as expressions. Quotients and remainders by constants (and by sizes) are split into what
divides evenly and a rest whose range is known: `(16*i + j) // 16` is `i` where `0 <= j < 16`.
Where the divisor is a size, it is taken not to be 0: no loop over it would run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import gcd

from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import Kind
from smelt.ir.index_polynomial import (
    Bound,
    Monomial,
    Polynomial,
    added,
    constant,
    constant_of,
    expression,
    multiplied,
    order_key,
    polynomial_of_atom,
    recombined,
    scaled,
    split_constant,
    without,
)
from smelt.ir.scalar import FALSE, TRUE, Apply, Const, Expr, Load, Read, Var, integer

Interval = tuple[int | None, "int | Expr | None"]
Ranges = Mapping[Var, Interval]

NO_RANGES: Ranges = {}
UNBOUNDED: tuple[int | None, int | None] = (None, None)
_LIMIT = 1 << 63


def simplify(expr: Expr, ranges: Ranges = NO_RANGES) -> Expr:
    """Return an expression equal to `expr` for all values in `ranges`, in canonical form."""
    if isinstance(expr, Const | Var):
        return expr if isinstance(expr, Const) else _pinned(expr, ranges)
    return _simplified(expr, tuple(ranges.items()))


def bounds(expr: Expr, ranges: Ranges = NO_RANGES) -> tuple[int | None, int | None]:
    """Return the least and the greatest value that an i64 expression may take, if known."""
    work = _Simplifier(ranges)
    return work.bounds(work.polynomial(expr))


def holds(condition: Expr, ranges: Ranges = NO_RANGES) -> bool | None:
    """Tell whether a bool expression is true for all values, false for all, or neither."""
    found = simplify(condition, ranges)
    return bool(found.value) if isinstance(found, Const) else None


def depends(expr: Expr, var: Var) -> bool:
    """Tell whether `var` occurs in `expr`."""
    return any(e == var for e in scalar.walk(expr) if isinstance(e, Var))


def coefficient(expr: Expr, var: Var, ranges: Ranges = NO_RANGES) -> int | Expr | None:
    """Return by how much an i64 expression grows when `var` grows by one.

    Returns:
        An int (0 where `expr` does not depend on `var`), an expression that does not contain
        `var`, or None where `expr` is not affine in it.
    """
    total: Polynomial = {}
    for monomial, number in _Simplifier(ranges).polynomial(expr).items():
        others = tuple(a for a in monomial if a != var)
        if len(others) == len(monomial):
            if any(depends(a, var) for a in monomial):
                return None
        elif len(monomial) - len(others) > 1 or any(depends(a, var) for a in others):
            return None
        else:
            total[others] = total.get(others, 0) + number
    number = constant_of(total)
    return expression(total) if number is None else number


def loop_range(
    start: Expr, stop: Expr, ranges: Ranges = NO_RANGES, step: int = 1
) -> tuple[int | None, int | Expr | None]:
    """Return the range of a loop's variable, for a `ranges` of its body."""
    low, _ = bounds(start, ranges)
    _, high = bounds(stop, ranges)
    if high is not None:
        if isinstance(start, Const) and isinstance(stop, Const) and high > int(start.value):
            first = int(start.value)
            return low, first + (high - 1 - first) // step * step
        return low, high - 1
    return low, simplify(scalar.apply("sub", stop, integer(1)), ranges)


@lru_cache(maxsize=1 << 16)
def _simplified(expr: Expr, ranges: tuple[tuple[Var, Interval], ...]) -> Expr:
    return _Simplifier(dict(ranges)).visit(expr)


def _pinned(var: Var, ranges: Ranges) -> Expr:
    low, high = ranges.get(var, UNBOUNDED)
    return integer(low) if low is not None and isinstance(high, int) and low == high else var


class _Simplifier:
    """One simplification under fixed ranges; remembers what it has seen."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.polynomials: dict[Expr, Polynomial] = {}

    def visit(self, expr: Expr) -> Expr:
        """Return the canonical form of an expression of any dtype."""
        if expr.dtype is dtypes.int64:
            return expression(self.polynomial(expr))
        match expr:
            case Apply(op, args, dtype) if dtype is dtypes.bool_:
                return self.condition(op, args, expr)
            case Apply("select", (condition, yes, no), _):
                return self.chosen(condition, yes, no, expr)
            case _:
                return scalar.rebuild(expr, self.visit)

    # --- integers -----------------------------------------------------------------------------

    def polynomial(self, expr: Expr) -> Polynomial:
        """Return an i64 expression as a polynomial over what cannot be taken apart."""
        found = self.polynomials.get(expr)
        if found is None:
            found = self.polynomials[expr] = recombined(self._polynomial(expr))
        return found

    def _polynomial(self, expr: Expr) -> Polynomial:
        match expr:
            case Const(value, _):
                return {(): int(value)} if value else {}
            case Var():
                pinned = _pinned(expr, self.ranges)
                return polynomial_of_atom(pinned) if pinned is expr else self.polynomial(pinned)
            case Apply("add", (a, b), _):
                return self.exact(added(self.polynomial(a), self.polynomial(b)), expr)
            case Apply("sub", (a, b), _):
                return self.exact(added(self.polynomial(a), scaled(self.polynomial(b), -1)), expr)
            case Apply("neg", (a,), _):
                return self.exact(scaled(self.polynomial(a), -1), expr)
            case Apply("mul", (a, b), _):
                return self.exact(multiplied(self.polynomial(a), self.polynomial(b)), expr)
            case Apply("floordiv" | "mod" as op, (a, b), _):
                quotient, remainder = self.divided(self.polynomial(a), self.polynomial(b))
                return quotient if op == "floordiv" else remainder
            case Apply("shr" | "shl" | "and" as op, (a, Const(value, _)), _) if (
                power := _power_of_two(op, int(value))
            ) is not None:
                if op == "shl":
                    return self.exact(scaled(self.polynomial(a), power), expr)
                if self.wraps(scaled(self.polynomial(a), 2)):
                    return polynomial_of_atom(scalar.rebuild(expr, self.visit))
                quotient, remainder = self.divided(self.polynomial(a), constant(power))
                return quotient if op == "shr" else remainder
            case Apply("max" | "min" as op, (a, b), _):
                return self.extreme(op, self.polynomial(a), self.polynomial(b))
            case Apply("select", (condition, yes, no), _):
                chosen = self.chosen(condition, yes, no, expr)
                is_open = isinstance(chosen, Apply) and chosen.op == "select"
                return polynomial_of_atom(chosen) if is_open else self.polynomial(chosen)
            case _:
                return polynomial_of_atom(scalar.rebuild(expr, self.visit))

    def exact(self, a: Polynomial, expr: Expr) -> Polynomial:
        """Return the polynomial of `expr` if it cannot wrap, else `expr` as it stands."""
        return polynomial_of_atom(scalar.rebuild(expr, self.visit)) if self.wraps(a) else a

    def wraps(self, a: Polynomial) -> bool:
        """Tell whether computing a polynomial may leave the range of i64, as data may."""
        if len(a) == 1:
            ((monomial, count),) = a.items()
            if count == 1 and len(monomial) == 1:
                return False
        low, high = self.bounds(a)
        if (low is not None and low < -_LIMIT) or (high is not None and high >= _LIMIT):
            return True
        if any(not -_LIMIT // 4 < count < _LIMIT // 4 for count in a.values()):
            return bool(a.keys() - {()})  # no memory is that large: a number of the user's
        if low is not None and high is not None:
            return False
        return any(self.is_open(atom) for monomial in a for atom in monomial)

    def is_open(self, atom: Expr) -> bool:
        """Tell whether an atom comes from data and may be any number."""
        low, high = self.atom_bounds(atom)
        if low is None or high is not None:
            return low is None  # sizes and loop variables are never negative
        return any(
            isinstance(e, Load | Read)
            or (isinstance(e, Var) and self.ranges.get(e, (0, None))[0] is None)
            for e in scalar.walk(atom)
        )

    def extreme(self, op: str, a: Polynomial, b: Polynomial) -> Polynomial:
        """Return the greater or the lesser of two polynomials."""
        low, high = self.bounds(added(a, scaled(b, -1)))
        if low is not None and low >= 0:
            return a if op == "max" else b
        if high is not None and high <= 0:
            return b if op == "max" else a
        left, right = sorted((expression(a), expression(b)), key=order_key)
        return polynomial_of_atom(scalar.apply(op, left, right))

    def divided(self, a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
        """Return quotient and remainder, rounded down."""
        if len(b) != 1:
            return self.undivided(a, b)
        ((divisor, number),) = b.items()
        if number < 0:
            return self.undivided(a, b)
        even: Polynomial = {}
        rest: Polynomial = {}
        for monomial, count in a.items():
            quotient = without(monomial, divisor)
            if quotient is None:
                rest[monomial] = count
                continue
            whole, left = divmod(count, number)
            # Only constants are split; an uneven multiple of a variable stays whole.
            if left and monomial:
                rest[monomial] = count
                continue
            if whole:
                even[quotient] = whole
            if left:
                rest[monomial] = left
        if not rest:
            return even, {}
        if divisor:
            if self.below(rest, b):
                return even, rest
            quotient_rest, remainder = self.undivided(rest, b)
            return added(even, quotient_rest), remainder
        quotient_rest, remainder = self.divided_by_constant(rest, number)
        return added(even, quotient_rest), remainder

    def divided_by_constant(self, a: Polynomial, number: int) -> tuple[Polynomial, Polynomial]:
        """Divide a polynomial whose coefficients `number` does not divide."""
        low, high = self.bounds(a)
        if low is not None and high is not None and low // number == high // number:
            whole = low // number
            return constant(whole), added(a, constant(-whole * number))
        for common in sorted({gcd(c, number) for m, c in a.items() if m} - {1}, reverse=True):
            coarse = {m: c // common for m, c in a.items() if m and c % common == 0}
            fine = {m: c for m, c in a.items() if not m or c % common}
            whole, fine = split_constant(fine, common)
            low, high = self.bounds(fine)
            if low is not None and high is not None and low >= 0 and high < common:
                coarse = added(coarse, constant(whole))
                quotient, remainder = self.divided(coarse, constant(number // common))
                return quotient, added(scaled(remainder, common), fine)
        if len(a) == 1:
            ((monomial, count),) = a.items()
            if count == 1 and len(monomial) == 1:
                return self.divided_atom(monomial[0], number)
        return self.undivided(a, constant(number))

    def divided_atom(self, atom: Expr, number: int) -> tuple[Polynomial, Polynomial]:
        """Divide a quotient or a remainder that is itself opaque."""
        whole, divisor = polynomial_of_atom(atom), constant(number)
        match atom:
            case Apply("floordiv", (x, Const(value, _)), _) if int(value) > 0:
                quotient, _ = self.divided(self.polynomial(x), constant(int(value) * number))
                return quotient, self.undivided(whole, divisor)[1]
            case Apply("mod", (x, Const(value, _)), _) if int(value) % number == 0:
                inner, remainder = self.divided(self.polynomial(x), divisor)
                return self.divided(inner, constant(int(value) // number))[1], remainder
            case _:
                return self.undivided(whole, divisor)

    def undivided(self, a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
        """Return quotient and remainder as they stand."""
        x, y = expression(a), expression(b)
        if isinstance(x, Const) and isinstance(y, Const) and y.value:
            quotient, remainder = divmod(int(x.value), int(y.value))
            return constant(quotient), constant(remainder)
        return (
            polynomial_of_atom(scalar.apply("floordiv", x, y)),
            polynomial_of_atom(scalar.apply("mod", x, y)),
        )

    def below(self, a: Polynomial, b: Polynomial) -> bool:
        """Tell whether `0 <= a < b` for certain."""
        low, _ = self.bounds(a)
        return low is not None and low >= 0 and self.negative(added(a, scaled(b, -1)))

    def negative(self, a: Polynomial) -> bool:
        """Tell whether a polynomial is below 0 for certain, with symbolic upper bounds applied."""
        _, high = self.bounds(a)
        if high is None:
            _, high = self.bounds(self.raised(a))
        return high is not None and high < 0

    def raised(self, a: Polynomial) -> Polynomial:
        """Return a polynomial that is nowhere below `a`: variables at their symbolic bounds."""
        total: Polynomial = {}
        for monomial, count in a.items():
            term: Polynomial = {(): count}
            for atom in monomial:
                high = self.ranges.get(atom, UNBOUNDED)[1] if isinstance(atom, Var) else None
                if count > 0 and high is not None and self.is_natural(monomial):
                    bound = self.polynomial(integer(high) if isinstance(high, int) else high)
                    term = multiplied(term, bound)
                else:
                    term = multiplied(term, polynomial_of_atom(atom))
            total = added(total, term)
        return total

    def is_natural(self, monomial: Monomial) -> bool:
        """Tell whether no atom of a monomial is ever negative."""
        return all((low := self.atom_bounds(a)[0]) is not None and low >= 0 for a in monomial)

    # --- bounds -------------------------------------------------------------------------------

    def bounds(self, a: Polynomial) -> tuple[int | None, int | None]:
        """Return the least and the greatest value of a polynomial."""
        total = Bound(0, 0)
        for monomial, count in a.items():
            term = Bound(count, count)
            for atom in monomial:
                term = term * Bound(*self.atom_bounds(atom))
            total = total + term
        return total.low, total.high

    def atom_bounds(self, atom: Expr) -> tuple[int | None, int | None]:
        """Return the least and the greatest value of what a polynomial is made of."""
        match atom:
            case Var():
                low, high = self.ranges.get(atom, (0, None))
                return low, high if isinstance(high, int) else self.bound_of(high)
            case Apply("mod", (_, Const(value, _)), _) if int(value) > 0:
                return 0, int(value) - 1
            case Apply("mod", (_, b), _):
                low, high = self.bounds(self.polynomial(b))
                natural = low is not None and low >= 0
                return (0, None if high is None else high - 1) if natural else UNBOUNDED
            case Apply("floordiv", (a, Const(value, _)), _) if int(value) > 0:
                low, high = self.bounds(self.polynomial(a))
                number = int(value)
                return (
                    None if low is None else low // number,
                    None if high is None else high // number,
                )
            case Apply("floordiv", (a, b), _):
                low, high = self.bounds(self.polynomial(a))
                least, _ = self.bounds(self.polynomial(b))
                natural = low is not None and low >= 0 and least is not None and least >= 0
                return (0, high) if natural else UNBOUNDED
            case Apply("max" | "min" as op, (a, b), _):
                x, y = (Bound(*self.bounds(self.polynomial(e))) for e in (a, b))
                found = x.greater(y) if op == "max" else x.lesser(y)
                return found.low, found.high
            case Apply("select", (_, yes, no), _):
                x, y = (Bound(*self.bounds(self.polynomial(e))) for e in (yes, no))
                found = x.either(y)
                return found.low, found.high
            case Apply("cast", (value,), _) if value.dtype.kind is Kind.BOOL:
                return 0, 1
            case Apply("cast", (value,), _) if value.dtype.is_integer and value.dtype.bits < 64:
                bits = value.dtype.bits
                if value.dtype.is_signed:
                    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
                return 0, 2**bits - 1
            case _:
                return UNBOUNDED

    def bound_of(self, high: Expr | None) -> int | None:
        """Return the greatest value of a symbolic upper bound."""
        return None if high is None else self.bounds(self.polynomial(high))[1]

    # --- conditions ---------------------------------------------------------------------------

    def chosen(self, condition: Expr, yes: Expr, no: Expr, whole: Expr) -> Expr:
        """Return a select, or the arm that is taken for certain."""
        condition = self.visit(condition)
        if isinstance(condition, Const):
            return self.visit(yes if condition.value else no)
        a, b = self.visit(yes), self.visit(no)
        return a if a == b else Apply("select", (condition, a, b), whole.dtype)

    def condition(self, op: str, args: tuple[Expr, ...], whole: Expr) -> Expr:
        """Return the canonical form of a bool expression."""
        if op in _FLIPPED and args[0].dtype is dtypes.int64:
            return self.compared(op, args[0], args[1])
        if op == "select":
            return self.chosen(args[0], args[1], args[2], whole)
        if op in ("and", "or"):
            neutral, absorbing = (TRUE, FALSE) if op == "and" else (FALSE, TRUE)
            a, b = self.visit(args[0]), self.visit(args[1])
            if absorbing in (a, b):
                return absorbing
            if neutral == a or a == b:
                return b
            return a if neutral == b else scalar.apply(op, a, b)
        if op == "not":
            inner = self.visit(args[0])
            match inner:
                case Const(value, _):
                    return FALSE if value else TRUE
                case Apply("not", (value,), _):
                    return value
                case Apply(name, (a, b), _) if name in _NEGATED and a.dtype is dtypes.int64:
                    return scalar.apply(_NEGATED[name], a, b)
                case _:
                    return scalar.apply("not", inner)
        return scalar.rebuild(whole, self.visit)

    def compared(self, op: str, a: Expr, b: Expr) -> Expr:
        """Return the comparison of two i64 expressions as `lt`, `le`, `eq` or `ne`."""
        if op in ("gt", "ge"):
            op, a, b = _FLIPPED[op], b, a
        difference = added(self.polynomial(a), scaled(self.polynomial(b), -1))
        low, high = self.bounds(difference)
        if op in ("eq", "ne"):
            if low == high == 0:
                return TRUE if op == "eq" else FALSE
            if (
                (low is not None and low > 0)
                or (high is not None and high < 0)
                or self.negative(difference)
                or self.negative(scaled(difference, -1))
            ):
                return FALSE if op == "eq" else TRUE
        else:
            # a < b  is  difference < 0;  a <= b  is  difference - 1 < 0.
            below = difference if op == "lt" else added(difference, constant(-1))
            if self.negative(below):
                return TRUE
            # not (p < 0)  is  -p - 1 < 0.
            if self.negative(added(scaled(below, -1), constant(-1))):
                return FALSE
        against_constant = len(difference.keys() - {()}) == 1
        if self.wraps(difference) and not (
            against_constant and abs(difference.get((), 0)) < _LIMIT // 4
        ):
            return scalar.apply(op, expression(self.polynomial(a)), expression(self.polynomial(b)))
        return _comparison(op, difference)


_FLIPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_NEGATED = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}


def _comparison(op: str, difference: Polynomial) -> Expr:
    """Return `difference op 0` with what is subtracted moved to the right."""
    counts = [c for m, c in difference.items() if m]
    number = -difference.get((), 0)
    common = gcd(*counts)
    if op in ("eq", "ne") and number % common:
        return FALSE if op == "eq" else TRUE
    limit = -(-number // common) if op == "lt" else number // common
    left = {m: c // common for m, c in difference.items() if m and c > 0}
    right = {m: -c // common for m, c in difference.items() if m and c < 0}
    # Against a constant there is one form for each direction: x < c and x >= c.
    if not left:
        if op in ("lt", "le"):
            op, limit = "ge", limit - (op == "lt")
        return scalar.apply(op, expression(right), integer(-limit))
    if not right and op == "le":
        op, limit = "lt", limit + 1
    if right and limit < 0:
        return scalar.apply(op, expression(added(left, constant(-limit))), expression(right))
    return scalar.apply(op, expression(left), expression(added(right, constant(limit))))


def _power_of_two(op: str, value: int) -> int | None:
    """Return the divisor (or factor) that a shift by `value`, or a mask of it, stands for."""
    if op == "and":
        return value + 1 if 0 < value < 1 << 62 and value & (value + 1) == 0 else None
    return 1 << value if 0 <= value < 62 else None
