"""Decomposition: as text, and to the same results as the references."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.interpreter import run_graph
from smelt.ir.op import Decompose as DecomposeRule
from smelt.ir.op import OpDef
from smelt.ir.text import parse
from smelt.ir.verify import verify
from smelt.passes.canonicalise import Canonicalise
from smelt.passes.decompose import Decompose

from tests.graphs import sample_graph
from tests.passes.comparison import expect, same_results

COMPOSITES = [op for op in registry.OPS.values() if isinstance(op.rule, DecomposeRule)]


def test_a_composite_becomes_primitives_at_its_line_and_under_its_name() -> None:
    expect(
        Decompose(),
        """graph g(%x: f32[n]) {
          %y: f32[n] = square(%x)  # a.py:7
          return %y
        }""",
        """graph g(%x: f32[n]) {
          %y: f32[n] = mul(%x, %x)  # a.py:7
          return %y
        }""",
    )


def test_boundaries_of_differentiation_go() -> None:
    expect(
        Decompose(),
        """graph g(%x: f32[2]) {
          %y: f32[2] = checkpoint(%x)
            graph body(%z: f32[2]) {
              %1: f32[2] = exp(%z)
              return %1
            }
          %w: f32[2] = custom_vjp(%y) {wrt=(0,)}
            graph forward(%z: f32[2]) {
              %1: f32[2] = square(%z)
              return %1
            }
            graph backward(%z: f32[2], %y: f32[2], %g: f32[2]) {
              return %g
            }
          return %w
        }""",
        """graph g(%x: f32[2]) {
          %y: f32[2] = exp(%x)
          %w: f32[2] = mul(%y, %y)
          return %w
        }""",
    )


def test_what_is_kept_stays() -> None:
    text = """graph g(%x: f32[2,3]) {
      %y: f32[2,3] = softmax(%x) {dim=1}
      return %y
    }"""
    graph = parse(text)
    assert Decompose(frozenset({"softmax"})).run(graph) is graph
    assert Decompose().run(graph) is not graph


@pytest.mark.parametrize("op", COMPOSITES, ids=str)
def test_samples_of_composites_decompose_to_primitives(op: OpDef) -> None:
    for sample in op.samples():
        graph = sample_graph(op, sample)
        result = verify(Decompose().run(graph))
        assert not any(isinstance(n.op.rule, DecomposeRule) for n in result.walk())
        same_results(result, Canonicalise().run(result), sample.operands)
        with np.errstate(all="ignore"):
            expected, found = (run_graph(g, sample.operands) for g in (graph, result))
        for a, b, value in zip(expected, found, graph.outputs, strict=True):
            tolerance = 1e-2 if value.type.dtype.is_half else 1e-5
            exact = not value.type.dtype.is_floating_point
            wide = (np.asarray(x).astype(np.float64 if not exact else a.dtype) for x in (a, b))
            np.testing.assert_allclose(*wide, rtol=0 if exact else tolerance, atol=tolerance)
