"""Replace composites by what they are made of, down to primitives.

    %y: f32[n,4] = sigmoid(%x)      %1: f32[n,4] = neg(%x)
                                    %2: f32[n,4] = exp(%1)
                                    %3: f32[n,4] = full() {value=0x1p+0, dtype=f32, shape=(n, 4)}
                                    %4: f32[n,4] = add(%2, %3)
                                    %y: f32[n,4] = div(%3, %4)

Takes graphs without `grad` and gives graphs of primitives, calls and control flow. The boundaries
that only differentiation needs, `checkpoint` and `custom_vjp`, are replaced by their graphs too:
what a checkpoint computes again for the backward is then joined with the forward where both are in
one graph, and stays computed twice where they are partitioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smelt.ir.builder import GraphBuilder
from smelt.ir.evaluate import as_tuple
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import Decompose as DecomposeRule
from smelt.passes.rewrite import rewrite

_BOUNDARIES = frozenset({"checkpoint", "custom_vjp"})


@dataclass(frozen=True)
class Decompose:
    """Replace composites, step by step, until there are none.

    Attributes:
        keep: names of composites that stay, because a later pass takes them whole.
    """

    name: ClassVar[str] = "decompose"
    keep: frozenset[str] = frozenset()

    def run(self, graph: Graph) -> Graph:
        while (result := rewrite(graph, self._step)) is not graph:
            graph = result
        return graph

    def _step(self, builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
        if node.op.name in self.keep:
            return None
        if node.op.name in _BOUNDARIES:
            return builder.inline(node.regions[0], node.inputs)
        if isinstance(node.op.rule, DecomposeRule):
            return as_tuple(node.op.rule.rule(builder, node.attrs, *node.inputs))
        return None
