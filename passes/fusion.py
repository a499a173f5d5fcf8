"""Gather nodes into fusion groups, each of which becomes one kernel.

    %1: f32[8,4] = amax(%x) …              %y: f32[8,4] = fusion(%x) (
    %2: f32[8,4] = sub(%x, …)                graph amax_sub_exp_sum_div(%x: f32[8,4]) { … })
    …
    %y: f32[8,4] = div(%3, …)

Takes a graph of primitives, calls and control flow. Every primitive that computes ends in exactly
one group; views and values that cost nothing (constants, `full`) are repeated in each group that
reads through them. Whether nodes can share a kernel is asked of `smelt.ir.group_planner.plan`;
whether they should is decided by one estimate of time (`smelt.passes.fusion_cost`): nodes join
when the estimate for the joint kernel is no longer than for the separate ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from smelt.ir import registry
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.group import Group
from smelt.ir.group_planner import plan
from smelt.ir.op import Lower, NoAttrs
from smelt.ir.primitive import definition, is_template_contraction
from smelt.ir.structured import Nest, Stage, is_movement
from smelt.passes.fusion_cost import Machine, kernel_cost

_LARGEST = 64
_LARGEST_SIDE_BY_SIDE = 400
# How many earlier readers of a value a new one looks at.
_NEAR = 3


@dataclass(frozen=True)
class Fusion:
    """Form fusion groups.

    Attributes:
        threads: number of workers that kernels will run on.
    """

    name: ClassVar[str] = "fusion"
    threads: int = 8

    def run(self, graph: Graph) -> Graph:
        if not graph.nodes:
            return graph
        return _Fuser(graph, Machine(self.threads), self).fused()


@dataclass(eq=False)
class _Part:
    """A group in the making.

    Attributes:
        nodes: nodes that compute, in order of the graph.
        plan: its plan; None for a node that is no primitive.
        cost: estimated time of its kernel, in the unit of `fusion_cost`.
        needs: groups on which it depends, through any number of others, as a bit set.
        number: its bit.
    """

    nodes: tuple[Node, ...]
    plan: Group | None
    cost: float
    needs: int
    number: int
    reads: set[_Part] = field(default_factory=set["_Part"])


class _Fuser:
    """One run of the pass over one graph."""

    def __init__(self, graph: Graph, machine: Machine, owner: Fusion) -> None:
        self.graph = graph
        self.machine = machine
        self.owner = owner
        self.order = {node: k for k, node in enumerate(graph.nodes)}
        self.free = {n for n in graph.nodes if _is_free(n)}
        for node in graph.nodes:
            # A view that somebody needs as memory of its own is computed like anything else.
            if node not in self.free and not _reads_through_views(node):
                self.free -= {graph.producers[v] for v in node.inputs if v in graph.producers}
            elif isinstance(node.op.rule, Lower) and is_template_contraction(node):
                # Packing would ask for each element whether it is padding.
                self.free -= {
                    graph.producers[v]
                    for v in node.inputs
                    if v in graph.producers and graph.producers[v].op.name == "pad"
                }
        self.free -= {graph.producers[v] for v in graph.outputs if v in graph.producers}
        self.aliases = {n for n in graph.nodes if n not in self.free and self.is_alias(n)}
        self.part_of: dict[Node, _Part] = {}
        self.parts: list[_Part] = []
        self.count = 0
        self.uses = self.final_uses()
        self.readers: dict[Value, list[Node]] = {}

    # --- what reads what ----------------------------------------------------------------------

    def is_alias(self, node: Node) -> bool:
        """Tell whether a node only gives memory another shape."""
        source = self.graph.producers.get(node.inputs[0]) if node.inputs else None
        return node.op.name == "reshape" and source not in self.free

    def computes(self, node: Node) -> bool:
        """Tell whether a node is to sit in a group."""
        return (
            isinstance(node.op.rule, Lower)
            and node not in self.free
            and node not in self.aliases
            and not _is_large_constant(node)
        )

    def sources(self, node: Node) -> list[Node]:
        """Return the nodes that `node` reads, through views that cost nothing."""
        found: dict[Node, None] = {}
        stack = list(reversed(node.inputs))
        while stack:
            producer = self.graph.producers.get(stack.pop())
            if producer in self.free:
                stack.extend(reversed(producer.inputs))
            elif producer is not None:
                found[producer] = None
        return list(found)

    def final_uses(self) -> dict[Node, set[Node | None]]:
        """Return the nodes that read each node through free views; None: the graph gives it."""
        uses: dict[Node, set[Node | None]] = {n: set() for n in self.graph.nodes}
        for node in self.graph.nodes:
            if node not in self.free:
                for source in self.sources(node):
                    uses[source].add(node)
        for value in self.graph.outputs:
            producer = self.graph.producers.get(value)
            if producer is not None:
                uses[producer].add(None)
        return uses

    # --- grouping -----------------------------------------------------------------------------

    def fused(self) -> Graph:
        """Return the graph with its nodes in groups."""
        for node in self.graph.nodes:
            if node in self.free:
                continue
            part = self.fresh(node)
            if part.plan is not None:
                self.join_sources(part)
                self.join_siblings(node)
        self.join_side_by_side()
        return self.rebuilt()

    def fresh(self, node: Node) -> _Part:
        """Begin a group."""
        group: Group | None = None
        cost = 0.0
        if self.computes(node):
            found = self.planned((node,))
            assert isinstance(found, Group), f"{node.op.name} alone makes no group: {found}"
            group = found
            cost = kernel_cost(group, self.machine)
        part = _Part((node,), group, cost, 0, 1 << self.count)
        self.count += 1
        for source in self.sources(node):
            below = self.part_of[source]
            part.reads.add(below)
            part.needs |= below.needs | below.number
        self.part_of[node] = part
        self.parts.append(part)
        return part

    def join_sources(self, part: _Part) -> None:
        """Join the group of a new node with those that it reads, the latest first."""
        (node,) = part.nodes
        sources = sorted(self.sources(node), key=lambda n: -self.order[n])
        waiting = list(dict.fromkeys(self.part_of[source] for source in sources))
        while waiting:
            refused: list[_Part] = []
            for below in waiting:
                union = None if below.plan is None else self.joined(part, below)
                if union is None:
                    refused.append(below)
                else:
                    part = union
            # What was refused for lying on both sides of a third group may be free to join now.
            if len(refused) == len(waiting):
                return
            waiting = refused

    def join_siblings(self, node: Node) -> None:
        """Join the group of a new node with those that read what it reads along the same loops."""
        near: dict[_Part, None] = {}
        for value in self.read_values(node):
            readers = self.readers.setdefault(value, [])
            for reader in reversed(readers[-_NEAR:]):
                near[self.part_of[reader]] = None
            readers.append(node)
        for other in near:
            part = self.part_of[node]
            alive = any(other is p for p in self.parts)
            if alive and other is not part and not _is_apart(part.plan, other.plan):
                self.joined(part, other, sharing=True)

    def read_values(self, node: Node) -> list[Value]:
        """Return the values that a node reads, through views that cost nothing."""
        found: dict[Value, None] = {}
        stack = list(reversed(node.inputs))
        while stack:
            value = stack.pop()
            producer = self.graph.producers.get(value)
            if producer in self.free:
                stack.extend(reversed(producer.inputs))
            elif value.type.size != 1:
                found[value] = None
        return list(found)

    def joined(self, part: _Part, other: _Part, sharing: bool = False) -> _Part | None:
        """Return the union of two groups; None where it may not or should not be.

        Args:
            part: a group.
            other: another one.
            sharing: whether the union must have fewer loops than the two have.
        """
        if len(part.nodes) + len(other.nodes) > _LARGEST or self.would_loop(part, other):
            return None
        if _clash(part.plan, other.plan):
            return None
        group = self.planned(self.in_order((part, other)))
        if isinstance(group, str):
            return None
        if sharing and len(group.stages) >= _stages(part.plan) + _stages(other.plan):
            return None
        cost = kernel_cost(group, self.machine)
        if cost > part.cost + other.cost:
            return None
        return self.united((part, other), group, cost)

    def united(self, parts: Sequence[_Part], group: Group, cost: float) -> _Part:
        """Replace groups by their union."""
        number = needs = 0
        for part in parts:
            number |= part.number
            needs |= part.needs
        union = _Part(self.in_order(parts), group, cost, needs & ~number, number)
        union.reads = {below for part in parts for below in part.reads}.difference(parts)
        old = set(parts)
        self.parts = [p for p in self.parts if p not in old]
        for each in self.parts:
            if each.needs & number:
                each.needs |= union.needs | number
            if not old.isdisjoint(each.reads):
                each.reads = (each.reads - old) | {union}
        self.parts.append(union)
        for node in union.nodes:
            self.part_of[node] = union
        return union

    def in_order(self, parts: Sequence[_Part]) -> tuple[Node, ...]:
        """Return the nodes of groups in the order of the graph."""
        return tuple(sorted((n for p in parts for n in p.nodes), key=self.order.__getitem__))

    def would_loop(self, part: _Part, other: _Part) -> bool:
        """Tell whether some third group depends on one of two and is needed by the other."""
        return any(
            between.needs & below.number
            for above, below in ((part, other), (other, part))
            for between in above.reads
            if between is not below
        )

    def join_side_by_side(self) -> None:
        """Join what nothing in the graph depends on: the updates of an optimiser's step."""
        needed = 0
        for part in self.parts:
            needed |= part.needs
        waiting: list[_Part] = []
        for part in list(self.parts):
            if part.plan is None or part.number & needed or not _is_pointwise(part.plan):
                continue
            if sum(len(p.nodes) for p in (*waiting, part)) > _LARGEST_SIDE_BY_SIDE:
                self.join_all(waiting)
                waiting = []
            waiting.append(part)
        self.join_all(waiting)

    def join_all(self, parts: Sequence[_Part]) -> None:
        """Join groups on which nothing depends, so that their union cannot depend on itself."""
        if len(parts) < 2:
            return
        group = self.planned(self.in_order(parts))
        if isinstance(group, Group):
            cost = kernel_cost(group, self.machine)
            if cost <= sum(p.cost for p in parts):
                self.united(parts, group, cost)

    # --- graphs of groups ---------------------------------------------------------------------

    def planned(self, nodes: Sequence[Node]) -> Group | str:
        """Return the plan of a group with the views that it reads through."""
        return plan(self.with_views(nodes), self.outputs(nodes))

    def with_views(self, nodes: Sequence[Node]) -> list[Node]:
        """Return nodes with the free ones that they read, in order."""
        found = set(nodes)
        stack = [v for node in nodes for v in node.inputs]
        while stack:
            producer = self.graph.producers.get(stack.pop())
            if producer in self.free and producer not in found:
                found.add(producer)
                stack.extend(producer.inputs)
        return sorted(found, key=self.order.__getitem__)

    def outputs(self, nodes: Sequence[Node]) -> list[Value]:
        """Return the values of a group that others read."""
        inside = set(nodes)
        found: list[Value] = []
        for node in nodes:
            if not self.uses[node] <= inside:
                found += [v for v in node.outputs if self.is_used_outside(v, inside)]
        return found or list(nodes[-1].outputs)

    def is_used_outside(self, value: Value, inside: set[Node]) -> bool:
        """Tell whether a value is read by a node that is not `inside`, or given by the graph."""
        if value in self.graph.outputs:
            return True
        for user in self.graph.users[value]:
            if user in self.free:
                if any(self.is_used_outside(v, inside) for v in user.outputs):
                    return True
            elif user not in inside:
                return True
        return False

    def rebuilt(self) -> Graph:
        """Return the graph of groups, in an order in which each comes after what it reads."""
        nodes: list[Node] = []
        done: set[_Part] = set()
        kept_free: set[Node] = set()

        def emit(part: _Part) -> None:
            stack: list[tuple[_Part, bool]] = [(part, False)]
            while stack:
                current, ready = stack.pop()
                if current in done:
                    continue
                if not ready:
                    stack.append((current, True))
                    below = (p for p in current.reads if p not in done)
                    stack.extend((p, False) for p in sorted(below, key=self.position, reverse=True))
                    continue
                done.add(current)
                if current.plan is None:
                    (node,) = current.nodes
                    # What is no primitive reads memory: a constant or a size made for it alone.
                    for value in node.inputs:
                        producer = self.graph.producers.get(value)
                        if producer in self.free and producer not in kept_free:
                            kept_free.add(producer)
                            nodes.append(producer)
                    nodes.append(node)
                else:
                    nodes.append(self.fusion_node(current))

        for part in sorted(self.parts, key=self.position):
            emit(part)
        return Graph(self.graph.name, self.graph.inputs, tuple(nodes), self.graph.outputs)

    def position(self, part: _Part) -> int:
        """Return where in the graph a group would come: at its last node."""
        return self.order[part.nodes[-1]]

    def fusion_node(self, part: _Part) -> Node:
        """Return the node that owns a group."""
        inner = self.with_views(part.nodes)
        produced = {v for n in inner for v in n.outputs}
        read = dict.fromkeys(v for n in inner for v in n.inputs if v not in produced)
        outputs = self.outputs(part.nodes)
        values = {v: Value(v.type, v.name) for v in (*read, *produced)}
        copies = tuple(
            Node(
                n.op, tuple(values[v] for v in n.inputs), n.attrs, (),
                tuple(values[v] for v in n.outputs), n.location,
            )
            for n in inner
        )  # fmt: skip
        region = Graph(
            "_".join(dict.fromkeys(n.op.name for n in part.nodes))[:60],
            tuple(values[v] for v in read), copies, tuple(values[v] for v in outputs),
        )  # fmt: skip
        location = next((n.location for n in part.nodes if n.location is not None), None)
        return Node(
            registry.OPS["fusion"], tuple(read), NoAttrs(), (region,), tuple(outputs), location
        )


def _stages(group: Group | None) -> int:
    return 0 if group is None else len(group.stages)


def _is_apart(first: Group | None, second: Group | None) -> bool:
    """Tell whether two groups have too little in common to share loops."""
    if first is None or second is None:
        return True
    return first.contraction is not None or second.contraction is not None


def _clash(first: Group | None, second: Group | None) -> bool:
    """Tell at once that two groups cannot share a kernel, before a plan is tried."""
    if first is None or second is None:
        return True
    if first.nest is not None or second.nest is not None:
        return True
    if first.contraction is None and second.contraction is None:
        return False
    return all(g.contraction is not None or not _is_pointwise(g) for g in (first, second))


def _is_free(node: Node) -> bool:
    """Tell whether a node may be repeated in each group that reads it."""
    if not isinstance(node.op.rule, Lower):
        return False
    if node.op.name == "constant":
        return node.attrs.value.array.size == 1
    found = definition(node)
    if not isinstance(found, Stage):
        return False
    return is_movement(found) or (not node.inputs and not found.reduce_axes)


def _is_large_constant(node: Node) -> bool:
    return node.op.name == "constant" and node.attrs.value.array.size != 1


def _reads_through_views(node: Node) -> bool:
    """Tell whether a node reads its operands through index maps, not as memory of their own."""
    return isinstance(node.op.rule, Lower) and not isinstance(definition(node), Nest)


def _is_pointwise(group: Group) -> bool:
    return (
        group.contraction is None
        and group.nest is None
        and not any(stage.reductions for stage in group.stages)
    )
