"""Run graphs on arrays, one op at a time: the rung of the ladder next to the references.

A graph is first bound to the sizes of the call, then its gradients are expanded, and then each node
is evaluated by the reference of its op; region ops run their graphs the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smelt.ir import dtypes
from smelt.ir.differentiate import expand_gradients
from smelt.ir.errors import ArgumentError, InternalError
from smelt.ir.evaluate import NUMPY_RULES, ArrayRules, evaluate
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import Region
from smelt.ir.specialise import bind_sizes, specialise
from smelt.ir.types import TensorType

Array = Any


def run_graph(
    graph: Graph,
    arrays: Sequence[Array],
    sizes: Mapping[str, int] | None = None,
    rules: ArrayRules = NUMPY_RULES,
) -> tuple[Array, ...]:
    """Return the outputs of `graph` for the given inputs.

    Args:
        graph: may have symbolic sizes, regions and `grad` nodes.
        arrays: one an input, of its dtype and shape; they are not written.
        sizes: values of symbolic sizes that do not follow from the shapes.
        rules: the array namespace to compute in.

    Raises:
        ArgumentError: the arrays do not fit the inputs.
        InternalError: a reference gives another type than inference says.
    """
    if len(arrays) != len(graph.inputs):
        raise ArgumentError(
            f"{graph.name} takes {len(graph.inputs)} inputs; got {len(arrays)} arrays"
        )
    for position, (value, array) in enumerate(zip(graph.inputs, arrays)):
        if dtypes.of_numpy(array.dtype) is not value.type.dtype:
            raise ArgumentError(
                f"{graph.name}: input {position} must be {value.type}; "
                f"it has dtype {array.dtype} and shape {array.shape}"
            )
    shapes = [array.shape for array in arrays]
    bound = bind_sizes([v.type for v in graph.inputs], shapes, sizes)
    return _run(expand_gradients(specialise(graph, bound)), arrays, rules)


def _run(graph: Graph, arrays: Sequence[Array], rules: ArrayRules) -> tuple[Array, ...]:
    values: dict[Value, Array] = dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes:
        operands = tuple(values[v] for v in node.inputs)
        results = _run_node(node, operands, rules)
        for value, array in zip(node.outputs, results, strict=True):
            found = TensorType(dtypes.of_numpy(array.dtype), array.shape)
            if found != value.type:
                raise InternalError(
                    f"{node.op.name}: the reference gives {found} where inference says {value.type}"
                )
            values[value] = array
    return tuple(values[v] for v in graph.outputs)


def _run_node(node: Node, operands: tuple[Array, ...], rules: ArrayRules) -> tuple[Array, ...]:
    if isinstance(node.op.rule, Region) and node.op.reference is None:
        run = partial(_run, rules=rules)
        return node.op.rule.evaluate(run, node.attrs, node.regions, *operands)
    return evaluate(node.op, node.attrs, operands, node.regions, rules)
