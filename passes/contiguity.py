"""Remove copies that only rearrange memory, and join chains of views.

    %1: f32[4,2] = permute(%x) {dims=(1, 0)}          return %x, which every reader reads in place
    %2: f32[4,2] = contiguous(%1)
    %3: f32[2,4] = permute(%2) {dims=(1, 0)}

Takes and gives graphs of primitives. Below this pass no value has a layout of its own: what views
are left become index maps on the loads of their consumers when groups are formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph, Node, Value
from smelt.passes.rewrite import rewrite, with_attrs

_IDENTITIES = frozenset({"contiguous", "detach", "clone"})


@dataclass(frozen=True)
class Contiguity:
    """Drop identities; join and cancel `permute`, `reshape`, `expand` and `flip`."""

    name: ClassVar[str] = "contiguity"

    def run(self, graph: Graph) -> Graph:
        views: dict[Value, Node] = {}

        def rule(builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
            if node.op.name in _IDENTITIES:
                return node.inputs
            if node.op.name not in _JOIN:
                return None
            below = views.get(node.inputs[0])
            joined = _JOIN[node.op.name](builder, node, below)
            if joined is None:
                joined = with_attrs(builder, node, *node.inputs)
                changed = None
            else:
                changed = (joined,)
            if joined not in views and builder.nodes and builder.nodes[-1].outputs == (joined,):
                views[joined] = builder.nodes[-1]
            return changed if changed is not None else (joined,)

        return rewrite(graph, rule)


def _join_permute(builder: GraphBuilder, node: Node, below: Node | None) -> Value | None:
    dims: tuple[int, ...] = node.attrs.dims
    (source,) = node.inputs
    if below is not None and below.op.name == "permute":
        dims = tuple(below.attrs.dims[d] for d in dims)
        source = below.inputs[0]
    if dims == tuple(range(len(dims))):
        return source
    return None if source is node.inputs[0] else with_attrs(builder, node, source, dims=dims)


def _join_reshape(builder: GraphBuilder, node: Node, below: Node | None) -> Value | None:
    (source,) = node.inputs
    if below is not None and below.op.name == "reshape":
        source = below.inputs[0]
    if source.type == node.outputs[0].type:
        return source
    return None if source is node.inputs[0] else with_attrs(builder, node, source)


def _join_expand(builder: GraphBuilder, node: Node, below: Node | None) -> Value | None:
    (source,) = node.inputs
    if below is not None and below.op.name == "expand":
        source = below.inputs[0]
    if source.type == node.outputs[0].type:
        return source
    return None if source is node.inputs[0] else with_attrs(builder, node, source)


def _join_flip(builder: GraphBuilder, node: Node, below: Node | None) -> Value | None:
    if below is not None and below.op.name == "flip" and below.attrs.dims == node.attrs.dims:
        return below.inputs[0]
    return None if node.attrs.dims else node.inputs[0]


_JOIN = {
    "permute": _join_permute,
    "reshape": _join_reshape,
    "expand": _join_expand,
    "flip": _join_flip,
}
