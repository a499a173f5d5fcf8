"""Which nodes may stop a program: an analysis of graph IR.

Eager execution raises an error from data whether or not anything uses the result, so a node that
can raise one stays even where it is dead.
"""

from __future__ import annotations

from smelt.ir.builder import decomposition
from smelt.ir.graph import Node
from smelt.ir.loop import grammar
from smelt.ir.op import Call, Decompose, Expand, Lower, Region
from smelt.ir.structured import Nest, Stage
from smelt.ir.types import TensorType


def can_raise(node: Node) -> bool:
    """Tell whether evaluating `node` can fail, depending on data."""
    match node.op.rule:
        case Lower(define):
            definition = define(node.attrs, *node.input_types)
            match definition:
                case Stage():
                    return bool(definition.checks)
                case Nest():
                    return _nest_can_raise(definition, node)
        case Decompose():
            graph = decomposition(node.op, node.attrs, node.input_types)
            return any(can_raise(inner) for inner in graph.nodes)
        case Region():
            # A loop may also run for ever, but then eager would not have come back either.
            return any(can_raise(inner) for region in node.regions for inner in region.nodes)
        case Call():
            return True
        case Expand():
            return False


def _nest_can_raise(nest: Nest, node: Node) -> bool:
    inputs = _buffers("in", node.input_types)
    outputs = _buffers("out", tuple(v.type for v in node.outputs))
    return any(isinstance(s, grammar.Check) for s in grammar.walk(nest.build(inputs, outputs)))


def _buffers(name: str, types: tuple[TensorType, ...]) -> tuple[grammar.Buffer, ...]:
    return tuple(
        grammar.row_major_buffer(f"{name}{k}", t.dtype, t.shape) for k, t in enumerate(types)
    )
