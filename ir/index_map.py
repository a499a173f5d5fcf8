"""Index maps between what a node reads and the points at which it is evaluated.

A point is an index whose entries are expressions over the axes of a fusion group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from smelt.ir import index, primitive, scalar
from smelt.ir.dim import Dim
from smelt.ir.graph import Node, Value
from smelt.ir.primitive import Point, definition
from smelt.ir.scalar import Const, Expr, Read, Var, integer
from smelt.ir.structured import Stage
from smelt.ir.types import Shape

DATA = Var("data")
"""Stands for an index that is read from data."""

_AXES = tuple(scalar.axis(k) for k in range(64))
_NUMBER = {axis: number for number, axis in enumerate(_AXES)}


@dataclass(frozen=True, slots=True)
class Edge:
    """How a node reads one operand.

    Attributes:
        value: the operand.
        index: its index map.
        plain: whether it is read everywhere, without a condition.
        same: whether it is read at the very point of the domain.
        covers: whether each of its elements is read exactly once.
    """

    value: Value
    index: tuple[Expr, ...]
    plain: bool
    same: bool
    covers: bool


@lru_cache(maxsize=1 << 15)
def edges(node: Node) -> tuple[Edge, ...]:
    """Return how a node reads its operands; what planning asks of it again and again."""
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    found: list[Edge] = []
    for reader in stage.readers:
        if reader.operand >= len(node.inputs):
            continue
        value = node.inputs[reader.operand]
        covers = node.op.name == "reshape" or _covers(reader.index, value.type.shape, stage.domain)
        # With equal extents, too: a slice that begins at 0 has the same map and a smaller domain.
        same = reader.index == _AXES[: len(stage.domain)] and value.type.shape == stage.domain
        plain = reader.inside is None
        found.append(Edge(value, reader.index, plain, same, covers and plain))
    return tuple(found)


def ranges_of(extents: Mapping[Var, int | Dim]) -> index.Ranges:
    """Return what axes of the given extents range over."""
    return {v: (0, top_of(e)) for v, e in extents.items()}


def top_of(extent: int | Dim) -> int | Expr:
    """Return the last position along an extent."""
    return extent - 1 if isinstance(extent, int) else scalar.of_dim(extent - 1)


def mapped(indices: Iterable[Expr], point: Point, ranges: index.Ranges) -> Point:
    """Return an index map, over the axes of a stage, at a point of its domain.

    What the map reads from data stands as `DATA`.
    """
    found: list[Expr] = []
    for expr in indices:
        number = _NUMBER.get(expr) if isinstance(expr, Var) else None
        if number is not None:
            found.append(point[number])
        elif isinstance(expr, Const):
            found.append(expr)
        elif any(isinstance(e, Read) for e in scalar.walk(expr)):
            found.append(DATA)
        else:
            moved = scalar.substitute(expr, dict(zip(_AXES, point)))
            found.append(index.simplify(moved, ranges))
    return tuple(found)


def inverse_of_reshape(source: Shape, target: Shape, point: Point, ranges: index.Ranges) -> Point:
    """Return where the element at `point` of a tensor goes when it is reshaped to `target`."""
    offset: Expr = integer(0)
    for extent, position in zip(source, point):
        offset = scalar.apply("mul", offset, scalar.of_dim(extent))
        offset = scalar.apply("add", offset, position)
    found: list[Expr] = []
    step: int | Dim = 1
    for number, extent in reversed(list(enumerate(target))):
        position = scalar.apply("floordiv", offset, scalar.of_dim(step))
        if number:
            position = scalar.apply("mod", position, scalar.of_dim(extent))
        found.append(index.simplify(position, ranges))
        step = extent * step
    return tuple(reversed(found))


def _covers(indices: tuple[Expr, ...], extents: Shape, domain: Shape) -> bool:
    """Tell whether an index map is one to one: a permutation of the axes, size-1 dims aside."""
    seen: set[int] = set()
    for expr, extent in zip(indices, extents):
        if extent == 1:
            continue
        number = _NUMBER.get(expr) if isinstance(expr, Var) else None
        if number is None or number in seen or domain[number] != extent:
            return False
        seen.add(number)
    return all(a in seen or e == 1 for a, e in enumerate(domain))


def inverted(
    indices: tuple[Expr, ...], extents: Shape, domain: Shape, point: Point
) -> dict[int, Expr] | None:
    """Return at which axes of a stage its operand is read at `point`; None if not one to one."""
    known: dict[int, Expr] = {}
    for expr, position, extent in zip(indices, point, extents):
        number = _NUMBER.get(expr) if isinstance(expr, Var) else None
        if number is not None and number not in known and domain[number] == extent:
            known[number] = position
        elif not isinstance(position, Const):
            return None
    return known


def forget_nodes() -> None:
    """Let go of what is remembered of nodes, so that their graphs and constants can go too."""
    edges.cache_clear()
    primitive.forget_nodes()
