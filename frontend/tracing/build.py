"""From a recorded program to a graph.

Gives graph IR with `grad` nodes as recorded; what eager execution keeps off the tape (`no_grad`,
gradients that cannot be differentiated again) is behind a `detach`.
"""

from __future__ import annotations

from collections.abc import Sequence

from smelt.ir.builder import GraphBuilder
from smelt.ir.dtypes import Kind
from smelt.ir.graph import Graph, Value
from smelt.ir.op import NoVjp, OpDef
from smelt.ir.registry import OPS
from smelt.tracing.steps import GradEvent, InputEvent, OpEvent, ScalarEvent, Step


def build_graph(name: str, end: Step, outputs: Sequence[int]) -> Graph:
    """Return the graph of the program that ends at `end`.

    Args:
        name: name of the graph.
        end: its last step.
        outputs: slots that it returns.
    """
    builder, values = build_values(name, end)
    return builder.finish([values[slot] for slot in outputs])


def build_values(name: str, end: Step) -> tuple[GraphBuilder, list[Value]]:
    """Return a builder that holds the program, and the value of each slot."""
    builder = GraphBuilder(name)
    values: list[Value] = []
    gradual: list[bool] = []
    path = end.path()
    # Inputs come first in a graph, wherever in the recording they were met.
    parameters = {
        step.first_slot: builder.input(step.results[0].type)
        for step in path
        if isinstance(step.event, InputEvent | ScalarEvent)
    }
    for step in path:
        match step.event:
            case InputEvent() | ScalarEvent():
                values.append(parameters[step.first_slot])
            case OpEvent(op, attrs, inputs, differentiable, location):
                operands = [values[slot] for slot in inputs]
                results = builder.node(op, operands, attrs, location=location)
                stopped = not differentiable and any(gradual[slot] for slot in inputs)
                if stopped and not _is_inert(op):
                    results = tuple(_detached(builder, v) for v in results)
                values += results
            case GradEvent() as event:
                slots = (*event.outputs, *event.cotangents, *event.wrt)
                op = OPS["grad"]
                attrs = op.attrs(outputs=len(event.outputs))
                operands = [values[slot] for slot in slots]
                results = builder.node(op, operands, attrs, location=event.location)
                if not event.create_graph:
                    results = tuple(_detached(builder, v) for v in results)
                values += results
            case _:
                pass
        gradual += [result.requires_grad for result in step.results]
    return builder, values


def _is_inert(op: OpDef) -> bool:
    return isinstance(op.vjp, NoVjp) and op.vjp.zero


def _detached(builder: GraphBuilder, value: Value) -> Value:
    if value.type.dtype.kind not in (Kind.FLOAT, Kind.COMPLEX):
        return value
    return builder("detach", value)
