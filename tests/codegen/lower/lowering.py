"""What the tests of lowering share: programs from graphs, run by the loop interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from smelt.codegen.lower.program import lower
from smelt.codegen.target import host
from smelt.ir import dtypes
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph, Value
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.grammar import Launch, Program
from smelt.ir.loop.interpreter import run_program
from smelt.ir.loop.verify import verify_program
from smelt.ir.types import Shape, TensorType
from smelt.passes import pipeline
from smelt.passes.memory_plan import plan_memory

Array = np.ndarray[Any, Any]

TARGET = host(2)
_TOLERANCE = {2: 3e-2, 4: 1e-4, 8: 1e-10}


def f32(*shape: int) -> TensorType:
    """Return a type of single-precision floats."""
    return TensorType(dtypes.float32, shape)


def i64(*shape: int) -> TensorType:
    """Return a type of 64-bit integers."""
    return TensorType(dtypes.int64, shape)


def arrays_for(graph: Graph, scale: float = 1.0, limit: int = 4) -> tuple[Array, ...]:
    """Return random arrays for the inputs: normal floats, integers below `limit`."""
    random = np.random.default_rng(0)

    def array(value: Value) -> Array:
        kind = value.type.dtype
        if kind.is_floating_point:
            return np.asarray(random.standard_normal(value.type.sizes) * scale).astype(kind.numpy)
        return np.asarray(random.integers(0, limit, value.type.sizes)).astype(kind.numpy)

    return tuple(array(v) for v in graph.inputs)


def assert_close(expected: Sequence[Array], found: Sequence[Array]) -> None:
    """Assert that results agree in type and, within rounding, in value."""
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if dtypes.of_numpy(a.dtype).is_floating_point:
            bound = _TOLERANCE[a.dtype.itemsize]
            np.testing.assert_allclose(
                b.astype(np.float64), a.astype(np.float64), rtol=bound, atol=bound
            )
        else:
            np.testing.assert_array_equal(b, a)


def lowered(
    graph: Graph,
    layouts: Sequence[Shape | None] = (),
    donate: Mapping[int, int] | None = None,
    optimise: bool = True,
) -> Program:
    """Return the planned program of a graph, verified."""
    ready = pipeline.optimise(graph) if optimise else graph
    program = plan_memory(lower(ready, TARGET, input_layouts=layouts, donate=donate), donate)
    verify_program(program)
    return program


def check(graph: Graph, arrays: Sequence[Array] | None = None, optimise: bool = True) -> Program:
    """Assert that a graph's program gives what the graph gives; return it."""
    given = arrays_for(graph) if arrays is None else [_forwards(a) for a in arrays]
    program = lowered(graph, [_layout(a) for a in given], optimise=optimise)
    with np.errstate(all="ignore"):
        assert_close(run_graph(graph, given), run_program(program, given))
    return program


def _forwards(array: Array) -> Array:
    """Return an array without negative strides, as tensors are."""
    return array if min(array.strides, default=0) >= 0 else array.copy()


def _layout(array: Array) -> Shape:
    return tuple(s // array.itemsize for s in array.strides)


def launches(program: Program) -> list[str]:
    """Return the kernels that a program without control flow launches, in order."""
    assert all(isinstance(step, Launch) for step in program.steps)
    return [step.kernel for step in program.steps if isinstance(step, Launch)]


def single(op: str, *types: TensorType, **attrs: Any) -> Graph:
    """Return a graph that applies one op."""
    builder = GraphBuilder(op)
    found = builder(op, *(builder.input(t) for t in types), **attrs)
    return builder.finish(found if isinstance(found, tuple) else (found,))
