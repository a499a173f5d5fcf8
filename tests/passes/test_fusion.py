"""Fusion groups: what joins, what must not, and that values stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from smelt.ir import dtypes
from smelt.ir.graph import Graph, Node
from smelt.ir.text import parse
from smelt.ir.verify import verify
from smelt.passes.contiguity import Contiguity
from smelt.passes.fusion import Fusion

from tests.passes.comparison import same_results
from tests.strategies import PRIMITIVES, Case, graphs

PREFERRED = (dtypes.float32, dtypes.int64, dtypes.bool_)


def groups(text: str) -> list[list[str]]:
    """Return the ops that compute in each group that fusion makes of a graph."""
    graph = verify(parse(text))
    fused = verify(Fusion().run(graph))
    random = np.random.default_rng(0)
    arrays = tuple(
        random.standard_normal(v.type.sizes).astype(v.type.dtype.numpy) for v in graph.inputs
    )
    same_results(graph, fused, arrays)
    return [_computing(n) for n in fused.nodes if n.op.name == "fusion"]


def _computing(node: Node) -> list[str]:
    views = {"reshape", "expand", "permute", "slice", "full", "pad"}
    return [n.op.name for n in node.regions[0].nodes if n.op.name not in views]


def test_a_chain_is_one_group() -> None:
    text = """graph g(%x: f32[4], %y: f32[4]) {
      %a: f32[4] = mul(%x, %y)
      %b: f32[4] = exp(%a)
      %c: f32[4] = add(%b, %x)
      return %c, %b
    }"""
    assert groups(text) == [["mul", "exp", "add"]]


def test_a_group_does_not_depend_on_itself() -> None:
    # The product lies between %a and %d: both in one group would make a circle.
    text = """graph g(%x: f32[32,32], %w: f32[32,32]) {
      %a: f32[32,32] = exp(%x)
      %b: f32[32,32] = matmul(%a, %w)
      %c: f32[32] = amax(%b) {dims=(1,)}
      %d: f32[32,32] = matmul(%b, %w)
      %e: f32[32,32] = add(%d, %a)
      return %e, %c
    }"""
    found = groups(text)
    assert sorted(op for group in found for op in group) == [
        "add", "amax", "exp", "matmul", "matmul",
    ]  # fmt: skip
    assert ["matmul", "add"] in found


def test_a_view_is_repeated_in_each_group_that_reads_it() -> None:
    text = """graph g(%x: f32[32,32], %w: f32[32,32]) {
      %t: f32[32,32] = permute(%x) {dims=(1, 0)}
      %a: f32[32,32] = matmul(%t, %w)
      %b: f32[32,32] = matmul(%w, %t)
      return %a, %b
    }"""
    graph = Fusion().run(verify(parse(text)))
    assert [n.op.name for n in graph.nodes] == ["fusion", "fusion"]
    for node in graph.nodes:
        assert [n.op.name for n in node.regions[0].nodes] == ["permute", "matmul"]


def test_a_view_that_is_an_output_is_computed() -> None:
    text = """graph g(%x: f32[3,4]) {
      %a: f32[3,4] = exp(%x)
      %b: f32[4,3] = permute(%a) {dims=(1, 0)}
      return %b
    }"""
    assert groups(text) == [["exp"]]


def test_dear_values_are_not_computed_again_for_each_row() -> None:
    # %e has 512 elements; inside the sum over 2048 rows it would be computed 2048 times.
    text = """graph g(%x: f32[2048,512], %v: f32[512]) {
      %e: f32[512] = exp(%v)
      %r: f32[1,512] = reshape(%e) {shape=(1, 512)}
      %b: f32[2048,512] = expand(%r) {shape=(2048, 512)}
      %y: f32[2048,512] = mul(%x, %b)
      return %y
    }"""
    assert groups(text) == [["exp"], ["mul"]]


def test_epilogue_and_product_are_one_group() -> None:
    text = """graph g(%x: f32[32,16], %w: f32[16,48], %v: f32[48]) {
      %p: f32[32,48] = matmul(%x, %w)
      %r: f32[1,48] = reshape(%v) {shape=(1, 48)}
      %b: f32[32,48] = expand(%r) {shape=(32, 48)}
      %s: f32[32,48] = add(%p, %b)
      %t: f32[32,48] = tanh(%s)
      return %t
    }"""
    assert groups(text) == [["matmul", "add", "tanh"]]


@pytest.mark.parametrize("op", PRIMITIVES)
def test_values_stay(op: str) -> None:
    @settings(
        max_examples=3,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(last=op, most=5, preferred=PREFERRED))
    def check(case: Case) -> None:
        graph: Graph = Contiguity().run(case.graph)
        same_results(case.graph, graph, case.arrays)
        same_results(graph, Fusion().run(graph), case.arrays)

    check()
