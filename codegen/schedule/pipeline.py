"""Schedule a kernel: serial loops become vector, unrolled and parallel ones.

Every nest is treated in turn. Loops that run over straight statements are joined where their
indices allow, the one along which memory is read in order goes across the lanes, and reductions get
partial results. Around them, independent loops go to several workers where the work is worth it; a
loop around several inner nests (a row of a softmax, a column of a sum) goes across the lanes itself
where that suits memory better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from smelt.codegen.schedule.analysis import (
    Dependence,
    accesses,
    allocated_in,
    constant_extent,
    dependence,
    is_plain,
    ranges_in,
    static_size,
)
from smelt.codegen.schedule.collapse import joined
from smelt.codegen.schedule.cost import ASSUMED_EXTENT, is_dear, work
from smelt.codegen.schedule.factor import unclamped
from smelt.codegen.schedule.parallelise import around, parallelised
from smelt.codegen.schedule.reduce import blocked, vectorise_reduction
from smelt.codegen.schedule.rewrite import Body, simplified, with_bodies
from smelt.codegen.schedule.vectorise import (
    axis_cost,
    best_axis,
    lanes_for,
    straight_work,
    vectorise,
)
from smelt.codegen.target import Target
from smelt.ir import index
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import Names, names_in
from smelt.ir.loop.grammar import Comment, For, If, Kernel, Kind, Let, Space, Stmt, bodies, walk
from smelt.ir.scalar import Var

_LANE_BYTES = 16384
_OUTER_BETTER = 0.75
_WIDE = 4


def schedule_kernel(kernel: Kernel, target: Target) -> Kernel:
    """Return a kernel of serial loops as it is to be emitted for `target`.

    Loops of other kinds, and what is inside of them, stay as they are.
    """
    work = _Scheduler(kernel.precise, target, names_in(kernel))
    ranges: Ranges = {Var(n): (0, None) for n in kernel.sizes}
    body: list[Stmt] = []
    for stmt in kernel.body:
        done = any(isinstance(s, For) and s.kind is not Kind.SERIAL for s in walk((stmt,)))
        body += (stmt,) if done else work.block(simplified((stmt,), ranges), ranges, top=True)
    return replace(kernel, body=tuple(body))


@dataclass(frozen=True)
class _Nest:
    """Perfectly nested loops and what the innermost one runs."""

    loops: list[For]
    body: Body


def _perfect(found: For) -> _Nest:
    """Return the loops below `found` that contain one loop and nothing else."""
    loops = [found]
    body = found.body
    while True:
        inner = [s for s in body if not isinstance(s, Comment)]
        if len(inner) != 1 or not isinstance(inner[0], For) or inner[0].kind is not Kind.SERIAL:
            return _Nest(loops, body)
        loops.append(inner[0])
        body = inner[0].body


class _Scheduler:
    """Schedules one kernel."""

    def __init__(self, precise: bool, target: Target, names: Names) -> None:
        self.precise = precise
        self.target = target
        self.names = names

    def block(self, body: Body, ranges: Ranges, top: bool) -> Body:
        """Return statements scheduled; `top` where a parallel loop may stand."""
        result: list[Stmt] = []
        for stmt in body:
            match stmt:
                case For(kind=Kind.SERIAL):
                    result.extend(self.nest(stmt, ranges, top))
                case For() | If():
                    result.append(stmt if isinstance(stmt, For) else self.inside(stmt, ranges))
                case Let():
                    known = ranges_in((replace(stmt, body=()),), ranges)
                    result.append(replace(stmt, body=self.block(stmt.body, known, top)))
                case _:
                    result.append(self.inside(stmt, ranges))
        return tuple(result)

    def inside(self, stmt: Stmt, ranges: Ranges) -> Stmt:
        return with_bodies(stmt, lambda b: self.block(b, ranges, top=False))

    def nest(self, found: For, ranges: Ranges, top: bool) -> Body:
        """Return a nest of serial loops scheduled."""
        nest = _perfect(found)
        kinds: list[Dependence] = []
        known = dict(ranges)
        for each in nest.loops:
            kinds.append(self.dependence(each, known))
            known = ranges_in((replace(each, body=()),), known)
        # Loops around a sequential one keep their order, and so does it.
        fixed = max((n + 1 for n, k in enumerate(kinds) if k is Dependence.SEQUENTIAL), default=0)
        while fixed < len(kinds) and not _is_movable(nest.loops[fixed:]):
            fixed += 1
        if fixed:
            outer = ranges_in([replace(f, body=()) for f in nest.loops[:fixed]], ranges)
            inner = around(nest.loops[fixed:], nest.body)
            if fixed < len(nest.loops):
                inner = self.block(inner, outer, top=False)
            elif _has_loops(nest.body):
                inner = self.block(nest.body, outer, top=False)
            return self.given_out(nest.loops[:fixed], kinds[:fixed], inner, found, top)
        if _has_loops(nest.body):
            return self.outer(nest, kinds, ranges, found, top)
        return self.leaf(nest, kinds, ranges, found, top)

    def dependence(self, found: For, ranges: Ranges) -> Dependence:
        """Return the dependence of a loop; order matters for what must be precise."""
        kind = dependence(found, ranges)
        if self.precise and kind is Dependence.REDUCTION:
            return Dependence.SEQUENTIAL
        return kind

    def given_out(
        self, loops: Sequence[For], kinds: Sequence[Dependence], body: Body, whole: For, top: bool
    ) -> Body:
        """Return loops in their order around a scheduled body, parallel as far as allowed."""
        free = 0
        while free < len(loops) and kinds[free] is Dependence.INDEPENDENT:
            free += 1
        inner = around(loops[free:], body)
        if not top:
            return around(loops[:free], inner)
        return parallelised(loops[:free], inner, work((whole,)), self.target, self.names)

    def outer(
        self, nest: _Nest, kinds: list[Dependence], ranges: Ranges, whole: For, top: bool
    ) -> Body:
        """Return loops around several inner nests."""
        known = ranges_in([replace(f, body=()) for f in nest.loops], ranges)
        last = nest.loops[-1]
        if kinds[-1] is Dependence.INDEPENDENT and self.suits_lanes(last, nest.body, known):
            lanes = lanes_for(nest.body, self.target)
            extent = constant_extent(last)
            if extent is not None and extent >= _WIDE * lanes and not is_dear(_flat(nest.body)):
                lanes *= _WIDE
            body = self.accurate(nest.body)
            before = ranges_in([replace(f, body=()) for f in nest.loops[:-1]], ranges)
            stmts = vectorise(replace(last, body=body), lanes, self.names, before)
            return self.spread(nest.loops[:-1], kinds[:-1], stmts, whole, top)
        body = self.block(nest.body, known, top=False)
        free = sum(1 for _ in takewhile(lambda k: k is Dependence.INDEPENDENT, kinds))
        if all(k is Dependence.REDUCTION for k in kinds[free:]):
            body = blocked(nest.loops[free:], body, self.names)
            return self.given_out(nest.loops[:free], kinds[:free], body, whole, top)
        return self.given_out(nest.loops, kinds, body, whole, top)

    def spread(
        self, loops: Sequence[For], kinds: Sequence[Dependence], stmts: Body, whole: For, top: bool
    ) -> Body:
        """Return loops around the vector loops that an independent loop became.

        Without loops around them, the first of the vector loops' own is parallel.
        """
        if loops or not top:
            return self.given_out(loops, kinds, stmts, whole, top)
        main = stmts[0]
        if isinstance(main, For) and main.kind is Kind.SERIAL:
            first = parallelised([main], main.body, work((whole,)), self.target, self.names)
            return (*first, *stmts[1:])
        return stmts

    def suits_lanes(self, found: For, body: Body, ranges: Ranges) -> bool:
        """Tell whether a loop around inner nests should go across the lanes itself."""
        extent = constant_extent(found)
        lanes = lanes_for(body, self.target)
        if extent is not None and extent < lanes // 2:
            return False
        for buffer in allocated_in(body):
            size = static_size(buffer)
            if buffer.space is not Space.LOCAL or size is None:
                return False
            if size * buffer.dtype.itemsize * lanes * _WIDE > _LANE_BYTES:
                return False
        inner_loops = [s for s in walk(body) if isinstance(s, For)]
        if any(f.kind is not Kind.SERIAL for f in inner_loops):
            return False
        if any(index.depends(e, found.var) for f in inner_loops for e in (f.start, f.stop)):
            return False
        known = ranges_in(body, ranges)
        along, across = 0.0, 0.0
        for nest in _leaves(body):
            weight = 1.0
            for each in nest.loops:
                count = constant_extent(each)
                weight *= ASSUMED_EXTENT if count is None else count
            filled = lanes if extent is None else extent / -(-extent // lanes)
            along += weight * axis_cost(found.var, nest.body, lanes, known) / filled
            _, cost = best_axis(nest.loops, nest.body, lanes, known)
            if self.precise:
                cost = straight_work(nest.body)
            across += weight * cost
        return along < _OUTER_BETTER * across

    def accurate(self, body: Body) -> Body:
        """Return statements that stay scalar with their long sums cut into blocks."""
        result: list[Stmt] = []
        for stmt in body:
            if isinstance(stmt, For) and stmt.kind is Kind.SERIAL and not self.precise:
                nest = _perfect(stmt)
                kinds = [dependence(f, {}) for f in nest.loops]
                if not _has_loops(nest.body) and all(k is Dependence.REDUCTION for k in kinds):
                    result.extend(blocked(nest.loops, nest.body, self.names))
                    continue
            result.append(with_bodies(stmt, self.accurate))
        return tuple(result)

    def leaf(
        self, nest: _Nest, kinds: list[Dependence], ranges: Ranges, whole: For, top: bool
    ) -> Body:
        """Return loops over straight statements, all free to change places."""
        free = [f for f, k in zip(nest.loops, kinds) if k is Dependence.INDEPENDENT]
        reducing = [f for f, k in zip(nest.loops, kinds) if k is Dependence.REDUCTION]
        free, body = joined(free, nest.body, self.names, ranges)
        reducing, body = joined(reducing, body, self.names, ranges)
        known = ranges_in([replace(f, body=()) for f in (*free, *reducing)], ranges)
        known = ranges_in(body, known)
        body = unclamped(body, known)
        lanes = lanes_for(body, self.target)
        chosen, _ = best_axis([*free, *reducing], body, lanes, known)
        independent = [Dependence.INDEPENDENT] * len(free)
        if chosen is None or chosen >= len(free):
            if chosen is None:
                stmts = blocked(reducing, body, self.names)
            else:
                axis = reducing.pop(chosen - len(free))
                before = ranges_in([replace(f, body=()) for f in free], ranges)
                order = [*reducing, axis]
                stmts = vectorise_reduction(order, body, lanes, self.names, before)
            return self.given_out(free, independent, stmts, whole, top)
        axis = free.pop(chosen)
        independent.pop()
        partner = None if reducing else self.partner(free, body, known)
        if partner is not None:
            # Its neighbours share cache lines with what this loop gathers.
            free.remove(partner)
            independent.pop()
            body = (replace(partner, body=body),)
        around_axis = ranges_in([replace(f, body=()) for f in (*free, *reducing)], ranges)
        stmts = vectorise(replace(axis, body=body), lanes, self.names, around_axis)
        if reducing:
            # What comes first now is a loop of a sum: it is not to be shared.
            stmts = blocked(reducing, stmts, self.names)
            return self.given_out(free, independent, stmts, whole, top)
        return self.spread(free, independent, stmts, whole, top)

    def partner(self, free: Sequence[For], body: Body, ranges: Ranges) -> For | None:
        """Return the loop along which accesses are in order that are not so along the lanes."""
        for found in reversed(free):
            for access in accesses(body):
                if index.coefficient(access.offset, found.var, ranges) == 1:
                    return found
        return None


def _is_movable(loops: Sequence[For]) -> bool:
    """Tell whether loops run from 0 by 1 to bounds that do not depend on each other."""
    variables = {f.var for f in loops}
    return all(is_plain(f) and not any(index.depends(f.stop, v) for v in variables) for f in loops)


def _has_loops(body: Body) -> bool:
    return any(isinstance(s, For) for s in walk(body))


def _flat(body: Body) -> Body:
    return tuple(s for n in _leaves(body) for s in n.body)


def _leaves(body: Body) -> list[_Nest]:
    """Return the innermost nests in statements; straight ones count as a nest without loops."""
    found: list[_Nest] = []
    straight: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For):
            nest = _perfect(stmt)
            if _has_loops(nest.body):
                found += [_Nest([*nest.loops, *n.loops], n.body) for n in _leaves(nest.body)]
            else:
                found.append(nest)
        elif _has_loops((stmt,)):
            found += [leaf for block in bodies(stmt) for leaf in _leaves(block)]
        else:
            straight.append(stmt)
    if straight:
        found.append(_Nest([], tuple(straight)))
    return found
