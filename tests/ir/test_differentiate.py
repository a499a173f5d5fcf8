"""Gradients as nodes: what they are, where they stop, and gradients of gradients."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.differentiate import expand_gradients
from smelt.ir.errors import DifferentiationError
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.op import NoVjp, OpDef, Sample
from smelt.ir.text import parse
from smelt.ir.verify import verify

from tests.graphs import sample_graph

REGIONS = ("cond", "scan", "checkpoint", "custom_vjp")


def doubled(sample: Sample) -> Sample:
    """Return the sample with every float operand and region in float64."""
    operands = tuple(
        a.astype(np.float64) if np.asarray(a).dtype.kind == "f" else a for a in sample.operands
    )
    return Sample(operands, sample.attrs, tuple(r.replace("f32", "f64") for r in sample.regions))


def with_gradients(graph: Graph) -> Graph:
    """Return a graph over the inputs and one cotangent a float output that gives gradients."""
    builder = GraphBuilder("gradients")
    inputs = [builder.input(v.type) for v in graph.inputs]
    outputs = [v for v in builder.inline(graph, inputs) if v.type.dtype.is_floating_point]
    seeds = [builder.input(v.type) for v in outputs]
    wrt = [v for v in inputs if v.type.dtype.is_floating_point]
    return builder.finish(builder("grad", *outputs, *seeds, *wrt, outputs=len(outputs)))


@pytest.mark.parametrize("op", [registry.OPS[name] for name in REGIONS], ids=str)
def test_gradients_of_region_ops(op: OpDef) -> None:
    random = np.random.default_rng(0)
    for sample in map(doubled, op.samples()):
        graph = sample_graph(op, sample)
        gradients = verify(expand_gradients(verify(with_gradients(graph))))
        seeds = [random.standard_normal(v.type.sizes) for v in graph.outputs]
        found = run_graph(gradients, [*sample.operands, *seeds])
        floats = [k for k, v in enumerate(graph.inputs) if v.type.dtype.is_floating_point]
        for k, gradient in zip(floats, found, strict=True):
            direction = random.standard_normal(gradient.shape)
            slope = slope_along(direction, k, graph, sample.operands, seeds)
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)


def slope_along(
    direction: np.ndarray,
    position: int,
    graph: Graph,
    operands: tuple[np.ndarray, ...],
    seeds: list[np.ndarray],
) -> float:
    """Return the derivative of the sum of outputs times seeds as one operand moves."""

    def value(step: float) -> float:
        moved = list(operands)
        moved[position] = np.asarray(moved[position] + step * direction)
        return sum(float((y * s).sum()) for y, s in zip(run_graph(graph, moved), seeds))

    return (value(1e-6) - value(-1e-6)) / 2e-6


def gradients_of(text: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    graph = verify(parse(text))
    expanded = verify(expand_gradients(graph))
    assert not any(n.op.name == "grad" for n in expanded.walk())
    return run_graph(graph, arrays)


def test_a_gradient_of_a_gradient() -> None:
    text = """graph g(%x: f64[3], %s: f64[3]) {
      %2: f64[3] = mul(%x, %x)
      %y: f64[3] = mul(%2, %x)
      %dy: f64[3] = grad(%y, %s, %x) {outputs=1}
      %ddy: f64[3] = grad(%dy, %s, %x) {outputs=1}
      return %dy, %ddy
    }"""
    x = np.array([1.0, -2.0, 0.5])
    first, second = gradients_of(text, x, np.ones(3))
    np.testing.assert_allclose(first, 3 * x**2)
    np.testing.assert_allclose(second, 6 * x)


def test_what_is_not_reached_has_a_zero_gradient() -> None:
    text = """graph g(%x: f64[2], %z: f64[3], %s: f64[2]) {
      %3: f64[2] = detach(%x)
      %4: f64[2] = mul(%3, %x)
      %5: bool[2] = gt(%4, %x)
      %6: f64[2] = cast(%5) {dtype=f64}
      %7: f64[2] = add(%6, %4)
      %gx: f64[2], %gz: f64[3] = grad(%7, %s, %x, %z) {outputs=1}
      return %gx, %gz
    }"""
    x = np.array([3.0, -1.0])
    gx, gz = gradients_of(text, x, np.zeros(3), np.ones(2))
    np.testing.assert_array_equal(gx, x)
    np.testing.assert_array_equal(gz, np.zeros(3))


def test_gradients_with_respect_to_values_on_the_way() -> None:
    text = """graph g(%x: f64[2], %s: f64[2]) {
      %h: f64[2] = exp(%x)
      %y: f64[2] = mul(%h, %h)
      %gh: f64[2], %gx: f64[2], %gy: f64[2] = grad(%y, %h, %s, %s, %h, %x, %y) {outputs=2}
      return %gh, %gx, %gy
    }"""
    x = np.array([0.0, 1.0])
    gh, gx, gy = gradients_of(text, x, np.ones(2))
    np.testing.assert_allclose(gh, 2 * np.exp(x) + 1)
    np.testing.assert_allclose(gx, (2 * np.exp(x) + 1) * np.exp(x))
    np.testing.assert_array_equal(gy, np.ones(2))


def test_only_what_stands_before_is_differentiated() -> None:
    text = """graph g(%x: f64[2], %s: f64[2]) {
      %y: f64[2] = mul(%x, %x)
      %gx: f64[2] = grad(%y, %s, %x) {outputs=1}
      %z: f64[2] = mul(%y, %y)
      return %gx, %z
    }"""
    gx, _ = gradients_of(text, np.array([2.0, 3.0]), np.ones(2))
    np.testing.assert_array_equal(gx, [4.0, 6.0])


def test_gradients_inside_of_regions() -> None:
    text = """graph g(%x: f64[2]) {
      %1: f64[2] = checkpoint(%x)
        graph body(%x: f64[2]) {
          %y: f64[2] = mul(%x, %x)
          %one: f64[2] = full() {value=0x1p+0, dtype=f64, shape=(2,)}
          %g: f64[2] = grad(%y, %one, %x) {outputs=1}
          return %g
        }
      %2: f64[2] = full() {value=0x1p+0, dtype=f64, shape=(2,)}
      %3: f64[2] = grad(%1, %2, %x) {outputs=1}
      return %1, %3
    }"""
    first, second = gradients_of(text, np.array([2.0, 3.0]))
    np.testing.assert_array_equal(first, [4.0, 6.0])
    np.testing.assert_array_equal(second, [2.0, 2.0])


def test_a_composite_without_a_rule_is_differentiated_through_its_decomposition() -> None:
    composites = [op for op in registry.OPS.values() if op.vjp is None]
    assert composites
    for op in composites:
        sample = doubled(next(s for s in op.samples() if s.differentiable))
        graph = sample_graph(op, sample)
        if any(v.type.dtype.is_floating_point for v in graph.outputs):
            verify(expand_gradients(with_gradients(graph)))


def test_the_way_through_an_op_without_a_derivative_is_an_error() -> None:
    text = """graph g(%x: f64[2], %n: i64[], %s: f64[2]) {
      %y: f64[2] = while_loop(%x, %n) {carried=1}  # loop.py:3
        graph test(%x: f64[2], %n: i64[]) {
          %2: bool[] = ne(%n, %n)
          return %2
        }
        graph body(%x: f64[2], %n: i64[]) {
          return %x
        }
      %g: f64[2] = grad(%y, %s, %x) {outputs=1}
      return %g
    }"""
    with pytest.raises(DifferentiationError, match=r"while_loop \(loop.py:3\) has no derivative: "):
        expand_gradients(verify(parse(text)))


def test_backward_nodes_carry_the_line_of_the_forward() -> None:
    text = """graph g(%x: f64[2], %s: f64[2]) {
      %y: f64[2] = exp(%x)  # a.py:1
      %z: f64[2] = sin(%y)  # a.py:2
      %g: f64[2] = grad(%z, %s, %x) {outputs=1}  # a.py:9
      return %g
    }"""
    graph = expand_gradients(parse(text))
    lines = [(n.op.name, n.location.line) for n in graph.nodes if n.location is not None]
    assert lines == [("exp", 1), ("sin", 2), ("cos", 2), ("mul", 2), ("mul", 1)]


def test_symbolic_sizes_are_differentiated() -> None:
    text = """graph g(%x: f64[n,2], %s: f64[2]) {
      %1: f64[n,2] = exp(%x)
      %2: f64[2] = sum(%1) {dims=(0,)}
      %g: f64[n,2] = grad(%2, %s, %x) {outputs=1}
      return %g
    }"""
    for rows in (0, 1, 3):
        x = np.arange(2.0 * rows).reshape(rows, 2)
        (found,) = gradients_of(text, x, np.array([1.0, -1.0]))
        np.testing.assert_allclose(found, np.exp(x) * [1.0, -1.0])


def test_every_op_without_a_derivative_says_why() -> None:
    for op in registry.OPS.values():
        if isinstance(op.vjp, NoVjp):
            assert op.vjp.reason, op.name


SCAN = """graph g(%i: i64[], %c: f64[2], %x: f64[3,2], %k: f64[2], %s: {seed}) {{
  %j: i64[], %d: f64[2], %y: f64[3,2], %z: i64[3] =
    scan(%i, %c, %x, %k) {{carried=2, length=3, scanned=1}}
    graph body(%i: i64[], %c: f64[2], %x: f64[2], %k: f64[2]) {{
      %one: i64[] = full() {{value=1, dtype=i64, shape=()}}
      %j: i64[] = add(%i, %one)
      %n: f64[] = cast(%j) {{dtype=f64}}
      %m: f64[2] = expand(%n) {{shape=(2,)}}
      %p: f64[2] = mul(%c, %k)
      %q: f64[2] = mul(%p, %m)
      %r: f64[2] = add(%q, %x)
      %t: f64[2] = sin(%r)
      return %j, %r, %t, %j
    }}
  %gc: f64[2], %gx: f64[3,2], %gk: f64[2] = grad({of}, %s, %c, %x, %k) {{outputs=1}}
  return %gc, %gx, %gk
}}"""


@pytest.mark.parametrize(("of", "seed"), [("%d", "f64[2]"), ("%y", "f64[3,2]")])
def test_a_scan_with_counters_and_captures(of: str, seed: str) -> None:
    random = np.random.default_rng(1)
    c, x, k = random.standard_normal(2), random.standard_normal((3, 2)), random.standard_normal(2)
    s = np.ones(2) if of == "%d" else np.ones((3, 2))
    found = gradients_of(SCAN.format(of=of, seed=seed), np.array(0), c, x, k, s)

    def value(c: np.ndarray, x: np.ndarray, k: np.ndarray) -> float:
        total = 0.0
        for step in range(3):
            c = c * k * (step + 1) + x[step]
            total += float(np.sin(c).sum())
        return float(c.sum()) if of == "%d" else total

    for position, gradient in enumerate(found):
        for at in np.ndindex(gradient.shape):
            up, down = [c.copy(), x.copy(), k.copy()], [c.copy(), x.copy(), k.copy()]
            up[position][at] += 1e-6
            down[position][at] -= 1e-6
            slope = (value(*up) - value(*down)) / 2e-6
            np.testing.assert_allclose(gradient[at], slope, rtol=1e-6, atol=1e-8)
