"""Split a joint graph into a forward graph and a backward graph that are called apart.

    graph joint(%x, %g) { %y = exp(%x); %d = mul(%g, %y); return %y, %d }
    graph joint(%x) { %y = exp(%x); return %y }
    graph joint_backward(%y, %g) { %d = mul(%g, %y); return %d }

What the forward's outputs need is forward, as is what may raise an error before the backward
begins; everything else is backward, and what it reads of the forward is saved. Takes graphs after
the autograd pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.ir.builder import copy_graph
from smelt.ir.errors import InternalError
from smelt.ir.graph import Graph, Node, Value
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

    forward_nodes = _ancestors(graph, results, later)
    # A node without operands costs nothing to repeat, so each side has its own.
    backward_nodes = [n for n in graph.nodes if n not in forward_nodes or not n.inputs]
    given = {*seeds, *(v for node in backward_nodes for v in node.outputs)}
    read = dict.fromkeys(v for node in backward_nodes for v in node.inputs if v not in given)
    read.update(dict.fromkeys(v for v in gradients if v not in given))
    saved_inputs = tuple(k for k, v in enumerate(primals) if v in read)
    saved = [v for v in read if v not in set(primals)]
    extra = [v for v in saved if v not in set(results)]
    forward_outputs = (*results, *extra)
    position = {v: k for k, v in reversed(list(enumerate(forward_outputs)))}

    kept = tuple(n for n in graph.nodes if n in forward_nodes)
    forward = Graph(graph.name, primals, kept, forward_outputs)
    backward = Graph(
        f"{graph.name}_backward",
        (*(primals[k] for k in saved_inputs), *saved, *seeds),
        tuple(backward_nodes),
        gradients,
    )
    return Partition(
        forward,
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


def _ancestors(graph: Graph, results: Sequence[Value], later: set[Value]) -> set[Node]:
    """Return the nodes that `results` need, and those that may raise, with what they need."""
    needed = set(results)
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if later.isdisjoint(node.outputs) and (
            not needed.isdisjoint(node.outputs) or can_raise(node)
        ):
            found.add(node)
            needed.update(node.inputs)
    return found
