"""Random graphs, with gradients, before and after each pass of the pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from smelt.ir import dtypes
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.verify import verify
from smelt.passes.base import Pass
from smelt.passes.decompose import Decompose
from smelt.passes.pipeline import PIPELINE

from tests.passes.comparison import same_results
from tests.strategies import PRIMITIVES, Case, graphs

COMPOSITES = ("relu", "sigmoid", "square", "reciprocal", "silu", "log_sigmoid")
SETTINGS = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def with_gradient(case: Case) -> Case:
    """Return the case with the gradient of its float outputs added to what it gives."""
    builder = GraphBuilder(case.graph.name)
    inputs = [builder.input(v.type) for v in case.graph.inputs]
    outputs = builder.inline(case.graph, inputs)
    floats = list(dict.fromkeys(v for v in outputs if v.type.dtype.is_floating_point))
    wrt = [v for v in inputs if v.type.dtype.is_floating_point]
    assume(floats and wrt)
    seeds = [builder.full(1.0, v.type) for v in floats]
    gradients = builder("grad", *floats, *seeds, *wrt, outputs=len(floats))
    return Case(builder.finish([*outputs, *gradients]), case.arrays)


def close_results(before: Graph, after: Graph, arrays: tuple[np.ndarray[Any, Any], ...]) -> None:
    """Assert that two graphs agree up to what rounding in another order can do."""
    verify(after)
    with np.errstate(all="ignore"):
        expected, found = run_graph(before, arrays), run_graph(after, arrays)
    for a, b in zip(expected, found, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        wide = (x.astype(np.float64) if x.dtype.kind in "fV" else x for x in (a, b))
        half = a.dtype.itemsize == 2
        np.testing.assert_allclose(*wide, rtol=2e-2 if half else 1e-4, atol=2e-2 if half else 1e-4)


def through_the_pipeline(case: Case) -> None:
    graph = case.graph
    for each in PIPELINE:
        result = each.run(graph)
        compare = close_results if isinstance(each, Decompose) else same_results
        if result is not graph:
            compare(graph, result, case.arrays)
        graph = result


@SETTINGS
@given(graphs(ops=(*PRIMITIVES, *COMPOSITES), most=8, special=False))
def test_the_pipeline_keeps_results(case: Case) -> None:
    through_the_pipeline(case)


SMOOTH = (
    "add", "sub", "mul", "neg", "exp", "sin", "tanh", "reshape", "permute", "expand", "slice",
    "pad", "cat", "flip", "sum", "matmul", "cumsum", "gather", "index_select", "unfold",
    "contiguous", "detach", "maximum", *COMPOSITES,
)  # fmt: skip


@SETTINGS
@given(graphs(ops=SMOOTH, most=10, special=False, preferred=(dtypes.float64,)))
def test_the_pipeline_keeps_gradients(case: Case) -> None:
    through_the_pipeline(with_gradient(case))


@SETTINGS
@given(graphs(ops=SMOOTH, most=6, special=False, preferred=(dtypes.float64,)))
def test_the_pipeline_keeps_gradients_of_gradients(case: Case) -> None:
    through_the_pipeline(with_gradient(with_gradient(case)))


@pytest.mark.parametrize("each", PIPELINE, ids=lambda each: each.name)
def test_an_empty_graph_passes(each: Pass) -> None:
    graph = GraphBuilder("empty").finish(())
    assert each.run(graph) is graph
