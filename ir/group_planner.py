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

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from smelt.ir import index
from smelt.ir.dim import Dim
from smelt.ir.graph import Node, Value
from smelt.ir.group import (
    Group,
    GroupStage,
    Illegal,
    Reduction,
    inner_axes,
    inner_point,
    renamed_point,
    variables_of,
)
from smelt.ir.index_map import DATA, edges, inverse_of_reshape, inverted, mapped, top_of
from smelt.ir.primitive import (
    Point,
    definition,
    domains_of,
    is_reduction,
    is_template_contraction,
    is_unrolled,
)
from smelt.ir.scalar import Expr, Var, integer
from smelt.ir.structured import Nest, Stage
from smelt.ir.types import Shape

# How many points beyond one for each node may be evaluated in a kernel: windows multiply.
_EXTRA_POINTS = 64


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
        if is_unrolled(node) or node in self.spent:
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
        for edge in edges(node):
            if edge.covers and edge.value not in self.coordinates:
                point = domain if edge.same else mapped(edge.index, domain, self.ranges)
                # Whatever is read along a size of 1, data included, the position is 0.
                extents = edge.value.type.shape
                alone = tuple(integer(0) if e == 1 else p for e, p in zip(extents, point))
                self.give(edge.value, alone)

    def forward(self, node: Node, broadcasting: bool) -> None:
        """Carry coordinates from an operand of a node to its results."""
        if node in self.domains or is_unrolled(node):
            return
        shape = self.stages[node].domain
        for edge in edges(node):
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
            known = inverted(edge.index, edge.value.type.shape, shape, point)
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
        shared = [variables_of(point) for point in stored]
        common = set(shared[0]).intersection(*shared[1:])
        for node in reductions:
            stage = self.stages[node]
            summed = variables_of(self.domains[node][a] for a in stage.reduce_axes)
            if summed & variables_of(self.coordinates[node.outputs[0]]):
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
                for point in (domains_of(node, domain) if is_unrolled(node) else (domain,))
                for e in edges(node)
            )
        return found

    def staged(self, reductions: Sequence[Node], outer: tuple[Var, ...]) -> Group:
        """Order reductions and stores into stages."""
        shared = frozenset(outer)
        # Reductions that keep different axes of a nest get nests of their own.
        drafts: dict[tuple[int, Shape, tuple[int, ...]], _Draft] = {}

        for node in reductions:
            domain = self.domains[node]
            axes = inner_axes(domain, self.extents, shared)
            time = self.level(node.outputs[0], self.coordinates[node.outputs[0]], shared) - 1
            kept = inner_axes(self.coordinates[node.outputs[0]], self.extents, shared)
            key = (time, self.sizes(axes), tuple(axes.index(a) for a in kept))
            stage = drafts.setdefault(key, _Draft(axes, [], []))
            renamed = dict(zip(axes, stage.axes))
            stage.reductions.append(
                Reduction(node, renamed_point(domain, renamed), tuple(renamed[a] for a in kept))
            )
        for value in self.outputs:
            if is_reduction(self.producers[value]):
                continue
            point = self.coordinates[value]
            axes = inner_axes(point, self.extents, shared)
            earliest = self.level(value, point, shared)
            sizes = self.sizes(axes)
            fitting = [k for k in drafts if k[1] == sizes and k[0] >= earliest]
            key = min(fitting, default=(earliest, sizes, ()), key=lambda k: k[0])
            stage = drafts.setdefault(key, _Draft(axes, [], []))
            stage.stores.append((value, renamed_point(point, dict(zip(axes, stage.axes)))))
        ordered = sorted(drafts, key=lambda key: key[0])
        stages = tuple(drafts[key].finished() for key in ordered)
        reduced = {v: self.coordinates[v] for n in reductions for v in n.outputs}
        return Group(self.nodes, self.outputs, self.extents, outer, stages, reduced, self.reads)

    def sizes(self, axes: Sequence[Var]) -> Shape:
        """Return the extents of axes."""
        return tuple(self.extents[a] for a in axes)

    def around_contraction(self, product: Node, outer: tuple[Var, ...]) -> Group:
        """Make everything after the contraction its epilogue."""
        kept = variables_of(self.coordinates[product.output])
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
