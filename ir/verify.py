"""Check that a graph keeps the rules of graph IR; re-infers every type."""

from __future__ import annotations

from smelt.ir import attributes, registry
from smelt.ir import dim as dims
from smelt.ir.errors import TypeInferenceError, VerifyError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.infer import infer_types
from smelt.ir.text.attributes import RESERVED
from smelt.ir.text.printer import print_name, print_node
from smelt.ir.types import TensorType


def verify(graph: Graph) -> Graph:
    """Return `graph` if it is well formed.

    Every value is defined once and in one graph only, and before it is used; each op is the
    registered one, has attributes of its class, graphs only if it may own some, and results of the
    types that inference gives.

    Raises:
        VerifyError: with what is wrong, and the node as text.
        UndecidedDimError: inference asks about symbolic sizes, and no assumptions are in force.
    """
    _verify(graph, {})
    return graph


def _verify(graph: Graph, owners: dict[Value, Graph]) -> None:
    outer = dict(owners)
    known: set[Value] = set()
    for position, value in enumerate(graph.inputs):
        problem = _claim(value, graph, owners, known)
        if problem is not None:
            raise VerifyError(f"{_in(graph)}: input {position}: {problem}")
    seen: set[Node] = set()
    for node in graph.nodes:
        if node in seen:
            raise _error(node, graph, "the node stands in the graph twice")
        seen.add(node)
        for position, value in enumerate(node.inputs):
            if value not in known:
                problem = _absence(value, graph, outer)
                raise _error(node, graph, f"operand {position} {problem}")
        _verify_op(node, graph)
        for position, value in enumerate(node.outputs):
            problem = _claim(value, graph, owners, known)
            if problem is not None:
                raise _error(node, graph, f"result {position}: {problem}")
        for region in node.regions:
            _verify(region, owners)
        _verify_types(node, graph)
    for position, value in enumerate(graph.outputs):
        if value not in known:
            problem = _absence(value, graph, outer)
            raise VerifyError(f"{_in(graph)}: output {position} {problem}")


def _claim(value: Value, graph: Graph, owners: dict[Value, Graph], known: set[Value]) -> str | None:
    """Note that `graph` defines `value`; return what is wrong about that."""
    if value in known:
        return f"the value of type {value.type} is defined twice"
    owner = owners.get(value)
    if owner is not None and owner is not graph:
        return f"the value of type {value.type} belongs to the graph {print_name(owner.name)} too"
    owners[value] = graph
    known.add(value)
    reserved = [n for d in value.type.shape for n in sorted(dims.symbols(d)) if n in RESERVED]
    if reserved:
        return f"a symbolic size cannot be called {reserved[0]}"
    if any(isinstance(d, int) and d < 0 for d in value.type.shape):
        return f"the type {value.type} has a negative dimension"
    return None


def _absence(value: Value, graph: Graph, outer: dict[Value, Graph]) -> str:
    if any(value in node.outputs for node in graph.nodes):
        return f"({value.type}) is used before it is defined"
    if value in outer:
        return (
            f"({value.type}) is captured from the graph {print_name(outer[value].name)} without "
            "being an operand of the node that owns the region"
        )
    return f"({value.type}) is not a value of this graph"


def _verify_op(node: Node, graph: Graph) -> None:
    if registry.OPS.get(node.op.name) is not node.op:
        raise _error(node, graph, f"{node.op.name} is not the registered op of that name")
    if type(node.attrs) is not node.op.attrs:
        raise _error(
            node,
            graph,
            f"attributes must be {node.op.attrs.__name__}; they are {type(node.attrs).__name__}",
        )
    for name, value in attributes.items(node.attrs):
        try:
            attributes.value_key(value)
        except TypeError as error:
            raise _error(node, graph, f"attribute {name}: {error}") from error
        reserved = sorted(attributes.symbols(value) & RESERVED)
        if reserved:
            raise _error(
                node, graph, f"attribute {name}: a symbolic size cannot be called {reserved[0]}"
            )


def _verify_types(node: Node, graph: Graph) -> None:
    try:
        expected = infer_types(node.op, node.attrs, node.input_types, node.regions)
    except TypeInferenceError as error:
        raise _error(node, graph, str(error)) from error
    found = tuple(v.type for v in node.outputs)
    if len(found) != len(expected):
        raise _error(node, graph, f"expected {len(expected)} results; there are {len(found)}")
    for position, (ours, theirs) in enumerate(zip(found, expected)):
        if not _same_type(ours, theirs):
            raise _error(node, graph, f"result {position} must be {theirs}; it is {ours}")


def _same_type(a: TensorType, b: TensorType) -> bool:
    return a == b or (
        a.dtype is b.dtype
        and a.rank == b.rank
        and all(dims.same(m, n) for m, n in zip(a.shape, b.shape))
    )


def _error(node: Node, graph: Graph, problem: str) -> VerifyError:
    return VerifyError(f"{_in(graph)}: {problem}\n  {_text(node, graph)}")


def _text(node: Node, graph: Graph) -> str:
    try:
        return print_node(node, graph).replace("\n", "\n  ")
    except TypeError:  # attributes without a text are what some errors are about
        return f"{node.op.name}(…) {node.attrs!r}"


def _in(graph: Graph) -> str:
    return f"in graph {print_name(graph.name)}"
