"""Turn a loop of independent iterations into vector loops.

    for i in serial(0, 100):          for j in serial(0, 6):
        y[i] = x[i] + 1.0      →          for l in vector(0, 16):
                                              y[j * 16 + l] = x[j * 16 + l] + 1.0
                                      for l_1 in vector(0, 16):
                                          if l_1 < 4:
                                              y[l_1 + 96] = x[l_1 + 96] + 1.0

`best_axis` chooses the loop of a nest: the one along which most accesses have stride 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from smelt.codegen.schedule.analysis import (
    accesses,
    allocated_in,
    constant_extent,
    expressions,
)
from smelt.codegen.schedule.cost import expression_cost, work
from smelt.codegen.schedule.rewrite import Body, copied, simplified
from smelt.codegen.target import Target
from smelt.ir import dtypes, index, scalar
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import Names, below, divided, guarded, loop, minus, plus, times
from smelt.ir.loop.grammar import Accumulate, Alloc, For, If, Kind, Let, Store, walk
from smelt.ir.scalar import Const, Expr, Load, Var

GATHER_COST = 1.0
SCATTER_COST = 2.0
"""Cost of one lane's access where memory is not read, or written, in order."""


def lanes_for(body: Body, target: Target) -> int:
    """Return how many iterations of a loop to run as one vector."""
    bits = [16]
    for stmt in walk(body):
        if isinstance(stmt, Store | Accumulate):
            bits.append(_compute_bits(stmt.buffer.dtype))
        for expr in expressions(stmt):
            for part in scalar.walk(expr):
                if isinstance(part, Load):
                    bits.append(_compute_bits(part.dtype))
    # Indices read from data are 64 bits wide, yet what they lead to decides.
    floats = [
        s.buffer.dtype.accumulator.bits
        for s in walk(body)
        if isinstance(s, Store | Accumulate) and s.buffer.dtype.is_floating_point
    ]
    return target.vector_bits // (max(floats) if floats else max(bits))


def _compute_bits(dtype: dtypes.DType) -> int:
    return dtype.accumulator.bits


def axis_cost(var: Var, body: Body, lanes: int, ranges: Ranges) -> float:
    """Return the cost of running straight statements once with `var` across so many lanes."""
    own = allocated_in(body)
    total = float(straight_work(body))
    for access in accesses(body):
        # Every lane has its own copy of what is allocated inside.
        if access.buffer in own:
            continue
        stride = index.coefficient(access.offset, var, ranges)
        if stride == 1 or (stride == 0 and (not access.writes or access.accumulates)):
            continue
        total += lanes * (SCATTER_COST if access.writes else GATHER_COST)
    return total


def straight_work(body: Body) -> float:
    """Return the cost of straight statements, loops inside them counted once."""
    return work(tuple(s for s in walk(body) if not isinstance(s, For | Let | If | Alloc))) + sum(
        expression_cost(s.value) for s in walk(body) if isinstance(s, Let)
    )


def best_axis(
    loops: Sequence[For], body: Body, lanes: int, ranges: Ranges
) -> tuple[int | None, float]:
    """Return the number of the loop to vectorise and its cost an element.

    Args:
        loops: candidates, whose iterations may run in any order.
        body: what they run.
        lanes: width of a vector.
        ranges: of all variables in `body`.

    Returns:
        None where scalar code is as good.
    """
    best, least = None, max(straight_work(body), 1.0)
    for number, candidate in reversed(list(enumerate(loops))):
        extent = constant_extent(candidate)
        width = narrowed(lanes, extent)
        if width < 2:
            continue
        # The last vector may be filled in part.
        used = width if extent is None else extent / -(-extent // width)
        cost = axis_cost(candidate.var, body, width, ranges) / used
        if cost < least:
            best, least = number, cost
    return best, least


def narrowed(lanes: int, extent: int | None) -> int:
    """Return the lanes for a loop: fewer where half of them would suffice for all of it."""
    while extent is not None and lanes > 1 and extent <= lanes // 2:
        lanes //= 2
    return lanes


def vectorise(found: For, lanes: int, names: Names, ranges: Ranges) -> Body:
    """Return a loop of independent iterations, from 0 by 1, as vector loops of `lanes`.

    Args:
        found: the loop; its body may contain serial loops whose bounds do not depend on it.
        lanes: width; fewer are taken where the loop is short.
        names: supply of names of the kernel.
        ranges: of the variables around the loop.
    """
    extent = constant_extent(found)
    lanes = narrowed(lanes, extent)
    lane = names.var("l")
    if extent is not None and extent <= lanes:
        condition = None if extent == lanes else below(lane, extent)
        inner = guarded(condition, copied(found.body, names, {found.var: lane}))
        return simplified((loop(lane, lanes, inner, Kind.VECTOR),), ranges)
    block = names.var(found.var.name)
    whole = divided(found.stop, lanes)
    main = copied(found.body, names, {found.var: plus(times(block, lanes), lane)})
    body: Body = (
        loop(block, whole, [loop(lane, lanes, main, Kind.VECTOR)], comment=found.comment),
    )
    if extent is None or extent % lanes:
        body += _tail(found, times(whole, lanes), lanes, names)
    return simplified(body, ranges)


def _tail(found: For, begin: Expr, lanes: int, names: Names) -> Body:
    lane = names.var("l")
    rest = copied(found.body, names, {found.var: plus(begin, lane)})
    left = minus(found.stop, begin)
    inner = guarded(below(lane, left), rest)
    tail = loop(lane, lanes, inner, Kind.VECTOR)
    if isinstance(left, Const):
        return (tail,)
    return guarded(below(0, left), (tail,))
