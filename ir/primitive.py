"""What planning asks of a primitive node: its definition, how it is computed, what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache

from smelt.ir import dim as dims
from smelt.ir import scalar
from smelt.ir.contraction import contraction
from smelt.ir.dim import Dim
from smelt.ir.graph import Node
from smelt.ir.op import Lower
from smelt.ir.scalar import SCALAR_OPS, Apply, Const, Expr, Var, integer
from smelt.ir.structured import Definition, Stage, is_movement

Point = tuple[Expr, ...]

# Below this many products, or with a side shorter than this, a product is an ordinary reduction.
_CONTRACTION_WORK = 8192
_CONTRACTION_SIDE = 4
_ORDINARY_EXTENT = 256

# Up to so many points, a window (of a pooling, say) is unrolled and not a reduction any more.
_UNROLLED_WINDOW = 9


@lru_cache(maxsize=1 << 15)
def definition(node: Node) -> Definition:
    """Return the structured definition of a primitive node."""
    assert isinstance(node.op.rule, Lower), f"{node.op.name} has no structured definition"
    return node.op.rule.define(node.attrs, *node.input_types)


@lru_cache(maxsize=1 << 15)
def is_template_contraction(node: Node) -> bool:
    """Tell whether a node is a contraction that is worth a template."""
    stage = definition(node)
    axes = contraction(stage) if isinstance(stage, Stage) else None
    if axes is None or not isinstance(stage, Stage):
        return False
    sides = [_guess(stage.domain[a] for a in part) for part in (axes.m, axes.n, axes.k)]
    return min(sides) >= _CONTRACTION_SIDE and _guess(stage.domain) >= _CONTRACTION_WORK


def _guess(extents: Iterable[int | Dim]) -> int:
    """Return a product of extents, in which a symbolic one counts as an ordinary size."""
    return _product(e if isinstance(e, int) else _ORDINARY_EXTENT for e in extents)


@lru_cache(maxsize=1 << 15)
def is_reduction(node: Node) -> bool:
    """Tell whether a node is reduced by loops; small windows are unrolled instead."""
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    if not stage.reduce_axes:
        return False
    return not _is_small(stage) or is_template_contraction(node)


def _is_small(stage: Stage) -> bool:
    extents = [stage.domain[a] for a in stage.reduce_axes]
    return dims.is_static(*extents) and 0 < _product(extents) <= _UNROLLED_WINDOW


@lru_cache(maxsize=1 << 15)
def is_unrolled(node: Node) -> bool:
    """Tell whether a node sums or compares the points of a small window."""
    stage = definition(node)
    return isinstance(stage, Stage) and bool(stage.reduce_axes) and not is_reduction(node)


def domains_of(node: Node, point: Point) -> tuple[Point, ...]:
    """Return the points of a node's domain that make up its result at `point`.

    For an unrolled window these are all of its points, in order; otherwise the one point itself.
    """
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    if not stage.reduce_axes or is_reduction(node):
        return (point,)
    counts = (stage.domain[a] for a in stage.reduce_axes)
    found: list[Point] = []
    for window in itertools.product(*(range(c) for c in counts if isinstance(c, int))):
        kept, offsets = iter(point), iter(window)
        found.append(
            tuple(
                integer(next(offsets)) if a in stage.reduce_axes else next(kept)
                for a in range(len(stage.domain))
            )
        )
    return tuple(found)


@lru_cache(maxsize=1 << 15)
def node_cost(node: Node) -> float:
    """Return the cost of one evaluation of a node's body."""
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    exprs: list[Expr] = list(stage.body)
    if stage.combine is not None:
        exprs += stage.combine.combine
    exprs += [r.inside for r in stage.readers if r.inside is not None]
    if not is_movement(stage):
        exprs += [e for r in stage.readers for e in r.index if not isinstance(e, Var | Const)]
    times = 1
    if stage.reduce_axes and not is_reduction(node):
        times = _product(stage.domain[a] for a in stage.reduce_axes)
    return times * float(
        sum(
            SCALAR_OPS[e.op].cost.value
            for x in exprs
            for e in scalar.walk(x)
            if isinstance(e, Apply)
        )
    )


def _product(extents: Iterable[int | Dim]) -> int:
    total = 1
    for extent in extents:
        assert isinstance(extent, int), "only static extents are multiplied here"
        total *= extent
    return total


def forget_nodes() -> None:
    """Let go of what is remembered of nodes here."""
    for remembered in (definition, is_template_contraction, is_reduction, is_unrolled, node_cost):
        remembered.cache_clear()
