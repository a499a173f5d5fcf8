"""What a transformation must know about a nest: accesses, strides, dependences between iterations.

A loop is *independent* when no iteration touches an element that another one writes, a *reduction*
when iterations meet only in `Accumulate`s of one operation into an element that none of them reads
otherwise, and *sequential* in every other case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from smelt.ir import dtypes, index, scalar
from smelt.ir.dim import Dim
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import minus, plus, times
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Buffer,
    For,
    Let,
    Stmt,
    Store,
    expressions,
    walk,
)
from smelt.ir.scalar import Const, Expr, Load, Var


class Dependence(Enum):
    """How the iterations of a loop depend on each other."""

    INDEPENDENT = "independent"
    REDUCTION = "reduction"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True)
class Access:
    """One access to a buffer.

    Attributes:
        buffer: what is accessed.
        index: one expression a dimension, with `Let`s of i64 expanded.
        accumulates: operation of an `Accumulate`; "" for loads and stores.
        writes: whether it is a store or an `Accumulate`.
    """

    buffer: Buffer
    index: tuple[Expr, ...]
    accumulates: str
    writes: bool

    @property
    def offset(self) -> Expr:
        """Distance from the first element, in elements."""
        return offset(self.buffer, self.index)


def offset(buffer: Buffer, position: Sequence[Expr]) -> Expr:
    """Return the distance of an element from the buffer's first one, in elements."""
    total: Expr = scalar.integer(0)
    for expr, stride in zip(position, buffer.strides):
        total = plus(total, times(expr, scalar.of_dim(stride)))
    return total


def accesses(body: tuple[Stmt, ...]) -> Iterator[Access]:
    """Yield every access in statements."""
    lets: dict[Expr, Expr] = {}
    for stmt in walk(body):
        for expr in expressions(stmt):
            for part in scalar.walk(expr):
                if isinstance(part, Load):
                    yield Access(part.buffer, _expanded(part.index, lets), "", writes=False)
        match stmt:
            case Let(var, value, _) if var.dtype is dtypes.int64:
                lets[var] = scalar.substitute(value, lets) if lets else value
            case Store(buffer, position, _):
                yield Access(buffer, _expanded(position, lets), "", writes=True)
            case Accumulate(buffer, position, op, _):
                yield Access(buffer, _expanded(position, lets), op, writes=True)
            case _:
                pass


def _expanded(position: tuple[Expr, ...], lets: dict[Expr, Expr]) -> tuple[Expr, ...]:
    return tuple(scalar.substitute(e, lets) for e in position) if lets else position


def allocated_in(body: tuple[Stmt, ...]) -> frozenset[Buffer]:
    """Return the buffers that statements allocate."""
    return frozenset(s.buffer for s in walk(body) if isinstance(s, Alloc))


def ranges_in(body: Iterable[Stmt], ranges: Ranges) -> dict[Var, index.Interval]:
    """Return `ranges` and those of all the variables that statements bind."""
    known = dict(ranges)
    for stmt in walk(tuple(body)):
        match stmt:
            case For(var, start, stop, _, _, step):
                known[var] = index.loop_range(start, stop, known, step)
            case Let(var, value, _) if var.dtype is dtypes.int64:
                known[var] = index.bounds(value, known)
            case _:
                pass
    return known


def dependence(loop: For, ranges: Ranges) -> Dependence:
    """Tell how the iterations of `loop` depend on each other.

    Args:
        loop: the loop.
        ranges: of the variables around it.
    """
    own = allocated_in(loop.body)
    known = ranges_in((loop,), ranges)
    inner = {v for v in known if v not in ranges and v != loop.var}
    shared: dict[Buffer, list[Access]] = {}
    for access in accesses(loop.body):
        if access.buffer not in own:
            shared.setdefault(access.buffer, []).append(access)
    found = Dependence.INDEPENDENT
    for group in shared.values():
        if not any(a.writes for a in group) or _disjoint(group, loop.var, inner, known):
            continue
        operations = {a.accumulates for a in group}
        if len(operations) > 1 or "" in operations:
            return Dependence.SEQUENTIAL
        # Where iterations meet only sometimes, lanes or workers could still collide.
        if any(index.depends(e, loop.var) for a in group for e in a.index):
            return Dependence.SEQUENTIAL
        found = Dependence.REDUCTION
    return found


def _disjoint(group: list[Access], var: Var, inner: set[Var], ranges: Ranges) -> bool:
    """Tell whether different values of `var` touch different elements, for certain."""
    rank = len(group[0].index)
    return any(
        _separates([a.index[d] for a in group], var, inner, ranges) for d in range(rank)
    ) or (rank > 1 and _separates([a.offset for a in group], var, inner, ranges))


def _separates(places: list[Expr], var: Var, inner: set[Var], ranges: Ranges) -> bool:
    """Tell whether equal values of two of `places` imply equal values of `var`.

    Each place must be `stride * var + base + rest`, with one stride and one base (free of `var` and
    of what varies inside), and `0 <= rest < stride` but for multiples of `stride * extent`.
    """
    stride: Expr | None = None
    base: Expr | None = None
    _, last = ranges.get(var, (0, None))
    for place in places:
        step = index.coefficient(place, var, ranges)
        if step is None or (isinstance(step, int) and step <= 0):
            return False
        step = scalar.integer(step) if isinstance(step, int) else step
        zeros: dict[Expr, Expr] = {v: _least(v, ranges) for v in inner}
        at_zero = index.simplify(
            scalar.substitute(place, {**zeros, var: scalar.integer(0)}), ranges
        )
        rest = index.simplify(
            minus(scalar.substitute(place, {var: scalar.integer(0)}), at_zero), ranges
        )
        if any(isinstance(e, Load) for e in scalar.walk(rest)):
            return False
        if isinstance(last, int) and isinstance(step, Const):
            whole = scalar.integer((last + 1) * int(step.value))
            rest = index.simplify(scalar.apply("mod", rest, whole), ranges)
        inside = scalar.apply(
            "and",
            scalar.apply("le", scalar.integer(0), rest),
            scalar.apply("lt", rest, step),
        )
        if index.holds(inside, ranges) is not True:
            return False
        if (stride is not None and step != stride) or (base is not None and at_zero != base):
            return False
        stride, base = step, at_zero
    return True


def _least(var: Var, ranges: Ranges) -> Expr:
    low, _ = ranges.get(var, (0, None))
    return scalar.integer(0 if low is None else low)


def constant_extent(loop: For) -> int | None:
    """Return the number of iterations of a loop with constant bounds, else None."""
    if isinstance(loop.start, Const) and isinstance(loop.stop, Const):
        return max(0, -(-(int(loop.stop.value) - int(loop.start.value)) // loop.step))
    return None


def is_plain(loop: For) -> bool:
    """Tell whether a loop runs from 0 by 1."""
    return loop.start == scalar.integer(0) and loop.step == 1


def static_size(buffer: Buffer) -> int | None:
    """Return the number of elements of a buffer of constant shape, else None."""
    total = 1
    for extent in buffer.shape:
        if isinstance(extent, Dim):
            return None
        total *= extent
    return total
