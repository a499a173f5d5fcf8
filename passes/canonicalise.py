"""Bring graphs to a simple form: fold what is known, apply identities, join equals, drop the dead.

    %1: f32[4] = neg(%x)                               %y: f32[4] = mul(%x, %x)
    %2: f32[4] = neg(%1)                               return %y
    %3: f32[4] = full() {value=0x1p+0, …}
    %4: f32[4] = mul(%2, %3)
    %y: f32[4] = mul(%4, %x)
    return %y

Takes graphs without `grad` nodes: differentiation keeps apart what this pass joins. Every identity
keeps the bits of the result. A node that may raise an error from data stays even if it is dead.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from smelt.ir import attributes
from smelt.ir.builder import GraphBuilder
from smelt.ir.errors import InternalError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import Call, Expand
from smelt.ir.text import fingerprint
from smelt.passes.algebra import simplify
from smelt.passes.effects import can_raise
from smelt.passes.fold import fold
from smelt.passes.rewrite import rewrite, without_dead_nodes

_COMMUTATIVE = frozenset({"add", "mul", "bitwise_and", "bitwise_or", "bitwise_xor", "eq", "ne"})


@dataclass(frozen=True)
class Canonicalise:
    """Fold, simplify, join and drop, until nothing changes.

    Attributes:
        limit: number of elements up to which results of constants are computed now.
    """

    name: ClassVar[str] = "canonicalise"
    limit: int = 64

    def run(self, graph: Graph) -> Graph:
        if any(isinstance(node.op.rule, Expand) for node in graph.walk()):
            raise InternalError("canonicalise must run after the gradients are expanded")
        while True:
            result = rewrite(graph, self._rule)
            result = without_dead_nodes(without_duplicates(result), can_raise)
            if result is graph:
                return graph
            graph = result

    def _rule(self, builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
        found = simplify(builder, node)
        return fold(builder, node, self.limit) if found is None else (found,)


def without_duplicates(graph: Graph) -> Graph:
    """Return `graph` with nodes that compute the same joined into the first of them."""
    number = {v: k for k, v in enumerate(graph.values())}
    first: dict[Hashable, Node] = {}
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    changed = False
    for node in graph.nodes:
        inputs = tuple(values.get(v, v) for v in node.inputs)
        regions = tuple(without_duplicates(region) for region in node.regions)
        new = node
        if inputs != node.inputs or any(a is not b for a, b in zip(regions, node.regions)):
            new = Node(node.op, inputs, node.attrs, regions, node.outputs, node.location)
            changed = True
        if not isinstance(node.op.rule, Call):
            earlier = first.setdefault(_identity(new, number), new)
            if earlier is not new:
                values.update(zip(node.outputs, earlier.outputs, strict=True))
                changed = True
                continue
        nodes.append(new)
    if not changed:
        return graph
    outputs = tuple(values.get(v, v) for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(nodes), outputs)


def _identity(node: Node, number: dict[Value, int]) -> Hashable:
    """Return what two nodes share exactly when they compute the same."""
    operands = [number[v] for v in node.inputs]
    if node.op.name in _COMMUTATIVE:
        operands.sort()
    return (
        node.op.name,
        tuple(operands),
        attributes.key(node.attrs),
        tuple(v.type for v in node.outputs),
        tuple(fingerprint(region) for region in node.regions),
    )
