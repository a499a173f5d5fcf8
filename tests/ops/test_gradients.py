"""vjp rules against central differences in float64, and gradients of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.evaluate import evaluate
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.op import Decompose, Lower, NoVjp, OpDef, Sample

from tests.ops.comparison import as_float64, attributes, describe, is_float, type_of

Array = np.ndarray[Any, Any]

STEP = 1e-6


def differentiable(op: OpDef) -> bool:
    return not isinstance(op.vjp, NoVjp) and isinstance(op.rule, (Lower, Decompose))


OPS = [op for op in sorted(registry.OPS.values(), key=lambda o: o.name) if differentiable(op)]
NAMES = [op.name for op in OPS]

# Operands that the op holds constant, as PyTorch does: their gradient is zero by definition.
CONSTANT = {"nll_loss": "weight", "cross_entropy": "weight"}

# Second derivatives of these are taken at every float64 sample; of the others at the first.
THOROUGH = frozenset({"mul", "div", "pow", "exp", "tanh", "sigmoid", "gelu", "softmax", "matmul"})


def float64_samples(op: OpDef) -> list[Sample]:
    """Return the smooth samples with float32 or float64 operands, in float64."""
    found: list[Sample] = []
    for sample in op.samples():
        floats = [x for x in sample.operands if is_float(x)]
        wide = all(x.dtype in (np.float32, np.float64) for x in floats)
        if sample.differentiable and floats and wide:
            operands = tuple(as_float64(x) for x in sample.operands)
            attrs = dict(sample.attrs)
            if attrs.get("dtype", dtypes.float64) is dtypes.float32:
                attrs["dtype"] = dtypes.float64
            found.append(Sample(operands, attrs))
    return [s for s in found if _gives_float64(results(op, s))]


def _gives_float64(arrays: tuple[Array, ...]) -> bool:
    floats = [y.dtype for y in arrays if is_float(y)]
    return bool(floats) and all(dtype == np.float64 for dtype in floats)


def results(op: OpDef, sample: Sample) -> tuple[Array, ...]:
    return evaluate(op, attributes(op, sample), sample.operands)


def cotangents(arrays: list[Array], seed: int) -> list[Array]:
    drawn = np.random.default_rng(seed)
    return [np.asarray(drawn.uniform(0.5, 1.5, x.shape)).astype(x.dtype) for x in arrays]


def gradient_graph(op: OpDef, sample: Sample, order: int = 1) -> Graph:
    """Return the graph of the gradients of `op`: over its operands and the cotangents.

    With `order` 2, of the gradients of those, over operands, cotangents and their cotangents.
    """
    builder = GraphBuilder(f"{op.name}_grad")
    inputs = [builder.input(type_of(x)) for x in sample.operands]
    outputs = builder.node(op, inputs, attributes(op, sample))
    ys = [y for y in outputs if y.type.dtype.is_floating_point]
    xs = [x for x in inputs if x.type.dtype.is_floating_point]
    for _ in range(order):
        seeds = [builder.input(y.type) for y in ys]
        grads = builder("grad", *ys, *seeds, *xs, outputs=len(ys))
        ys, xs = list(grads), xs + seeds
    return builder.finish(ys)


def numeric(function: Any, arrays: list[Array], at: int) -> Array:
    """Return the gradient of a scalar function with respect to `arrays[at]`."""
    gradient = np.zeros(arrays[at].shape)
    for place in np.ndindex(arrays[at].shape):
        values: list[float] = []
        for sign in (1.0, -1.0):
            moved = [a.copy() for a in arrays]
            moved[at][place] += sign * STEP
            values.append(function(moved))
        gradient[place] = (values[0] - values[1]) / (2 * STEP)
    return gradient


def slope(op: OpDef, function: Any, arrays: list[Array], at: int) -> Array:
    """Return the gradient of a function of operands; zero for one that the op holds constant."""
    if op.operand_name(at).split("[")[0] == CONSTANT.get(op.name):
        return np.zeros(arrays[at].shape)
    return numeric(function, arrays, at)


def weighted(arrays: Any, weights: list[Array]) -> float:
    floats = [a for a in arrays if is_float(a)]
    return sum(float(np.sum(a * w)) for a, w in zip(floats, weights, strict=True))


def check(found: tuple[Array, ...], expected: list[Array], where: str) -> None:
    for k, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
        assert np.allclose(mine, theirs, rtol=2e-5, atol=2e-6 * scale, equal_nan=True), (
            f"{where}, operand {k}:\n{mine}\ninstead of\n{theirs}"
        )


@pytest.mark.parametrize("op", OPS, ids=NAMES)
def test_gradient_is_the_slope(op: OpDef) -> None:
    for sample in float64_samples(op):
        seeds = cotangents([y for y in results(op, sample) if is_float(y)], 1)
        found = run_graph(gradient_graph(op, sample), [*sample.operands, *seeds])
        arrays = list(sample.operands)

        def value(moved: list[Array], op: OpDef = op, s: Sample = sample, w: Any = seeds) -> float:
            return weighted(evaluate(op, attributes(op, s), tuple(moved)), w)

        expected = [slope(op, value, arrays, k) for k, x in enumerate(arrays) if is_float(x)]
        check(found, expected, describe(op, sample))


@pytest.mark.parametrize("op", OPS, ids=NAMES)
def test_gradient_of_gradient_is_its_slope(op: OpDef) -> None:
    samples = [s for s in float64_samples(op) if sum(x.size for x in s.operands) <= 24]
    for sample in samples if op.name in THOROUGH else samples[:1]:
        seeds = cotangents([y for y in results(op, sample) if is_float(y)], 1)
        first = gradient_graph(op, sample)
        arrays = [*sample.operands, *seeds]
        second = cotangents([x for x in sample.operands if is_float(x)], 2)
        found = run_graph(gradient_graph(op, sample, order=2), [*arrays, *second])

        def value(moved: list[Array], graph: Graph = first, w: Any = second) -> float:
            return weighted(run_graph(graph, moved), w)

        expected = [numeric(value, arrays, k) for k, x in enumerate(arrays) if is_float(x)]
        check(found, expected, f"second order: {describe(op, sample)}")


@pytest.mark.parametrize("op", OPS, ids=NAMES)
def test_gradient_has_the_type_of_its_operand(op: OpDef) -> None:
    for sample in op.samples():
        ys = [y for y in results(op, sample) if is_float(y)]
        xs = [x for x in sample.operands if is_float(x)]
        if not xs or not ys:
            continue
        graph = gradient_graph(op, sample)
        assert tuple(v.type for v in graph.outputs) == tuple(map(type_of, xs))
        run_graph(graph, [*sample.operands, *cotangents(ys, 3)])
