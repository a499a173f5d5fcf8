"""Split axes so that indices need no division: a plan to a plan.

    for i in 0..384:                                for a in 0..3, b in 0..4, c in 0..32:
        x[i // 128, i // 32 % 4, i % 32]     →          x[a, b, c]

Reshapes between what a group reads and what it stores leave quotients and remainders of axes in
its index maps. Where their divisors divide each other, the axis is written in that mixed radix, and
every index becomes a sum of multiples of axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

from smelt.ir import index, scalar
from smelt.ir.dim import Dim
from smelt.ir.group import Group, GroupStage, Reduction
from smelt.ir.index_map import ranges_of
from smelt.ir.primitive import Point
from smelt.ir.scalar import Apply, Const, Expr, Var, integer


def with_split_axes(group: Group) -> Group:
    """Return the plan with axes split where that frees its indices of divisions."""
    fixed = {a for s in group.stages for r in s.reductions for a in r.kept}
    values: dict[Expr, Expr] = {}
    parts: dict[Var, tuple[Var, ...]] = {}
    extents: dict[Var, int | Dim] = {}
    divisors = _divisors(group)
    for axis, extent in group.extents.items():
        radix = None if axis in fixed else _radix(extent, divisors.get(axis, set()))
        if radix is None:
            extents[axis] = extent
            parts[axis] = (axis,)
            continue
        digits = tuple(Var(f"{axis.name}{letter}") for letter, _ in zip("abcdefgh", radix))
        total: Expr = integer(0)
        for digit, count in zip(digits, radix):
            extents[digit] = count
            total = scalar.apply("mul", total, integer(count))
            total = scalar.apply("add", total, digit)
        values[axis] = total
        parts[axis] = digits
    if not values:
        return group
    return rewritten(group, values, parts, extents)


def _divisors(group: Group) -> dict[Var, set[int]]:
    """Return the numbers by which each axis is divided in the index maps of a plan."""
    found: dict[Var, set[int]] = {}
    seen: set[Expr] = set()
    for operands in group.reads.values():
        for _, point in operands:
            for expr in point:
                if not isinstance(expr, Apply) or expr in seen:
                    continue
                seen.add(expr)
                for part in scalar.walk(expr):
                    _note(part, found)
    return found


def _note(expr: Expr, found: dict[Var, set[int]]) -> None:
    match expr:
        case Apply("floordiv" | "mod", (Var() as axis, Const(value, _)), _):
            found.setdefault(axis, set()).add(int(value))
        case Apply(
            "mod",
            (Apply("floordiv", (Var() as axis, Const(first, _)), _), Const(second, _)),
            _,
        ):
            found.setdefault(axis, set()).add(int(first) * int(second))
        case _:
            pass


def _radix(extent: int | Dim, divisors: set[int]) -> tuple[int, ...] | None:
    """Return the extents of the digits of an axis, the highest first; None: leave it whole."""
    if not isinstance(extent, int):
        return None
    chain = [1, *sorted(d for d in divisors if 1 < d < extent), extent]
    if len(chain) == 2 or len(chain) > 8:
        return None
    if any(high % low for low, high in itertools.pairwise(chain)):
        return None
    return tuple(high // low for low, high in reversed(list(itertools.pairwise(chain))))


def rewritten(
    group: Group,
    values: Mapping[Expr, Expr],
    parts: Mapping[Var, tuple[Var, ...]],
    extents: Mapping[Var, int | Dim],
) -> Group:
    """Return a plan over other axes.

    Args:
        group: the plan.
        values: what each axis that goes is, over those that replace it.
        parts: for each axis of the plan, the axes that stand in its place.
        extents: extent of each axis of the result.
    """
    ranges = ranges_of(extents)

    def moved(point: Point) -> Point:
        return tuple(index.simplify(scalar.substitute(e, values), ranges) for e in point)

    def split(axes: Iterable[Var]) -> tuple[Var, ...]:
        return tuple(digit for axis in axes for digit in parts[axis])

    def reduction(found: Reduction) -> Reduction:
        return replace(found, domain=moved(found.domain))

    stages = tuple(
        GroupStage(
            split(stage.axes),
            tuple(reduction(r) for r in stage.reductions),
            tuple((v, moved(p)) for v, p in stage.stores),
        )
        for stage in group.stages
    )
    return replace(
        group,
        extents=extents,
        outer=split(group.outer),
        stages=stages,
        coordinates={v: moved(p) for v, p in group.coordinates.items()},
        reads={},
    )
