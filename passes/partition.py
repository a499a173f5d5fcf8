"""Split a joint graph into a forward graph and a backward graph that are called apart.

    graph joint(%x, %g) { %y = exp(%x); %d = mul(%g, %y); return %y, %d }
    graph joint(%x) { %y = exp(%x); return %y }
    graph joint_backward(%y, %g) { %d = mul(%g, %y); return %d }

What depends on a cotangent is backward; everything else is forward, and what the backward reads of
it is saved. Takes graphs after the autograd pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.ir.builder import copy_graph
from smelt.ir.errors import InternalError
from smelt.ir.graph import Graph, Value
from smelt.passes.effects import can_raise
from smelt.passes.rewrite import without_dead_nodes


@dataclass(frozen=True)
class Partition:
    """A joint graph in two.

    Attributes:
        forward: takes the primals; gives the joint graph's outputs, then residuals.
        backward: takes saved primals, saved results, then the cotangents; gives the gradients.
        saved_inputs: numbers of the primals that the backward takes, in order.
        saved_outputs: numbers of the forward's outputs that it takes after them, in order; some
            may be outputs that the joint graph has anyway.
    """

    forward: Graph
    backward: Graph
    saved_inputs: tuple[int, ...]
    saved_outputs: tuple[int, ...]


def partition(graph: Graph, outputs: int, cotangents: int) -> Partition:
    """Split `graph`, saving everything that the backward reads.

    Args:
        graph: a joint graph: its last `cotangents` inputs are those of the backward, and its
            outputs after the first `outputs` are the gradients.
        outputs: how many outputs belong to the forward.
        cotangents: how many inputs belong to the backward.

    Raises:
        InternalError: an output of the forward depends on a cotangent.
    """
    primals = graph.inputs[: len(graph.inputs) - cotangents]
    seeds = graph.inputs[len(primals) :]
    later = _dependents(graph, seeds)
    results, gradients = graph.outputs[:outputs], graph.outputs[outputs:]
    if not later.isdisjoint(results):
        raise InternalError(f"{graph.name}: a forward output depends on a cotangent")

    # A node without operands costs nothing to repeat, so each side has its own.
    repeated = {v for node in graph.nodes if not node.inputs for v in node.outputs}
    backward_nodes = [
        n
        for n in graph.nodes
        if not later.isdisjoint(n.outputs) or not repeated.isdisjoint(n.outputs)
    ]
    given = {*seeds, *(v for node in backward_nodes for v in node.outputs)}
    read = dict.fromkeys(v for node in backward_nodes for v in node.inputs if v not in given)
    read.update(dict.fromkeys(v for v in gradients if v not in given))
    saved_inputs = tuple(k for k, v in enumerate(primals) if v in read)
    saved = [v for v in read if v not in set(primals)]
    extra = [v for v in saved if v not in set(results)]
    forward_outputs = (*results, *extra)
    position = {v: k for k, v in reversed(list(enumerate(forward_outputs)))}

    forward_nodes = tuple(n for n in graph.nodes if later.isdisjoint(n.outputs))
    forward = Graph(graph.name, primals, forward_nodes, forward_outputs)
    backward = Graph(
        f"{graph.name}_backward",
        (*(primals[k] for k in saved_inputs), *saved, *seeds),
        tuple(backward_nodes),
        gradients,
    )
    return Partition(
        without_dead_nodes(forward, can_raise),
        copy_graph(without_dead_nodes(backward, can_raise)),
        saved_inputs,
        tuple(position[v] for v in saved),
    )


def _dependents(graph: Graph, roots: Sequence[Value]) -> set[Value]:
    found = set(roots)
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found
