"""Share a long reduction among workers: partial results first, then their combination.

    for p in 0..16:                              # independent: goes to several workers
        acc = 0
        for j in 0..65536: acc += x[p * 65536 + j]
        partial[p] = acc
    acc = 0
    for p in 0..16: acc += partial[p]
    y[0] = acc

This serves groups that are one stage of reductions and nothing else, with too few outer iterations
for the workers that there are. How many parts there are depends on the number of workers, so that
programs give the same bits again for the same number.
"""

from __future__ import annotations

from dataclasses import replace

from smelt.codegen.lower.builder import KernelBuilder, Segment, flat_buffer, folded, offset
from smelt.codegen.lower.nest import Item, Loop, nest
from smelt.codegen.lower.split import rewritten
from smelt.codegen.target import Target
from smelt.ir import scalar
from smelt.ir.graph import Value
from smelt.ir.group import Group, GroupStage, Reduction
from smelt.ir.loop.builder import for_nest
from smelt.ir.loop.grammar import Buffer, Stmt, Store
from smelt.ir.primitive import definition
from smelt.ir.scalar import Expr, Load, Var, integer
from smelt.ir.structured import Stage
from smelt.ir.types import TensorType, row_major_strides

# Fewer points than this are not worth a second pass over partial results.
_WORTH = 1 << 17
_PARTS_A_WORKER = 4


def with_parts(group: Group, target: Target) -> tuple[Group, Var] | None:
    """Return the plan with one summed axis split into parts, and the axis that counts them.

    Returns:
        None where the group is not of this kind or has iterations enough.
    """
    if target.threads < 2 or len(group.stages) != 1 or group.contraction is not None:
        return None
    (stage,) = group.stages
    if stage.stores or not stage.reductions:
        return None
    outer, inner = (_points(group, axes) for axes in (group.outer, stage.axes))
    if outer is None or inner is None or outer >= target.threads or outer * inner < _WORTH:
        return None
    kept = {a for r in stage.reductions for a in r.kept}
    best: tuple[int, Var] | None = None
    for axis in stage.axes:
        extent = group.extents[axis]
        if axis in kept or not isinstance(extent, int):
            continue
        parts = _parts(extent, target.threads)
        if parts >= 2 and (best is None or parts > best[0]):
            best = parts, axis
    if best is None:
        return None
    parts, axis = best
    extent = group.extents[axis]
    assert isinstance(extent, int), "parts are of constant extents"
    part, rest = Var(f"{axis.name}_part"), Var(f"{axis.name}_rest")
    whole = scalar.apply("mul", part, integer(extent // parts))
    extents = {a: e for a, e in group.extents.items() if a != axis}
    extents |= {part: parts, rest: extent // parts}
    split = {a: (a,) for a in group.extents} | {axis: (part, rest)}
    return rewritten(group, {axis: scalar.apply("add", whole, rest)}, split, extents), part


def _points(group: Group, axes: tuple[Var, ...]) -> int | None:
    total = 1
    for axis in axes:
        extent = group.extents[axis]
        if not isinstance(extent, int):
            return None
        total *= extent
    return total


def _parts(extent: int, threads: int) -> int:
    """Return the greatest divisor of an extent that is not above the parts wanted."""
    most = min(extent, threads * _PARTS_A_WORKER)
    return next(n for n in range(most, 0, -1) if extent % n == 0)


def in_parts(builder: KernelBuilder, part: Var) -> tuple[Stmt, ...]:
    """Return the two nests of a reduction in parts; `part` is an axis of its only stage."""
    group = builder.group
    (found,) = group.stages
    builder.entered.update(group.outer)
    rest = tuple(a for a in found.axes if a != part)
    stage = builder.entering(replace(found, axes=(*group.outer, part, *rest)))
    outside, inside = stage.axes[: len(group.outer) + 1], stage.axes[len(group.outer) + 1 :]
    segments: list[Segment] = []
    for reduction in stage.reductions:
        segments += builder.begin(reduction)
    draft = builder.evaluate(GroupStage(inside, stage.reductions, ()))
    loops: list[Loop] = [(a, builder.extent(a)) for a in inside]
    items = [*draft.inliner.checks, *draft.items]
    segments.append(Segment(stmts=nest(loops, items, draft.inliner.bound, builder.names)))
    shelves: dict[Reduction, tuple[Buffer, ...]] = {}
    for reduction in stage.reductions:
        shelves[reduction] = _shelves(builder, reduction, outside)
        segments.append(Segment(stmts=_shelved(builder, reduction, shelves[reduction], outside)))
    first = for_nest([(a, builder.extent(a)) for a in outside], folded(segments))
    segments = []
    for reduction in stage.reductions:
        segments += builder.begin(reduction)
        counter = builder.names.var(part.name)
        axes = (*group.outer, counter, *(builder.names.var(a.name) for a in reduction.kept))
        known = (*outside, *reduction.kept)
        for axis, old in zip(axes, known):
            builder.extents[axis] = builder.extents[old]
            builder.ranges[axis] = builder.ranges[old]
        extents = tuple(builder.extent(a) for a in axes)
        place = offset(axes, row_major_strides(extents), builder.ranges)
        parts: tuple[Expr, ...] = tuple(Load(b, (place,)) for b in shelves[reduction])
        bound: dict[Var, Expr] = {}
        again = builder.combination(reduction, parts, axes[len(outside) :], bound)
        over: list[Loop] = [(a, builder.extent(a)) for a in axes[len(group.outer) :]]
        segments.append(Segment(stmts=nest(over, again, bound, builder.names)))
    for reduction in stage.reductions:
        segments += builder.end(reduction)
    last = for_nest([(a, builder.extent(a)) for a in group.outer], folded(segments))
    return (*first, *last)


def _shelves(
    builder: KernelBuilder, reduction: Reduction, outside: tuple[Var, ...]
) -> tuple[Buffer, ...]:
    """Return parameters that hold the partial results of a reduction."""
    stage = definition(reduction.node)
    assert isinstance(stage, Stage) and stage.combine is not None, "reductions are stages"
    shape = tuple(builder.extent(a) for a in (*outside, *reduction.kept))
    found: list[Buffer] = []
    for identity in stage.combine.identity:
        value = Value(TensorType(identity.dtype, shape))
        buffer = flat_buffer(builder.names.fresh("partial"), value, row_major_strides(shape))
        builder.params[value] = buffer
        builder.written.add(buffer.name)
        found.append(buffer)
    return tuple(found)


def _shelved(
    builder: KernelBuilder,
    reduction: Reduction,
    shelves: tuple[Buffer, ...],
    outside: tuple[Var, ...],
) -> tuple[Stmt, ...]:
    """Return the loops that store the accumulators of one part."""
    kept = tuple(builder.names.var(a.name) for a in reduction.kept)
    for axis, old in zip(kept, reduction.kept):
        builder.extents[axis] = builder.extents[old]
        builder.ranges[axis] = builder.ranges[old]
    axes = (*outside, *kept)
    extents = tuple(builder.extent(a) for a in axes)
    place = offset(axes, row_major_strides(extents), builder.ranges)
    accumulators = builder.stored[reduction.node.outputs[0]]
    items: list[Item] = [
        Store(shelf, (place,), Load(a, kept)) for shelf, a in zip(shelves, accumulators)
    ]
    return nest([(a, builder.extent(a)) for a in kept], items, {}, builder.names)
