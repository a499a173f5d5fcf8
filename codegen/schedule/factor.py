"""The factors of a contraction, made ready to be packed.

A factor that reads through a guarded index map (a padded window, say) arrives as a `select` between
a fill and a load whose index is clamped into range, since both arms of a `select` are evaluated:

    select(1 <= h + r and h + r < 9, x[min(7, max(0, h + r - 1))], 0.0)

`guarded` takes it apart again. Under the condition the clamps change nothing, so they go, and what
is left is often affine in the axis that goes across the lanes: a masked vector load, no gather.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smelt.codegen.schedule.cost import expression_cost
from smelt.codegen.schedule.rewrite import Body, with_bodies
from smelt.ir import dtypes, index, scalar
from smelt.ir.index import Ranges
from smelt.ir.loop.grammar import Accumulate, If, Stmt, Store
from smelt.ir.scalar import Apply, Const, Cost, Expr, Load
from smelt.ir.structured import monoid


@dataclass(frozen=True)
class Factor:
    """One factor of a contraction.

    Attributes:
        value: what it is where `inside` holds; may load only there.
        inside: condition; None: everywhere.
        outside: what it is elsewhere; None where there is no elsewhere.
    """

    value: Expr
    inside: Expr | None = None
    outside: Expr | None = None


def guarded(value: Expr, ranges: Ranges) -> Factor:
    """Return a factor with its guard, if it has one, on the outside and its clamps removed."""
    for part in scalar.walk(value):
        if not isinstance(part, Apply) or part.op != "select":
            continue
        condition, yes, no = part.args
        known = {index.simplify(c, ranges) for c in _conjuncts(condition)}
        freed = _unclamped(yes, known, ranges)
        outside = scalar.substitute(value, {part: no})
        # Vectors run both branches: nothing dear is computed twice.
        if (
            freed == yes
            or _is_integer_index(part, value)
            or expression_cost(outside) >= Cost.TRANSCENDENTAL.value
        ):
            continue
        inside = index.simplify(condition, ranges)
        return Factor(scalar.substitute(value, {part: freed}), inside, outside)
    return Factor(value)


def unclamped(body: Body, ranges: Ranges) -> Body:
    """Return straight statements in which guarded values are stored under their guards.

    y[i] = x[min(7, max(0, i - 1))] if 1 <= i and i < 9 else 0.0

    becomes an `If` with a store in each branch; where what is accumulated elsewhere changes
    nothing, there is no second branch.
    """

    def visit(stmt: Stmt) -> Stmt:
        match stmt:
            case Store() | Accumulate():
                factor = guarded(stmt.value, ranges)
                if factor.inside is None or factor.outside is None:
                    return stmt
                inside = (replace(stmt, value=factor.value),)
                if isinstance(stmt, Store):
                    return If(factor.inside, inside, (replace(stmt, value=factor.outside),))
                (identity,) = monoid(stmt.op, stmt.buffer.dtype).identity
                return If(factor.inside, inside) if factor.outside == identity else stmt
            case _:
                return with_bodies(stmt, lambda b: tuple(visit(s) for s in b))

    return tuple(visit(s) for s in body)


def _is_integer_index(part: Expr, value: Expr) -> bool:
    """Tell whether a select is (part of) an index, whose arms are not values of the factor."""
    return any(
        part in scalar.walk(position)
        for load in scalar.walk(value)
        if isinstance(load, Load)
        for position in load.index
    )


def _conjuncts(condition: Expr) -> list[Expr]:
    match condition:
        case Apply("and", (a, b), _):
            return [*_conjuncts(a), *_conjuncts(b)]
        case _:
            return [condition]


def _unclamped(expr: Expr, known: set[Expr], ranges: Ranges) -> Expr:
    """Return an expression equal to `expr` where all of `known` hold, with fewer clamps."""
    changed = scalar.rebuild(expr, lambda e: _unclamped(e, known, ranges))
    match changed:
        case Apply("max" | "min" as op, (a, b), dtype) if dtype is dtypes.int64:
            for kept, other in ((a, b), (b, a)):
                relation = scalar.apply("ge" if op == "max" else "le", kept, other)
                claim = index.simplify(relation, ranges)
                if isinstance(other, Const) and (claim == scalar.TRUE or claim in known):
                    return kept
            return changed
        case Load(buffer, position):
            return Load(buffer, tuple(index.simplify(e, ranges) for e in position))
        case _:
            return changed
