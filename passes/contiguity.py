"""Remove copies that only rearrange memory, and join chains of views.

    %1: f32[4,2] = permute(%x) {dims=(1, 0)}          return %x, which every reader reads in place
    %2: f32[4,2] = contiguous(%1)
    %3: f32[2,4] = permute(%2) {dims=(1, 0)}

Takes and gives graphs of primitives. Below this pass no value has a layout of its own: what views
are left become index maps on the loads of their consumers when groups are formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from smelt.ir.graph import Graph, Node, Value

_IDENTITIES = frozenset({"contiguous", "detach", "clone"})

View = tuple[Value, Any]
"""The operand of a view, and its attributes."""


@dataclass(frozen=True)
class Contiguity:
    """Drop identities; join and cancel `permute`, `reshape`, `expand` and `flip`."""

    name: ClassVar[str] = "contiguity"

    def run(self, graph: Graph) -> Graph:
        values: dict[Value, Value] = {v: v for v in graph.inputs}
        producers: dict[Value, Node] = {}
        nodes: list[Node] = []
        for node in graph.nodes:
            inputs = tuple(values[v] for v in node.inputs)
            if node.op.name in _IDENTITIES:
                values[node.output] = inputs[0]
                continue
            attrs = node.attrs
            join = _JOIN.get(node.op.name)
            if join is not None:
                below = producers.get(inputs[0])
                twin = below is not None and below.op is node.op
                source, attrs = join(node, inputs[0], below if twin else None)
                if source.type == node.output.type and _is_identity(node, attrs):
                    values[node.output] = source
                    continue
                inputs = (source,)
            regions = tuple(self.run(region) for region in node.regions)
            unchanged = inputs == node.inputs and attrs is node.attrs and regions == node.regions
            if not unchanged:
                node = Node(node.op, inputs, attrs, regions, node.outputs, node.location)
            nodes.append(node)
            for value in node.outputs:
                values[value] = value
                producers[value] = node
        if len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes)):
            return graph
        return _live(
            Graph(graph.name, graph.inputs, tuple(nodes), tuple(values[v] for v in graph.outputs))
        )


def _is_identity(node: Node, attrs: Any) -> bool:
    """Tell whether a view whose result has its operand's type moves nothing."""
    match node.op.name:
        case "permute":
            return attrs.dims == tuple(range(len(attrs.dims)))
        case "flip":
            return not attrs.dims
        case _:
            return True


def _join_permute(node: Node, source: Value, below: Node | None) -> View:
    if below is None:
        return source, node.attrs
    dims = tuple(below.attrs.dims[d] for d in node.attrs.dims)
    return below.inputs[0], node.op.attrs(dims=dims)


def _join_shape(node: Node, source: Value, below: Node | None) -> View:
    return (source if below is None else below.inputs[0]), node.attrs


def _join_flip(node: Node, source: Value, below: Node | None) -> View:
    if below is None:
        return source, node.attrs
    dims = set(node.attrs.dims) ^ set(below.attrs.dims)
    return below.inputs[0], node.op.attrs(dims=tuple(sorted(dims)))


_JOIN: dict[str, Callable[[Node, Value, Node | None], View]] = {
    "permute": _join_permute,
    "reshape": _join_shape,
    "expand": _join_shape,
    "flip": _join_flip,
}


def _live(graph: Graph) -> Graph:
    """Drop the views that joining has left without a reader."""
    live = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.op.name in _JOIN and live.isdisjoint(node.outputs):
            continue
        live.update(node.inputs)
        kept.append(node)
    return Graph(graph.name, graph.inputs, tuple(reversed(kept)), graph.outputs)
