"""From samples of ops to programs: many samples make one graph, one program, one native module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from smelt.codegen.lower.program import lower
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.codegen.target import Target
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.loop.grammar import Program
from smelt.ir.op import OpDef, Sample
from smelt.ir.text import parse
from smelt.ir.types import Shape, row_major_strides
from smelt.passes.decompose import Decompose
from smelt.passes.memory_plan import plan_memory
from smelt.passes.pipeline import optimise

from tests.ops.comparison import attributes, type_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Batch:
    """Applications of ops to their samples, side by side in one graph.

    Attributes:
        graph: over the operands of all samples, giving all their results.
        arrays: its inputs.
        slices: which of its outputs belong to each sample.
    """

    graph: Graph
    arrays: tuple[Array, ...]
    slices: tuple[slice, ...]


def batch(name: str, cases: Sequence[tuple[OpDef, Sample]]) -> Batch:
    """Return the graph that applies each op to its sample."""
    builder = GraphBuilder(name)
    arrays: list[Array] = []
    outputs: list[Any] = []
    slices: list[slice] = []
    for op, sample in cases:
        inputs = [builder.input(type_of(x)) for x in sample.operands]
        regions = tuple(parse(text) for text in sample.regions)
        results = builder.node(op, inputs, attributes(op, sample), regions)
        slices.append(slice(len(outputs), len(outputs) + len(results)))
        outputs.extend(results)
        arrays.extend(map(_forwards, sample.operands))
    return Batch(builder.finish(outputs), tuple(arrays), tuple(slices))


def _forwards(array: Array) -> Array:
    """Return an array without negative strides, which tensors do not have."""
    return array.copy() if any(s < 0 for s in array.strides) else np.asarray(array)


def layout(array: Array) -> Shape | None:
    """Return the strides of an array in elements; None if it is row-major."""
    strides = tuple(s // array.itemsize for s in array.strides)
    return None if strides == row_major_strides(array.shape) else strides


def lowered(batch: Batch, target: Target) -> Program:
    """Lower a batch, op by op, reading its arrays where they lie."""
    graph = Decompose().run(batch.graph)
    return lower(graph, target, input_layouts=[layout(x) for x in batch.arrays])


def scheduled(program: Program, target: Target) -> Program:
    """Schedule each kernel of a program."""
    return replace(program, kernels=tuple(schedule_kernel(k, target) for k in program.kernels))


def optimised(batch: Batch, target: Target) -> Program:
    """Take a batch down the whole way: all passes, fusion groups, memory plan, schedule."""
    graph = optimise(batch.graph)
    program = lower(graph, target, input_layouts=[layout(x) for x in batch.arrays])
    return scheduled(plan_memory(program), target)
