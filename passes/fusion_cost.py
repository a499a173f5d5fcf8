"""Estimate how long the kernel of a group takes: the cost function of fusion.

The unit is the time of a cheap operation on one element of a vector. An evaluation counts once for
each iteration of the loops that it cannot be moved out of. Only differences matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smelt.ir.dim import Dim
from smelt.ir.graph import Node, Value
from smelt.ir.group import Group, variables_of
from smelt.ir.primitive import Point, is_reduction, node_cost
from smelt.ir.scalar import Cost, Var

_LAUNCH = 3000.0
_MEMORY = 4.0
_CACHED = 1.0
_PACKED_AGAIN = 2.0
_PART = 1 << 16
_UNKNOWN_EXTENT = 256
_KEPT = Cost.TRANSCENDENTAL.value


@dataclass(frozen=True)
class Machine:
    """What the estimate knows of the target.

    Attributes:
        threads: number of workers.
    """

    threads: int


def kernel_cost(group: Group, machine: Machine) -> float:
    """Return the estimated time of a group's kernel, launch included."""
    if group.nest is not None:
        return _LAUNCH
    total = _LAUNCH
    known: set[Value] = set()
    for number, stage in enumerate(group.stages):
        loops = (*group.outer, *stage.axes)
        evaluation = _Evaluation(group, loops, known, again=number > 0)
        for reduction in stage.reductions:
            evaluation.node(reduction.node, reduction.domain)
        for value, point in stage.stores:
            evaluation.value(value, point)
            evaluation.work += _MEMORY * evaluation.iterations(point)
        known |= evaluation.dear
        if group.contraction is not None:
            total += _packing(group, machine)
        parallel = 1
        if any(s.reductions for s in group.stages):
            for axis in group.outer:
                parallel *= _extent(group.extents[axis])
            if len(group.stages) == 1 and not stage.stores:
                # Lowering shares a lone reduction among the workers, in parts.
                parallel = max(parallel, _product(group, stage.axes) // _PART)
        else:
            parallel = _product(group, loops)
        total += evaluation.work / max(1, min(machine.threads, parallel))
    return total


def _packing(group: Group, machine: Machine) -> float:
    """Return the time in which a contraction's operands are computed and packed.

    Each element of a factor is computed where it is packed, for every share of the other factor.
    """
    assert group.contraction is not None, "asked of contractions alone"
    evaluation = _Evaluation(group, (), set(), again=False)
    for value, point in group.reads.get((group.contraction.node, group.contraction.domain), ()):
        evaluation.value(value, point)
    return _PACKED_AGAIN * evaluation.work / machine.threads


def _product(group: Group, axes: Iterable[Var]) -> int:
    total = 1
    for axis in axes:
        total *= _extent(group.extents[axis])
    return total


def _extent(extent: int | Dim) -> int:
    return extent if isinstance(extent, int) else _UNKNOWN_EXTENT


class _Evaluation:
    """Counts the work of one stage."""

    def __init__(
        self, group: Group, loops: tuple[Var, ...], known: set[Value], again: bool
    ) -> None:
        self.group = group
        self.depth_of = {axis: depth + 1 for depth, axis in enumerate(loops)}
        self.reach = [1.0]
        for axis in loops:
            self.reach.append(self.reach[-1] * _extent(group.extents[axis]))
        self.producers = {v: n for n in group.nodes for v in n.outputs}
        self.known = known
        self.load = _CACHED if again else _MEMORY
        self.dear: set[Value] = set()
        self.seen: set[tuple[Value, Point]] = set()
        self.counted: dict[Point, float] = {}
        self.work = 0.0

    def iterations(self, point: Point) -> float:
        """Return how often something that depends on `point` is evaluated."""
        found = self.counted.get(point)
        if found is not None:
            return found
        deepest = 0
        total = 1.0
        for axis in variables_of(point):
            depth = self.depth_of.get(axis)
            if depth is not None:
                deepest = max(deepest, depth)
            elif axis in self.group.extents:
                total *= _extent(self.group.extents[axis])
        found = self.counted[point] = total * self.reach[deepest]
        return found

    def value(self, value: Value, point: Point) -> None:
        """Count the evaluation of a value at a point."""
        key = (value, point)
        if key in self.seen:
            return
        self.seen.add(key)
        node = self.producers.get(value)
        if node is None:
            self.work += self.load * self.iterations(point)
        elif value in self.group.coordinates or value in self.known:
            self.work += _CACHED * self.iterations(point)
        else:
            self.node(node, point)

    def node(self, node: Node, domain: Point) -> None:
        """Count the evaluation of a node at a point of its domain."""
        cost = node_cost(node)
        self.work += cost * self.iterations(domain)
        if cost >= _KEPT and not is_reduction(node):
            self.dear.update(node.outputs)
        for value, point in self.group.reads.get((node, domain), ()):
            self.value(value, point)
