"""Expand `grad` nodes into the nodes of the backward computation.

    %y: f32[3] = mul(%x, %x)                       %y: f32[3] = mul(%x, %x)
    %g: f32[3] = grad(%y, %s, %x) {outputs=1}      %3: f32[3] = mul(%s, %x)
                                                   %4: f32[3] = mul(%s, %x)
                                                   %g: f32[3] = add(%4, %3)

The first pass of all: folding or joining of nodes before it would join values that differentiation
must keep apart. It takes graphs from capture and gives graphs without `grad`,
`detach` and `overwrite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smelt.ir.builder import GraphBuilder
from smelt.ir.differentiate import expand_gradients
from smelt.ir.graph import Graph, Node, Value
from smelt.passes.rewrite import rewrite


@dataclass(frozen=True)
class Autograd:
    """Expand every `grad` node through what stands before it; drop what only steers gradients."""

    name: ClassVar[str] = "autograd"

    def run(self, graph: Graph) -> Graph:
        return rewrite(expand_gradients(graph), _drop_steering)


def _drop_steering(builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
    """detach(x) -> x and overwrite(x, value) -> value, once nothing is differentiated any more."""
    return node.inputs[-1:] if node.op.name in ("detach", "overwrite") else None
