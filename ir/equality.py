"""When two graphs are the same program: equal node by node, whatever objects they are made of."""

from __future__ import annotations

from smelt.ir import attributes
from smelt.ir.graph import Graph, Node, Value


def structurally_equal(a: Graph, b: Graph, names: bool = True, locations: bool = True) -> bool:
    """Tell whether two graphs have the same inputs, nodes in the same order, and outputs.

    Args:
        a: one graph.
        b: the other.
        names: whether names of graphs and hints of values must agree as well.
        locations: whether the user's lines must agree as well.
    """
    counterpart: dict[Value, Value] = {}

    def pair(ours: tuple[Value, ...], theirs: tuple[Value, ...]) -> bool:
        if len(ours) != len(theirs):
            return False
        counterpart.update(zip(ours, theirs))
        return all(
            x.type == y.type and (not names or x.name == y.name) for x, y in zip(ours, theirs)
        )

    def reads(ours: tuple[Value, ...], theirs: tuple[Value, ...]) -> bool:
        return len(ours) == len(theirs) and all(
            counterpart.get(x) is y for x, y in zip(ours, theirs)
        )

    def alike(m: Node, n: Node) -> bool:
        return (
            m.op is n.op
            and reads(m.inputs, n.inputs)
            and attributes.key(m.attrs) == attributes.key(n.attrs)
            and (not locations or m.location == n.location)
            and len(m.regions) == len(n.regions)
            and all(
                structurally_equal(x, y, names, locations) for x, y in zip(m.regions, n.regions)
            )
            and pair(m.outputs, n.outputs)
        )

    return (
        (not names or a.name == b.name)
        and pair(a.inputs, b.inputs)
        and len(a.nodes) == len(b.nodes)
        and all(alike(m, n) for m, n in zip(a.nodes, b.nodes))
        and reads(a.outputs, b.outputs)
    )
