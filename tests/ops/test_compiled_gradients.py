"""Gradients of every op as machine code: the whole pipeline against the graph interpreter.

What the interpreter gives is held to finite differences in `test_gradients`. Errors are judged by
the same gradients in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir.interpreter import run_graph
from smelt.ir.op import OpDef, Sample

from tests.codegen.llvm import native
from tests.ops.comparison import as_float64, describe, epsilon, is_float, type_of
from tests.ops.rungs import Batch, optimised
from tests.ops.test_gradients import NAMES, OPS, cotangents, gradient_graph, results

Array = np.ndarray[Any, Any]

# Samples an op whose gradients are compiled by default; the deep tier takes all.
FIRST = 3


def smooth(op: OpDef) -> list[Sample]:
    """Return the samples at which gradients are compared: float32 and float64, no kinks."""
    found: list[Sample] = []
    for sample in op.samples():
        floats = [x for x in (*sample.operands, *results(op, sample)) if is_float(x)]
        plain = all(x.dtype in (np.float32, np.float64) for x in floats)
        inputs = [x for x in sample.operands if is_float(x)]
        if sample.differentiable and plain and inputs and len(floats) > len(inputs):
            found.append(sample)
    return found


def check(op: OpDef, sample: Sample) -> None:
    graph = gradient_graph(op, sample)
    seeds = cotangents([y for y in results(op, sample) if is_float(y)], 5)
    arrays = tuple(np.asarray(x) for x in (*sample.operands, *seeds))
    program = optimised(Batch(graph, arrays, ()), native.best())
    found = native.run(program, arrays, native.best())
    eager = run_graph(graph, arrays)
    exact = exact_gradients(op, sample, seeds)
    for mine, theirs, truth in zip(found, eager, exact, strict=True):
        where = f"gradient of {describe(op, sample)}"
        assert type_of(mine) == type_of(theirs), where
        assert np.array_equal(np.isfinite(mine), np.isfinite(theirs)), where
        at = np.isfinite(theirs)
        error, bound = (np.abs((a - truth)[at]).max(initial=0.0) for a in (mine, theirs))
        floats = [x[np.isfinite(x)] for x in (truth, *arrays) if is_float(x)]
        scale = max(np.abs(x).max(initial=1.0) for x in floats)
        slack = 8 * op.error * epsilon(type_of(theirs).dtype) * float(scale)
        assert error <= 4 * bound + slack, f"{where}: {error}:\n{mine}\ninstead of\n{theirs}"


def exact_gradients(op: OpDef, sample: Sample, seeds: list[Array]) -> tuple[Array, ...]:
    """Return the gradients in float64; for an op that states a dtype, as it states it."""
    if "dtype" in sample.attrs:
        return run_graph(gradient_graph(op, sample), [*sample.operands, *seeds])
    wide = Sample(tuple(as_float64(x) for x in sample.operands), sample.attrs)
    operands = [*wide.operands, *(as_float64(s) for s in seeds)]
    return run_graph(gradient_graph(op, wide), operands)


@pytest.mark.parametrize("op", OPS, ids=NAMES)
def test_compiled_gradient(op: OpDef) -> None:
    for sample in smooth(op)[:FIRST]:
        check(op, sample)


@pytest.mark.deep
@pytest.mark.parametrize("op", OPS, ids=NAMES)
def test_every_compiled_gradient(op: OpDef) -> None:
    for sample in smooth(op)[FIRST:]:
        check(op, sample)
