"""Reverse differentiation of graphs: one walk, written against `Rules`.

The autograd pass runs it with a graph builder, and region ops run it to build the backward graphs
of their regions; the interpreter evaluates the graph that it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smelt.ir.builder import GraphBuilder, apply_graph, decomposition, with_names
from smelt.ir.errors import DifferentiationError, InternalError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import Expand, NoVjp, Operand, Rules, Saved, Vjp
from smelt.ir.types import TensorType


def is_differentiable(type: TensorType) -> bool:
    """Tell whether values of `type` carry cotangents: integers and bools do not."""
    return type.dtype.is_floating_point or type.dtype.is_complex


def differentiate(
    rules: Rules,
    nodes: Sequence[Node],
    operands: Mapping[Value, Operand],
    outputs: Sequence[Value],
    cotangents: Sequence[Operand],
    wrt: Sequence[Value],
) -> tuple[Operand, ...]:
    """Apply the vector-Jacobian product of part of a graph.

    Args:
        rules: what the backward computation is applied through.
        nodes: the computation, in topological order; values from elsewhere are constants to it.
        operands: the operand that stands for each value that `nodes` read or give.
        outputs: the values that are differentiated.
        cotangents: one a value of `outputs`, of its type.
        wrt: the values with respect to which; they may be results of `nodes`.

    Returns:
        One cotangent a value of `wrt`, zero where `outputs` do not depend on it.

    Raises:
        DifferentiationError: the way leads through an op that has no derivative.
    """
    active = _dependents(nodes, wrt)
    found: dict[Value, Operand] = {}

    def add(value: Value, cotangent: Operand | None) -> None:
        if cotangent is None or value not in active:
            return
        given, expected = rules.type(cotangent), rules.type(operands[value])
        if given != expected:
            raise InternalError(f"the cotangent of a value of type {expected} is {given}")
        earlier = found.get(value)
        found[value] = cotangent if earlier is None else rules("add", earlier, cotangent)

    for value, cotangent in zip(outputs, cotangents, strict=True):
        add(value, cotangent)
    for node in reversed(nodes):
        seeds = tuple(found.get(v) for v in node.outputs)
        if all(seed is None for seed in seeds) or active.isdisjoint(node.inputs):
            continue
        if stops(node):
            continue  # its result is in `wrt` itself: the gradient goes no further
        rules.at(node.location)
        for value, cotangent in zip(
            node.inputs, _pull_back(rules, node, operands, seeds, active), strict=True
        ):
            add(value, cotangent)
    return tuple(found[v] if v in found else rules.full_like(operands[v], 0.0) for v in wrt)


def _dependents(nodes: Sequence[Node], wrt: Sequence[Value]) -> set[Value]:
    """Return the values with a cotangent that depend on `wrt`, itself included."""
    active = {v for v in wrt if is_differentiable(v.type)}
    for node in nodes:
        if not stops(node) and not active.isdisjoint(node.inputs):
            active.update(v for v in node.outputs if is_differentiable(v.type))
    return active


def stops(node: Node) -> bool:
    """Tell whether no gradient flows through a node."""
    return isinstance(node.op.vjp, NoVjp) and node.op.vjp.zero


def _pull_back(
    rules: Rules,
    node: Node,
    operands: Mapping[Value, Operand],
    seeds: tuple[Operand | None, ...],
    active: set[Value],
) -> tuple[Operand | None, ...]:
    """Return the cotangents of the operands of `node` from those of its results."""
    inputs = tuple(operands[v] for v in node.inputs)
    needs = tuple(v in active for v in node.inputs)
    match node.op.vjp:
        case Vjp(saves, rule):
            saved = Saved(
                node.attrs,
                tuple(rules.type(x) for x in inputs),
                tuple(rules.type(operands[v]) for v in node.outputs),
                _saved_values(node, saves, operands),
                needs,
                node.regions,
            )
            return tuple(rule(rules, saved, *seeds))
        case NoVjp(reason):
            where = "" if node.location is None else f" ({node.location})"
            raise DifferentiationError(f"{node.op.name}{where} has no derivative: {reason}")
        case None:
            return _pull_back_decomposed(rules, node, inputs, seeds, needs)


def _saved_values(
    node: Node, saves: tuple[str, ...], operands: Mapping[Value, Operand]
) -> dict[str, Operand]:
    values: dict[str, Operand] = {}
    for names, held in ((node.op.operands, node.inputs), (node.op.results, node.outputs)):
        for position, name in enumerate(names):
            plain = name.removeprefix("*")
            if plain not in saves:
                continue
            rest = tuple(operands[v] for v in held[position:])
            values[plain] = rest if name.startswith("*") else rest[0]
    return values


def _pull_back_decomposed(
    rules: Rules,
    node: Node,
    inputs: tuple[Operand, ...],
    seeds: tuple[Operand | None, ...],
    needs: tuple[bool, ...],
) -> tuple[Operand | None, ...]:
    """Differentiate a composite through its decomposition, which is applied again for that.

    What is applied twice is joined with the forward computation once that is decomposed too.
    """
    graph = decomposition(node.op, node.attrs, tuple(rules.type(x) for x in inputs))
    values = apply_graph(rules, graph, inputs)
    given = [(v, s) for v, s in zip(graph.outputs, seeds, strict=True) if s is not None]
    wrt = [v for v, needed in zip(graph.inputs, needs) if needed]
    results = iter(
        differentiate(rules, graph.nodes, values, [v for v, _ in given], [s for _, s in given], wrt)
    )
    return tuple(next(results) if needed else None for needed in needs)


def backward_graph(
    graph: Graph, given: tuple[bool, ...], needs: tuple[bool, ...], name: str
) -> Graph:
    """Return the graph that computes `graph` again and then pulls cotangents back through it.

    Args:
        graph: a region.
        given: for each output, whether it has a cotangent.
        needs: for each input, whether its cotangent is wanted.
        name: name of the new graph.

    Returns:
        A graph over the inputs of `graph` and then the cotangents that are given, with the
        cotangents that are wanted as outputs.
    """
    forward = expand_gradients(graph)
    builder = GraphBuilder(name)
    inputs = [builder.input(v.type, v.name) for v in forward.inputs]
    seeded = [v for v, has in zip(forward.outputs, given, strict=True) if has]
    seeds = [builder.input(v.type) for v in seeded]
    values = apply_graph(builder, forward, inputs)
    wrt = [v for v, needed in zip(forward.inputs, needs, strict=True) if needed]
    return builder.finish(differentiate(builder, forward.nodes, values, seeded, seeds, wrt))


def expand_gradients(graph: Graph) -> Graph:
    """Return `graph` with every `grad` node replaced by the nodes of the backward computation.

    They are expanded in order, and each is differentiated through what stands before it, so that
    gradients of gradients need nothing more. Returns `graph` itself if it holds no `grad` node.
    """
    if not any(isinstance(node.op.rule, Expand) for node in graph.walk()):
        return graph
    builder = GraphBuilder(graph.name)
    values = {v: builder.keep_input(v) for v in graph.inputs}
    names: dict[Value, str] = {}
    for node in graph.nodes:
        if isinstance(node.op.rule, Expand):
            operands = tuple(values[v] for v in node.inputs)
            builder.at(node.location)
            gradients = expand_one(builder, operands, node.attrs.outputs)
            values.update(zip(node.outputs, gradients, strict=True))
            names.update((g, v.name) for g, v in zip(gradients, node.outputs) if not g.name)
            continue
        inputs = tuple(values[v] for v in node.inputs)
        regions = tuple(expand_gradients(region) for region in node.regions)
        same = Node(node.op, inputs, node.attrs, regions, node.outputs, node.location)
        values.update((v, v) for v in builder.keep(same))
    return with_names(builder.finish(values[v] for v in graph.outputs), names)


def expand_one(
    builder: GraphBuilder, operands: tuple[Value, ...], outputs: int
) -> tuple[Value, ...]:
    """Append the backward computation of one `grad` node; return its gradients."""
    nodes = builder.nodes
    standing = {v: v for v in builder.values()}
    return differentiate(
        builder,
        nodes,
        standing,
        operands[:outputs],
        operands[outputs : 2 * outputs],
        operands[2 * outputs :],
    )
