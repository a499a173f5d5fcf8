"""Rebuild graphs: the walk that rewriting passes share. Graph IR to graph IR.

A rule sees one node at a time, with its operands already rewritten, and appends what should stand
in its place. The walk descends into regions and hands back the same graph where no rule applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smelt.ir import attributes
from smelt.ir.builder import GraphBuilder, with_names
from smelt.ir.graph import Graph, Node, Value

Rule = Callable[[GraphBuilder, Node], "Sequence[Value] | None"]
"""Given the graph so far and a node whose operands are values of it, give the values that stand for
the node's results, or None to keep the node."""


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Return `graph` with `rule` applied to each node, regions first; `graph` if it never did."""
    builder = GraphBuilder(graph.name)
    values = {v: builder.keep_input(v) for v in graph.inputs}
    names: dict[Value, str] = {}
    changed = False
    for node in graph.nodes:
        regions = tuple(rewrite(region, rule) for region in node.regions)
        inputs = tuple(values[v] for v in node.inputs)
        seen = node
        if inputs != node.inputs or any(a is not b for a, b in zip(regions, node.regions)):
            seen = Node(node.op, inputs, node.attrs, regions, node.outputs, node.location)
            changed = True
        builder.at(node.location)
        results = rule(builder, seen)
        if results is None:
            results = _kept(builder, seen, node)
        else:
            changed = True
            names.update(
                (new, old.name)
                for new, old in zip(results, node.outputs)
                if old.name and not new.name
            )
        values.update(zip(node.outputs, results, strict=True))
    if not changed:
        return graph
    return with_names(builder.finish(values[v] for v in graph.outputs), names)


def _kept(builder: GraphBuilder, node: Node, original: Node) -> tuple[Value, ...]:
    """Append a node that no rule replaced, inferring again only if operands changed in type."""
    if node.input_types == original.input_types:
        return builder.keep(node)
    names = tuple(v.name for v in node.outputs)
    return builder.node(node.op, node.inputs, node.attrs, node.regions, node.location, names)


def without_dead_nodes(graph: Graph, is_root: Callable[[Node], bool]) -> Graph:
    """Return `graph` without the nodes that neither an output nor a root depends on.

    Args:
        graph: what to prune, regions included.
        is_root: tells whether a node must stay although nothing reads it; only asked about such.
    """
    regions = {
        node: tuple(without_dead_nodes(region, is_root) for region in node.regions)
        for node in graph.nodes
    }
    live: set[Value] = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.outputs) and not is_root(node):
            continue
        live.update(node.inputs)
        if any(new is not old for new, old in zip(regions[node], node.regions)):
            node = Node(
                node.op, node.inputs, node.attrs, regions[node], node.outputs, node.location
            )
        kept.append(node)
    if len(kept) == len(graph.nodes) and all(a is b for a, b in zip(reversed(kept), graph.nodes)):
        return graph
    return Graph(graph.name, graph.inputs, tuple(reversed(kept)), graph.outputs)


def with_attrs(builder: GraphBuilder, node: Node, *inputs: Value, **changes: object) -> Value:
    """Append the op of `node` with other operands and some attributes changed; give its result."""
    attrs = node.op.attrs(**{**attributes.keywords(node.attrs), **changes})
    return builder.node(node.op, inputs, attrs)[0]
