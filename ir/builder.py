"""Build graphs: `GraphBuilder` applies ops by appending nodes, with inferred types.

It is one of the implementations of `Rules`, so that vjp and decomposition rules write graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smelt.ir import attributes, registry
from smelt.ir.constant import ConstantValue
from smelt.ir.errors import InternalError
from smelt.ir.evaluate import as_tuple
from smelt.ir.graph import Graph, Location, Node, Value
from smelt.ir.infer import infer_types
from smelt.ir.op import Decompose, NoAttrs, OpDef, Operand, Rules
from smelt.ir.types import TensorType


class GraphBuilder(Rules):
    """A graph in the making; operands are the `Value`s that it has given out.

    Attributes:
        name: name of the graph.
        location: the user's line to which the nodes that are appended next belong.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.location: Location | None = None
        self._inputs: list[Value] = []
        self._nodes: list[Node] = []
        self._known: dict[Value, Node | None] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes appended so far."""
        return tuple(self._nodes)

    def producer(self, value: Value) -> Node | None:
        """Return the node that gives `value`; None for an input."""
        return self._known[value]

    def values(self) -> tuple[Value, ...]:
        """Return the inputs and results so far, in order."""
        return tuple(self._known)

    def input(self, type: TensorType, name: str = "") -> Value:
        """Append a parameter."""
        value = Value(type, name)
        self._inputs.append(value)
        self._known[value] = None
        return value

    def constant(self, array: Any, name: str = "") -> Value:
        """Append a constant with the elements of `array`."""
        value = array if isinstance(array, ConstantValue) else ConstantValue(array)
        op = registry.OPS["constant"]
        return self.node(op, (), op.attrs(value=value), names=(name,))[0]

    def __call__(
        self, op: str, *operands: Value, regions: tuple[Graph, ...] = (), **attrs: Any
    ) -> Any:
        definition = registry.OPS[op]
        results = self.node(
            definition, operands, definition.attrs(**attrs), regions, location=self.location
        )
        return results[0] if definition.results == ("out",) else results

    def type(self, operand: Value) -> TensorType:
        return operand.type

    def at(self, location: Location | None) -> None:
        self.location = location

    def node(
        self,
        op: OpDef,
        inputs: Sequence[Value],
        attrs: Any = None,
        regions: tuple[Graph, ...] = (),
        location: Location | None = None,
        names: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Append a node and return its results.

        Args:
            op: its definition.
            inputs: operands, values of this builder.
            attrs: an instance of `op.attrs`; None for an op without attributes.
            regions: graphs that the node will own.
            location: the user's line; None: the builder's current one.
            names: hints for the results; empty: none.

        Raises:
            TypeInferenceError: the operands do not fit.
            InternalError: an operand is not of this builder.
        """
        operands = tuple(inputs)
        for position, value in enumerate(operands):
            if value not in self._known:
                raise InternalError(
                    f"{op.name}: operand {position} ({value.type}) is not a value of the graph "
                    f"{self.name} that is being built"
                )
        attrs = NoAttrs() if attrs is None else attrs
        types = infer_types(op, attrs, tuple(v.type for v in operands), regions)
        hints = tuple(names) or ("",) * len(types)
        outputs = tuple(Value(t, n) for t, n in zip(types, hints, strict=True))
        where = self.location if location is None else location
        node = Node(op, operands, attrs, regions, outputs, where)
        self._nodes.append(node)
        self._known.update((v, node) for v in outputs)
        return outputs

    def keep_input(self, value: Value) -> Value:
        """Append a parameter of the graph that this one is to replace, as it is."""
        self._inputs.append(value)
        self._known[value] = None
        return value

    def keep(self, node: Node) -> tuple[Value, ...]:
        """Append a node as it is, results included, and return those.

        For a graph that replaces the one that the results are from. The operands are values of
        this builder and have the types that they had there, so nothing is inferred again.
        """
        self._nodes.append(node)
        self._known.update((v, node) for v in node.outputs)
        return node.outputs

    def inline(self, graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Append the nodes of `graph`, reading `operands` for its inputs; return its outputs."""
        values = self.copy_nodes(graph.nodes, dict(zip(graph.inputs, operands, strict=True)))
        return tuple(values[v] for v in graph.outputs)

    def copy_nodes(
        self, nodes: Iterable[Node], values: Mapping[Value, Value]
    ) -> dict[Value, Value]:
        """Append copies of `nodes`; return `values` with their results added.

        Args:
            nodes: nodes of some graph, in topological order.
            values: for each value that they read from elsewhere, the one to read here.
        """
        found = dict(values)
        for node in nodes:
            inputs = tuple(found[v] for v in node.inputs)
            names = tuple(v.name for v in node.outputs)
            regions = tuple(copy_graph(region) for region in node.regions)
            outputs = self.node(node.op, inputs, node.attrs, regions, node.location, names)
            found.update(zip(node.outputs, outputs, strict=True))
        return found

    def finish(self, outputs: Iterable[Value]) -> Graph:
        """Return the graph with the given outputs."""
        results = tuple(outputs)
        for position, value in enumerate(results):
            if value not in self._known:
                raise InternalError(
                    f"output {position} ({value.type}) is not a value of the graph {self.name} "
                    "that is being built"
                )
        return Graph(self.name, tuple(self._inputs), tuple(self._nodes), results)


def decomposition(op: OpDef, attrs: Any, operands: tuple[TensorType, ...]) -> Graph:
    """Return one step of the decomposition of a composite, as a graph over its operands."""
    assert isinstance(op.rule, Decompose), f"{op.name} is not a composite"
    builder = GraphBuilder(op.name)
    inputs = tuple(
        builder.input(t, op.operand_name(k).replace("[", "").replace("]", ""))
        for k, t in enumerate(operands)
    )
    return builder.finish(as_tuple(op.rule.rule(builder, attrs, *inputs)))


def with_names(graph: Graph, names: Mapping[Value, str]) -> Graph:
    """Return `graph` with the name hints of some values replaced."""
    if not names:
        return graph
    values = {v: Value(v.type, names.get(v, v.name)) for v in graph.values()}
    nodes = tuple(
        Node(
            node.op,
            tuple(values[v] for v in node.inputs),
            node.attrs,
            node.regions,
            tuple(values[v] for v in node.outputs),
            node.location,
        )
        for node in graph.nodes
    )
    inputs = tuple(values[v] for v in graph.inputs)
    return Graph(graph.name, inputs, nodes, tuple(values[v] for v in graph.outputs))


def copy_graph(graph: Graph) -> Graph:
    """Return the same graph made of other values, since a value belongs to one graph."""
    builder = GraphBuilder(graph.name)
    inputs = {v: builder.input(v.type, v.name) for v in graph.inputs}
    values = builder.copy_nodes(graph.nodes, inputs)
    return builder.finish(values[v] for v in graph.outputs)


def apply_graph(rules: Rules, graph: Graph, operands: Sequence[Operand]) -> dict[Value, Operand]:
    """Apply every node of `graph` through `rules`; return what stands for each value."""
    found: dict[Value, Operand] = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        rules.at(node.location)
        inputs = [found[v] for v in node.inputs]
        regions = tuple(copy_graph(region) for region in node.regions)
        results = rules(node.op.name, *inputs, regions=regions, **attributes.keywords(node.attrs))
        found.update(zip(node.outputs, as_tuple(results), strict=True))
    return found
