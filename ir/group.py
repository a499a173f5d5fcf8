"""Plan a fusion group: how one kernel computes the values of a small graph.

Takes nodes with structured definitions; gives a `Group`, or the reason why they cannot share a
kernel. This is the one place where the legality of fusion is decided: the fusion pass asks it, and
lowering builds the kernel from the same answer.

Every value that the kernel must store (an output, a reduction) gets *coordinates*: its index as
expressions over the axes of the group, such that each element is computed exactly once. They start
at an anchor (the contraction, else the first reduction, else the last output) and spread to
producers and consumers through index maps that are one to one. Everything else is evaluated where
it is read, by substituting index maps. Axes on which every stored value depends, and over which
nothing is summed, are the *outer* axes: their iterations are independent. Inside them run the
stages, in order; a stage reads what earlier stages reduced only at its own outer coordinates.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from smelt.ir import dim as dims
from smelt.ir import index, scalar
from smelt.ir.contraction import contraction
from smelt.ir.dim import Dim
from smelt.ir.graph import Node, Value
from smelt.ir.op import Lower, OpDef
from smelt.ir.scalar import SCALAR_OPS, Apply, Const, Expr, Read, Var, integer
from smelt.ir.structured import Definition, Nest, Stage, is_movement
from smelt.ir.types import Shape, TensorType

Point = tuple[Expr, ...]

DATA = Var("data")
"""Stands for an index that is read from data."""

_AXES = tuple(scalar.axis(k) for k in range(64))
_NUMBER = {axis: number for number, axis in enumerate(_AXES)}

# Below this many products, or with a side shorter than this, a product is an ordinary reduction.
_CONTRACTION_WORK = 8192
_CONTRACTION_SIDE = 4

# Up to so many points, a window (of a pooling, say) is unrolled and not a reduction any more.
_UNROLLED_WINDOW = 9

# How many points beyond one for each node may be evaluated in a kernel: windows multiply.
_EXTRA_POINTS = 64


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


@lru_cache(maxsize=1 << 15)
def definition(node: Node) -> Definition:
    """Return the structured definition of a primitive node."""
    return _define(node.op, node.attrs, node.input_types)


@lru_cache(maxsize=1 << 14)
def _define(op: OpDef, attrs: object, types: tuple[TensorType, ...]) -> Definition:
    assert isinstance(op.rule, Lower), f"{op.name} has no structured definition"
    return op.rule.define(attrs, *types)


@lru_cache(maxsize=1 << 15)
def is_template_contraction(node: Node) -> bool:
    """Tell whether a node is a contraction that is worth a template."""
    stage = definition(node)
    axes = contraction(stage) if isinstance(stage, Stage) else None
    if axes is None or not isinstance(stage, Stage):
        return False
    if not dims.is_static(*stage.domain):
        return False
    sides = [_product(stage.domain[a] for a in part) for part in (axes.m, axes.n, axes.k)]
    work = _product(stage.domain)
    return min(sides) >= _CONTRACTION_SIDE and work >= _CONTRACTION_WORK


@lru_cache(maxsize=1 << 15)
def is_reduction(node: Node) -> bool:
    """Tell whether a node is reduced by loops; small windows are unrolled instead."""
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    return bool(stage.reduce_axes) and not _is_small(stage)


def _is_small(stage: Stage) -> bool:
    extents = [stage.domain[a] for a in stage.reduce_axes]
    return dims.is_static(*extents) and 0 < _product(extents) <= _UNROLLED_WINDOW


@dataclass(frozen=True, slots=True)
class _Edge:
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
def _edges(node: Node) -> tuple[_Edge, ...]:
    """Return how a node reads its operands; what planning asks of it again and again."""
    stage = definition(node)
    assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
    found: list[_Edge] = []
    for reader in stage.readers:
        if reader.operand >= len(node.inputs):
            continue
        value = node.inputs[reader.operand]
        covers = node.op.name == "reshape" or _covers(reader.index, value.type.shape, stage.domain)
        # With equal extents, too: a slice that begins at 0 has the same map and a smaller domain.
        same = reader.index == _AXES[: len(stage.domain)] and value.type.shape == stage.domain
        plain = reader.inside is None
        found.append(_Edge(value, reader.index, plain, same, covers and plain))
    return tuple(found)


@lru_cache(maxsize=1 << 15)
def _is_unrolled(node: Node) -> bool:
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


class Illegal(Exception):
    """These nodes cannot share a kernel; says why."""


def plan(nodes: Sequence[Node], outputs: Sequence[Value]) -> Group | str:
    """Return the plan of a kernel that computes `outputs` by `nodes`, or why there is none.

    Args:
        nodes: primitives in topological order; what they read from elsewhere are inputs.
        outputs: values of theirs that must be stored.
    """
    try:
        return _Planner(nodes, outputs).plan()
    except Illegal as reason:
        return str(reason)


class _Planner:
    """The state of one planning."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Value]) -> None:
        self.nodes = tuple(nodes)
        self.outputs = tuple(dict.fromkeys(outputs))
        self.producers = {v: n for n in nodes for v in n.outputs}
        self.stages: dict[Node, Stage] = {}
        self.extents: dict[Var, int | Dim] = {}
        self.ranges: dict[Var, index.Interval] = {DATA: index.UNBOUNDED}
        self.coordinates: dict[Value, Point] = {}
        self.domains: dict[Node, Point] = {}
        self.users: dict[Value, list[Node]] = {}
        for node in nodes:
            for value in node.inputs:
                self.users.setdefault(value, []).append(node)
        # Nodes whose operands, and whose results, are to be given coordinates next.
        self.upward: list[Node] = []
        self.downward: deque[Node] = deque()
        self.broadcasts: deque[Node] = deque()
        self.spent: set[Node] = set()
        self.levels: dict[tuple[Value, Point], int] = {}
        self.reads: dict[tuple[Node, Point], tuple[tuple[Value, Point], ...]] = {}

    def plan(self) -> Group:
        """Return the plan; Illegal if there is none."""
        for node in self.nodes:
            found = definition(node)
            if isinstance(found, Nest):
                if len(self.nodes) > 1:
                    raise Illegal(f"{node.op.name} brings its own loops")
                return Group(self.nodes, self.outputs, {}, (), (), {}, {}, None, node)
            self.stages[node] = found
        products = [n for n in self.nodes if is_template_contraction(n)]
        reductions = [n for n in self.nodes if is_reduction(n)]
        if len(products) > 1:
            raise Illegal("a kernel holds one contraction")
        if products and len(reductions) > 1:
            raise Illegal("a contraction shares its kernel with no other reduction")
        self.anchor(products or reductions[:1])
        self.spread()
        if not reductions:
            self.spread_apart()
        for node in reductions:
            if node not in self.domains:
                raise Illegal(f"{node.op.name} does not cover the axes of the group")
        for value in self.outputs:
            if value not in self.coordinates:
                raise Illegal(f"an output of {self.producers[value].op.name} does not cover them")
        outer = self.outer_axes(reductions)
        if products:
            return self.around_contraction(products[0], outer)
        return self.staged(reductions, outer)

    # --- coordinates --------------------------------------------------------------------------

    def fresh(self, extent: int | Dim) -> Expr:
        """Return a new axis; an axis of extent 1 is the constant 0."""
        if extent == 1:
            return integer(0)
        axis = Var(f"a{len(self.extents)}")
        self.extents[axis] = extent
        self.ranges[axis] = (0, top_of(extent))
        return axis

    def anchor(self, reductions: Sequence[Node]) -> None:
        """Give the first coordinates."""
        if reductions:
            node = reductions[0]
            self.enter(node, tuple(self.fresh(e) for e in self.stages[node].domain))
        else:
            last = self.outputs[-1]
            self.give(last, tuple(self.fresh(e) for e in last.type.shape))

    def enter(self, node: Node, domain: Point) -> None:
        """Note where the axes of a node lie, and with them its results."""
        self.domains[node] = domain
        stage = self.stages[node]
        kept = tuple(domain[a] for a in stage.parallel_axes) if stage.reduce_axes else domain
        for value in node.outputs:
            self.give(value, kept)
        self.upward.append(node)

    def give(self, value: Value, point: Point) -> None:
        """Give a value its coordinates, unless it has them."""
        if value in self.coordinates:
            return
        self.coordinates[value] = point
        producer = self.producers.get(value)
        if producer is not None:
            self.upward.append(producer)
        self.downward.extend(self.users.get(value, ()))

    def spread(self) -> None:
        """Carry coordinates to producers, then to consumers, until nothing more is found."""
        while self.upward or self.downward or self.broadcasts:
            if self.upward:
                self.backward(self.upward.pop())
            elif self.downward:
                self.forward(self.downward.popleft(), broadcasting=False)
            else:
                # New axes are made only for what cannot be reached along those that there are.
                self.forward(self.broadcasts.popleft(), broadcasting=True)

    def spread_apart(self) -> None:
        """Give axes of their own to outputs that share none with the others."""
        for value in reversed(self.outputs):
            if value not in self.coordinates:
                self.give(value, tuple(self.fresh(e) for e in value.type.shape))
                self.spread()

    def backward(self, node: Node) -> None:
        """Carry coordinates from the results of a node to its operands."""
        if _is_unrolled(node) or node in self.spent:
            return
        self.spent.add(node)
        domain = self.domains.get(node)
        if domain is None:
            stage = self.stages[node]
            domain = next(self.coordinates[v] for v in node.outputs if v in self.coordinates)
            if stage.reduce_axes:
                kept = iter(domain)
                domain = tuple(
                    self.fresh(e) if a in stage.reduce_axes else next(kept)
                    for a, e in enumerate(stage.domain)
                )
            self.enter(node, domain)
        for edge in _edges(node):
            if edge.covers and edge.value not in self.coordinates:
                point = domain if edge.same else mapped(edge.index, domain, self.ranges)
                # Whatever is read along a size of 1, data included, the position is 0.
                extents = edge.value.type.shape
                alone = tuple(integer(0) if e == 1 else p for e, p in zip(extents, point))
                self.give(edge.value, alone)

    def forward(self, node: Node, broadcasting: bool) -> None:
        """Carry coordinates from an operand of a node to its results."""
        if node in self.domains or _is_unrolled(node):
            return
        shape = self.stages[node].domain
        for edge in _edges(node):
            point = self.coordinates.get(edge.value)
            if point is None or not edge.plain:
                continue
            if edge.same:
                self.enter(node, point)
                return
            if node.op.name == "reshape":
                source = edge.value.type.shape
                self.enter(node, inverse_of_reshape(source, shape, point, self.ranges))
                return
            known = _inverted(edge.index, edge.value.type.shape, shape, point)
            if known is None:
                continue
            missing = [a for a, e in enumerate(shape) if a not in known and e != 1]
            if missing and not broadcasting:
                self.broadcasts.append(node)
                continue
            self.enter(
                node, tuple(known[a] if a in known else self.fresh(e) for a, e in enumerate(shape))
            )
            return

    # --- outer axes and stages ----------------------------------------------------------------

    def outer_axes(self, reductions: Sequence[Node]) -> tuple[Var, ...]:
        """Return the axes that all stored values share and nothing reduces."""
        stored = [self.coordinates[n.outputs[0]] for n in reductions]
        stored += [self.coordinates[v] for v in self.outputs]
        shared = [_variables(point) for point in stored]
        common = set(shared[0]).intersection(*shared[1:])
        for node in reductions:
            stage = self.stages[node]
            summed = _variables(self.domains[node][a] for a in stage.reduce_axes)
            if summed & _variables(self.coordinates[node.outputs[0]]):
                raise Illegal(f"{node.op.name} sums over part of an axis")
            common -= summed
        return tuple(a for a in self.extents if a in common)

    def level(self, value: Value, point: Point, outer: frozenset[Var]) -> int:
        """Return after how many levels of reductions `value` can be evaluated at `point`.

        Raises:
            Illegal: a reduction would be read outside the current outer iteration.
        """
        node = self.producers.get(value)
        if node is None:
            return 0
        key = (value, point)
        found = self.levels.get(key)
        if found is None:
            if is_reduction(node):
                inner_point(self.coordinates[value], point, outer, node.op.name)
                point = self.coordinates[value]
                if (value, point) in self.levels:
                    found = self.levels[value, point]
                else:
                    found = 1 + self.deepest(node, self.domains[node], outer)
                    self.levels[value, point] = found
            else:
                found = self.deepest(node, point, outer)
            self.levels[key] = found
        return found

    def deepest(self, node: Node, domain: Point, outer: frozenset[Var]) -> int:
        """Return the greatest level of the operands of `node` at a point of its domain."""
        found = 0
        for value, point in self.operands(node, domain):
            if value in self.producers:
                found = max(found, self.level(value, point, outer))
        return found

    def operands(self, node: Node, domain: Point) -> tuple[tuple[Value, Point], ...]:
        """Return what a node reads at a point of its domain, each with its index."""
        found = self.reads.get((node, domain))
        if found is None:
            if len(self.reads) > len(self.nodes) + _EXTRA_POINTS:
                raise Illegal("values would be computed at too many points")
            found = self.reads[node, domain] = tuple(
                (e.value, point if e.same else mapped(e.index, point, self.ranges))
                for point in (domains_of(node, domain) if _is_unrolled(node) else (domain,))
                for e in _edges(node)
            )
        return found

    def staged(self, reductions: Sequence[Node], outer: tuple[Var, ...]) -> Group:
        """Order reductions and stores into stages."""
        shared = frozenset(outer)
        drafts: dict[tuple[int, Shape], _Draft] = {}

        def draft(time: int, axes: tuple[Var, ...]) -> _Draft:
            key = (time, tuple(self.extents[a] for a in axes))
            return drafts.setdefault(key, _Draft(axes, [], []))

        for node in reductions:
            domain = self.domains[node]
            axes = inner_axes(domain, self.extents, shared)
            time = self.level(node.outputs[0], self.coordinates[node.outputs[0]], shared) - 1
            kept = inner_axes(self.coordinates[node.outputs[0]], self.extents, shared)
            stage = draft(time, axes)
            renamed = dict(zip(axes, stage.axes))
            stage.reductions.append(
                Reduction(node, _renamed(domain, renamed), tuple(renamed[a] for a in kept))
            )
        for value in self.outputs:
            if is_reduction(self.producers[value]):
                continue
            point = self.coordinates[value]
            axes = inner_axes(point, self.extents, shared)
            earliest = self.level(value, point, shared)
            extents = tuple(self.extents[a] for a in axes)
            times = [t for t, e in drafts if e == extents and t >= earliest]
            stage = draft(min(times, default=earliest), axes)
            stage.stores.append((value, _renamed(point, dict(zip(axes, stage.axes)))))
        ordered = sorted(drafts, key=lambda key: key[0])
        stages = tuple(drafts[key].finished() for key in ordered)
        reduced = {v: self.coordinates[v] for n in reductions for v in n.outputs}
        return Group(self.nodes, self.outputs, self.extents, outer, stages, reduced, self.reads)

    def around_contraction(self, product: Node, outer: tuple[Var, ...]) -> Group:
        """Make everything after the contraction its epilogue."""
        kept = _variables(self.coordinates[product.output])
        shared = frozenset(outer)
        if kept != shared:
            raise Illegal("a result of the group does not cover the contraction")
        point = self.coordinates[product.output]
        domain = self.domains[product]
        if self.deepest(product, domain, shared):
            raise Illegal("an operand of the contraction depends on a reduction")
        for value in self.outputs:
            if inner_axes(self.coordinates[value], self.extents, shared):
                raise Illegal("a result of the group is larger than the contraction")
            self.level(value, self.coordinates[value], shared)
        if any(stage.checks for stage in self.stages.values()):
            raise Illegal("the template of contractions checks no data")
        if any(DATA in p for reads in self.reads.values() for _, p in reads):
            raise Illegal("a contraction reads its operands in place, not by an index from data")
        stores = tuple((v, self.coordinates[v]) for v in self.outputs)
        return Group(
            self.nodes, self.outputs, self.extents, outer, (GroupStage((), (), stores),),
            {product.output: point}, self.reads, Reduction(product, domain, ()),
        )  # fmt: skip


@dataclass
class _Draft:
    """A stage in the making."""

    axes: tuple[Var, ...]
    reductions: list[Reduction]
    stores: list[tuple[Value, Point]]

    def finished(self) -> GroupStage:
        return GroupStage(self.axes, tuple(self.reductions), tuple(self.stores))


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


def _renamed(point: Point, renamed: Mapping[Var, Var]) -> Point:
    values: dict[Expr, Expr] = {a: b for a, b in renamed.items() if a != b}
    return tuple(scalar.substitute(e, values) for e in point) if values else point


def _variables(point: Iterable[Expr]) -> frozenset[Var]:
    found: set[Var] = set()
    for expr in point:
        if isinstance(expr, Var):
            found.add(expr)
        else:
            found |= scalar.variables(expr)
    return frozenset(found)


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


def _inverted(
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
