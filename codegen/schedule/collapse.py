"""Join two neighbouring loops into one.

    for i in serial(0, 8):                for f in serial(0, 32):
        for j in serial(0, 4):      →         y[f] = x[f]
            y[i * 4 + j] = x[i * 4 + j]

`joined` does so where every index becomes as simple as it was; `fused` always does, and binds the
old variables by `Let`s, for loops that are run in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smelt.codegen.schedule.analysis import constant_extent
from smelt.codegen.schedule.rewrite import Body, simplified, substituted
from smelt.ir import index, scalar
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import Names, loop, times
from smelt.ir.loop.grammar import For, Let, expressions, walk
from smelt.ir.scalar import Apply, Expr, Var


def joined(
    loops: Sequence[For], body: Body, names: Names, ranges: Ranges
) -> tuple[list[For], Body]:
    """Return loops from 0 by 1 with neighbours joined where no index gets harder, and the body."""
    found = list(loops)
    position = len(found) - 2
    while position >= 0:
        result = _join(found[position], found[position + 1], body, names, ranges)
        if result is not None:
            both, body = result
            found[position : position + 2] = [both]
        position -= 1
    return found, body


def _join(
    outer: For, inner: For, body: Body, names: Names, ranges: Ranges
) -> tuple[For, Body] | None:
    flat = names.var(inner.var.name)
    stop = index.simplify(times(outer.stop, inner.stop), ranges)
    both = loop(flat, stop, (), comment=outer.comment or inner.comment)
    place: dict[Expr, Expr] = {
        outer.var: scalar.apply("floordiv", flat, inner.stop),
        inner.var: scalar.apply("mod", flat, inner.stop),
    }
    known = {**ranges, flat: index.loop_range(scalar.integer(0), stop, ranges)}
    changed = simplified(substituted(body, place), known)
    return None if _divides(changed, flat) else (both, changed)


def _divides(body: Body, var: Var) -> bool:
    """Tell whether a quotient or remainder of `var` occurs."""
    return any(
        isinstance(part, Apply) and part.op in ("floordiv", "mod") and index.depends(part, var)
        for stmt in walk(body)
        for expr in expressions(stmt)
        for part in scalar.walk(expr)
    )


def fused(outer: For, inner: For, names: Names) -> For:
    """Return one loop over the iterations of two; `inner` keeps its body, `outer`'s is replaced."""
    flat = names.var(f"{outer.var.name}_{inner.var.name}")
    body: Body = (Let(inner.var, scalar.apply("mod", flat, inner.stop), inner.body),)
    body = (Let(outer.var, scalar.apply("floordiv", flat, inner.stop), body),)
    stop = times(outer.stop, inner.stop)
    return replace(outer, var=flat, stop=stop, body=body)


def product(loops: Sequence[For]) -> int | None:
    """Return the number of iterations of nested loops, None where it is not constant."""
    total = 1
    for found in loops:
        extent = constant_extent(found)
        if extent is None:
            return None
        total *= extent
    return total
