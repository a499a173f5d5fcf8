"""What a plan for one kernel is: the stages of a fusion group, over common outer axes.

`smelt.ir.group_planner` makes plans; fusion decides by them, and lowering builds kernels from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from smelt.ir import index, scalar
from smelt.ir.dim import Dim
from smelt.ir.graph import Node, Value
from smelt.ir.index_map import ranges_of
from smelt.ir.primitive import Point
from smelt.ir.scalar import Const, Expr, Var


@dataclass(frozen=True)
class Reduction:
    """A reduction inside a group.

    Attributes:
        node: the node.
        domain: where each axis of its stage lies, over axes of the group.
        kept: inner axes on which its result depends, in order.
    """

    node: Node
    domain: Point
    kept: tuple[Var, ...]


@dataclass(frozen=True)
class GroupStage:
    """One nest of inner loops.

    Attributes:
        axes: inner axes that it runs over.
        reductions: what it accumulates.
        stores: values that it stores, with the index of each.
    """

    axes: tuple[Var, ...]
    reductions: tuple[Reduction, ...]
    stores: tuple[tuple[Value, Point], ...]


@dataclass(frozen=True)
class Group:
    """A plan for one kernel.

    Attributes:
        nodes: what it computes, in topological order.
        outputs: what it stores for others.
        extents: extent of each axis.
        outer: axes whose iterations are independent.
        stages: what runs in each outer iteration, in order.
        coordinates: index of each reduced value, over axes of the group.
        reads: what each node reads at each point at which it is evaluated.
        contraction: the node that a template computes, with `stages` as its epilogue.
        nest: the node that brings its own loops; it is alone then.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    extents: Mapping[Var, int | Dim]
    outer: tuple[Var, ...]
    stages: tuple[GroupStage, ...]
    coordinates: Mapping[Value, Point]
    reads: Mapping[tuple[Node, Point], tuple[tuple[Value, Point], ...]]
    contraction: Reduction | None = None
    nest: Node | None = None

    @property
    def ranges(self) -> index.Ranges:
        """What each axis ranges over."""
        return ranges_of(self.extents)


class Illegal(Exception):
    """These nodes cannot share a kernel; says why."""


def inner_axes(
    point: Point, extents: Mapping[Var, int | Dim], outer: frozenset[Var]
) -> tuple[Var, ...]:
    """Return the axes of `point` that are not outer, in order of its dimensions."""
    found: dict[Var, None] = {}
    for expr in point:
        for variable in sorted(scalar.variables(expr), key=lambda v: v.name):
            if variable in extents and variable not in outer:
                found[variable] = None
    return tuple(found)


def inner_point(
    coordinates: Point, point: Point, outer: frozenset[Var], name: str = "a value"
) -> dict[Var, Expr]:
    """Return what the inner axes of a stored value must be for it to be read at `point`.

    Raises:
        Illegal: it would be read at other outer coordinates than it is stored at.
    """
    found: dict[Var, Expr] = {}
    for stored, wanted in zip(coordinates, point):
        if stored == wanted:
            if isinstance(stored, Var):
                if stored not in outer:
                    found.setdefault(stored, wanted)
            elif not scalar.variables(stored) <= outer:
                raise Illegal(f"{name} is stored along a mixture of inner axes")
            continue
        if not isinstance(stored, Var) or stored in outer:
            if isinstance(stored, Const):
                continue
            raise Illegal(f"{name} is read outside its outer iteration")
        if found.setdefault(stored, wanted) != wanted:
            raise Illegal(f"{name} is read off its diagonal")
    return found


def renamed_point(point: Point, renamed: Mapping[Var, Var]) -> Point:
    """Return a point with axes replaced by others."""
    values: dict[Expr, Expr] = {a: b for a, b in renamed.items() if a != b}
    return tuple(scalar.substitute(e, values) for e in point) if values else point


def variables_of(point: Iterable[Expr]) -> frozenset[Var]:
    """Return the variables on which a point depends."""
    found: set[Var] = set()
    for expr in point:
        if isinstance(expr, Var):
            found.add(expr)
        else:
            found |= scalar.variables(expr)
    return frozenset(found)
