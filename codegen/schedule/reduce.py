"""Vectorise reductions, and keep long sums accurate.

A nest of loops whose iterations meet only in `Accumulate`s gets several vectors of partial results,
which are folded at the end, and no accumulator takes more than `LIMIT` additions in a row:

    for i in serial(0, 4096):         local part: f32[4, 16]
        acc[] += x[i]                 part = 0
                                      for j in serial(0, 64):
                               →          for u in unroll(0, 4):
                                              for l in vector(0, 16):
                                                  part[u, l] += x[j * 64 + u * 16 + l]
                                      for l in vector(0, 16):
                                          acc[] += part[0, l] + … + part[3, l]

Longer nests are cut into blocks, each with partial results of its own, folded into those of the
next level. (Blocked summation: N. Higham, "Accuracy and Stability of Numerical Algorithms", ch. 4.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smelt.codegen.schedule.analysis import constant_extent
from smelt.codegen.schedule.cost import is_dear
from smelt.codegen.schedule.rewrite import (
    Body,
    copied,
    simplified,
    substituted,
    with_bodies,
    with_buffers,
)
from smelt.codegen.schedule.vectorise import narrowed
from smelt.ir import scalar
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import (
    Names,
    allocated,
    below,
    bound_names,
    divided,
    divided_up,
    for_nest,
    guarded,
    lesser,
    load,
    local,
    loop,
    minus,
    plus,
    times,
)
from smelt.ir.loop.grammar import (
    Accumulate,
    Buffer,
    For,
    Kind,
    Space,
    Stmt,
    Store,
    row_major_buffer,
    walk,
)
from smelt.ir.scalar import Const, Expr, Load
from smelt.ir.structured import monoid

LIMIT = 512
"""Additions that an accumulator takes before it is folded into the next level."""

_BLOCK_STEPS = 256
_UNROLLED = 4


@dataclass(frozen=True)
class Target:
    """An element that a nest accumulates into.

    Attributes:
        buffer: where it is.
        index: its place, the same for all iterations.
        op: how it is combined.
    """

    buffer: Buffer
    index: tuple[Expr, ...]
    op: str


def targets(body: Body) -> tuple[Target, ...]:
    """Return the elements that statements accumulate into, each once."""
    found = [Target(s.buffer, s.index, s.op) for s in walk(body) if isinstance(s, Accumulate)]
    return tuple(dict.fromkeys(found))


def split(found: For, size: int, names: Names) -> tuple[For, For, dict[Expr, Expr]]:
    """Return the loop over blocks of `size` iterations, the one inside, and the old variable.

    Both loops come without a body; a body needs the old variable replaced as the mapping says.
    """
    block = names.var(found.var.name)
    within = names.var(found.var.name)
    extent = constant_extent(found)
    begin = times(block, size)
    even = extent is not None and extent % size == 0
    stop = scalar.integer(size) if even else lesser(size, minus(found.stop, begin))
    outer = loop(block, divided_up(found.stop, size), (), comment=found.comment)
    return outer, loop(within, stop, ()), {found.var: plus(begin, within)}


def vectorise_reduction(
    loops: Sequence[For], body: Body, lanes: int, names: Names, ranges: Ranges
) -> Body:
    """Return a nest that reduces over all its loops, with the innermost one across the lanes.

    Args:
        loops: from 0 by 1, outermost first; no bound depends on another loop of the nest.
        body: straight statements; each accumulates into an element that no loop changes, or
            stores what no other iteration touches.
        lanes: width of a vector.
        names: supply of names of the kernel.
        ranges: of the variables around the nest.
    """
    inner = loops[-1]
    extent = constant_extent(inner)
    lanes = narrowed(lanes, extent)
    unrolled = 1 if is_dear(body) else _UNROLLED
    if extent is not None:
        unrolled = max(1, min(unrolled, extent // lanes))
    width = unrolled * lanes
    outer = list(loops[:-1])
    nested: list[For] = []
    if extent is None or extent > _BLOCK_STEPS * width:
        block, inner, place = split(inner, _BLOCK_STEPS * width, names)
        body = substituted(body, place)
        outer.append(block)
    else:
        steps = -(-extent // width) + 1
        while outer and (count := constant_extent(outer[-1])) is not None:
            if steps * count > LIMIT:
                room = LIMIT // steps
                if room > 1:
                    block, within, place = split(outer.pop(), room, names)
                    body = substituted(body, place)
                    outer.append(block)
                    nested.insert(0, within)
                break
            steps *= max(count, 1)
            nested.insert(0, outer.pop())
    if extent is not None and extent <= lanes and not nested:
        found = _one_vector(inner, extent, body, lanes, names)
    else:
        found = _with_partials(nested, inner, body, _Shape(unrolled, lanes), names)
    return simplified(blocked(outer, found, names), ranges)


def _one_vector(inner: For, extent: int, body: Body, lanes: int, names: Names) -> Body:
    """Return a loop that fits into one vector, whose lanes are folded at once."""
    lane = names.var("l")
    guard = None if extent == lanes else below(lane, extent)
    copy = copied(body, names, {inner.var: lane})
    return (loop(lane, lanes, guarded(guard, copy), Kind.VECTOR),)


@dataclass(frozen=True)
class _Shape:
    """Number and width of the vectors of partial results."""

    unrolled: int
    lanes: int


def _with_partials(
    nested: Sequence[For], inner: For, body: Body, shape: _Shape, names: Names
) -> Body:
    """Return loops that reduce into vectors of partial results and fold these at the end."""
    unrolled, lanes = shape.unrolled, shape.lanes
    reduced = targets(body)
    parts = {
        t: local(names.fresh(f"{t.buffer.name}_part"), t.buffer.dtype, (unrolled, lanes))
        for t in reduced
    }

    def vector(begin: Expr, u: Expr, condition: Expr | None = None) -> Stmt:
        lane = names.var("l")
        place: dict[Expr, Expr] = {inner.var: plus(begin, lane)}
        into = {t: (part, (u, lane)) for t, part in parts.items()}
        copy = copied(_redirected(body, into), names, place)
        guard = None if condition is None else below(lane, condition)
        return loop(lane, lanes, guarded(guard, copy), Kind.VECTOR)

    width = unrolled * lanes
    whole = divided(inner.stop, width)
    stmts: list[Stmt] = []
    if whole != scalar.integer(0):
        block, u = names.var(inner.var.name), names.var("u")
        begin = plus(times(block, width), times(u, lanes))
        vectors = loop(u, unrolled, [vector(begin, u)], Kind.UNROLL)
        stmts.append(loop(block, whole, [vectors]))
    begin = times(whole, width)
    left = minus(inner.stop, begin)
    if isinstance(left, Const):
        count, rest = divmod(int(left.value), lanes)
        for u in range(count):
            stmts.append(vector(plus(begin, u * lanes), scalar.integer(u)))
        if rest:
            last = scalar.integer(count if count < unrolled else 0)
            stmts.append(vector(plus(begin, count * lanes), last, scalar.integer(rest)))
    else:
        t = names.var("t")
        start = times(t, lanes)
        tail = vector(plus(begin, start), scalar.integer(0), minus(left, start))
        stmts.append(loop(t, divided_up(left, lanes), [tail]))
    for around in reversed(nested):
        stmts = [replace(around, body=tuple(stmts))]
    begin_stmts = [_initialised(t, part, shape, names) for t, part in parts.items()]
    end_stmts = [_folded(t, part, shape, names) for t, part in parts.items()]
    return allocated(list(parts.values()), [*begin_stmts, *stmts, *end_stmts])


def _redirected(body: Body, into: Mapping[Target, tuple[Buffer, tuple[Expr, ...]]]) -> Body:
    """Return statements that accumulate elsewhere."""

    def visit(stmt: Stmt) -> Stmt:
        if isinstance(stmt, Accumulate):
            found = into.get(Target(stmt.buffer, stmt.index, stmt.op))
            return stmt if found is None else replace(stmt, buffer=found[0], index=found[1])
        return with_bodies(stmt, lambda b: tuple(visit(s) for s in b))

    return tuple(visit(s) for s in body)


def _initialised(target: Target, part: Buffer, shape: _Shape, names: Names) -> Stmt:
    u, lane = names.var("u"), names.var("l")
    (identity,) = monoid(target.op, part.dtype).identity
    vector = loop(lane, shape.lanes, [Store(part, (u, lane), identity)], Kind.VECTOR)
    return loop(u, shape.unrolled, [vector], Kind.UNROLL)


def _folded(target: Target, part: Buffer, shape: _Shape, names: Names) -> Stmt:
    lane = names.var("l")
    values: list[Expr] = [load(part, u, lane) for u in range(shape.unrolled)]
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2])
        odd = values[-1:] if len(values) % 2 else []
        values = [scalar.apply(target.op, a, b) for a, b in pairs] + odd
    fold = Accumulate(target.buffer, target.index, target.op, values[0])
    return loop(lane, shape.lanes, [fold], Kind.VECTOR)


def blocked(loops: Sequence[For], body: Body, names: Names) -> Body:
    """Return serial loops around statements that accumulate, cut into blocks of `LIMIT` additions.

    Args:
        loops: from 0 by 1, outermost first, whose iterations meet only in `Accumulate`s.
        body: what they run; one iteration adds once to each element it accumulates into.
        names: supply of names of the kernel.
    """
    rounds = any(t.op in ("add", "mul") and t.buffer.dtype.is_floating_point for t in targets(body))
    count = 1
    for found in reversed(loops):
        levels = 0
        while True:
            extent = constant_extent(found)
            small = extent is not None and count * extent <= LIMIT
            if not rounds or small or (extent is None and levels == 2):
                body = (replace(found, body=body),)
                count = LIMIT if extent is None else min(LIMIT, count * max(extent, 1))
                break
            block, within, place = split(found, max(1, LIMIT // count), names)
            inner = (replace(within, body=substituted(body, place)),)
            body = _with_level(inner, names)
            found, count, levels = block, 1, levels + 1
    return body


def _with_level(body: Body, names: Names) -> Body:
    """Return statements that accumulate into memory of their own, folded into the old one."""
    inside = bound_names(body)
    begin: list[Stmt] = []
    end: list[Stmt] = []
    buffers: list[Buffer] = []
    into: dict[Target, tuple[Buffer, tuple[Expr, ...]]] = {}
    clones: dict[Buffer, Buffer] = {}
    for target in targets(body):
        if target.buffer.name in inside or target.buffer in clones:
            continue
        (identity,) = monoid(target.op, target.buffer.dtype).identity
        fixed = not any(v.name in inside for e in target.index for v in scalar.variables(e))
        if fixed:
            level = local(names.fresh(f"{target.buffer.name}_level"), target.buffer.dtype, ())
            into[target] = (level, ())
            begin.append(Store(level, (), identity))
            end.append(Accumulate(target.buffer, target.index, target.op, load(level)))
        elif target.buffer.space is Space.GLOBAL:
            continue
        else:
            old = target.buffer
            name = names.fresh(f"{old.name}_level")
            level = row_major_buffer(name, old.dtype, old.shape, old.space)
            clones[old] = level
            axes = [(names.var("e"), extent) for extent in old.shape]
            begin += for_nest(axes, [Store(level, tuple(v for v, _ in axes), identity)])
            axes = [(names.var("e"), extent) for extent in old.shape]
            place = tuple(v for v, _ in axes)
            end += for_nest(axes, [Accumulate(old, place, target.op, Load(level, place))])
        buffers.append(level)
    inner = with_buffers(_redirected(body, into), clones)
    return allocated(buffers, [*begin, *inner, *end])
