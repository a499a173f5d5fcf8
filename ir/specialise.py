"""Bind symbolic sizes to numbers: from the shapes of a call to a graph without symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from smelt.ir import attributes
from smelt.ir import dim as dims
from smelt.ir.dim import Dim
from smelt.ir.errors import ArgumentError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.types import TensorType


def free_symbols(graph: Graph) -> frozenset[str]:
    """Return the names of the symbolic sizes that occur anywhere in `graph`."""
    found: set[str] = set()
    for value in graph.values():
        for extent in value.type.shape:
            found |= dims.symbols(extent)
    for node in graph.nodes:
        found |= attributes.symbols(node.attrs)
        for region in node.regions:
            found |= free_symbols(region)
    return frozenset(found)


def bind_sizes(
    types: Sequence[TensorType],
    shapes: Sequence[tuple[int, ...]],
    given: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the value of each symbolic size that follows from the shapes of a call.

    Args:
        types: types of a graph's inputs; a size is bound where it stands alone as a dimension.
        shapes: shapes of the arrays that are passed for them.
        given: sizes that are known beforehand.

    Raises:
        ArgumentError: a rank or a size differs from its type, or an expression cannot be decided.
    """
    sizes = dict(given or {})
    for position, (kind, shape) in enumerate(zip(types, shapes, strict=True)):
        if kind.rank != len(shape):
            raise ArgumentError(f"input {position} must be {kind}; its shape is {shape}")
        for extent, size in zip(kind.shape, shape):
            if isinstance(extent, Dim) and str(extent) in dims.symbols(extent):
                sizes.setdefault(str(extent), size)
    for position, (kind, shape) in enumerate(zip(types, shapes)):
        for axis, (extent, size) in enumerate(zip(kind.shape, shape)):
            unknown = dims.symbols(extent) - sizes.keys()
            if unknown:
                raise ArgumentError(
                    f"input {position}: the sizes {', '.join(sorted(unknown))} in {kind} do not "
                    "follow from the shapes of the inputs"
                )
            expected = dims.evaluate(extent, sizes)
            if expected != size:
                raise ArgumentError(
                    f"input {position} must be {kind}: dimension {axis} is {size}, and {extent} "
                    f"is {expected} here"
                )
    return sizes


def specialise(graph: Graph, sizes: Mapping[str, int | Dim]) -> Graph:
    """Return `graph` with symbolic sizes replaced; the same object if none of them occurs."""
    if free_symbols(graph).isdisjoint(sizes):
        return graph
    replaced: dict[Value, Value] = {}

    def fresh(values: Iterable[Value]) -> tuple[Value, ...]:
        found = tuple(values)
        replaced.update((v, Value(v.type.substitute(sizes), v.name)) for v in found)
        return tuple(replaced[v] for v in found)

    inputs = fresh(graph.inputs)
    nodes = tuple(
        Node(
            node.op,
            tuple(replaced[v] for v in node.inputs),
            attributes.substitute(node.attrs, sizes),
            tuple(specialise(region, sizes) for region in node.regions),
            fresh(node.outputs),
            node.location,
        )
        for node in graph.nodes
    )
    return Graph(graph.name, inputs, nodes, tuple(replaced[v] for v in graph.outputs))
