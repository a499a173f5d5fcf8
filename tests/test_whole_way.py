"""Programs with regions and with symbolic sizes, from text to machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program
from smelt.ir.specialise import bind_sizes
from smelt.ir.text import parse
from smelt.ir.verify import verify

from tests.codegen.llvm import native
from tests.ops.rungs import Batch, optimised

LAYER = """graph layer(%x: f32[n,4], %w: f32[3,4], %s: f32[n,3]) {
  %y: f32[n,3] = linear(%x, %w)
  %z: f32[n,3] = softmax(%y) {dim=1}
  %gx: f32[n,4], %gw: f32[3,4] = grad(%z, %s, %x, %w) {outputs=1}
  %rows: i64[] = dim_value() {dim=n}
  %two: f32[2*n,3] = cat(%z, %z) {dim=0}
  return %two, %gx, %gw, %rows
}"""

BRANCH = """graph branch(%p: bool[], %x: f64[n], %s: f64[n]) {
  %y: f64[n] = cond(%p, %x)
    graph then(%x: f64[n]) {
      %1: f64[n] = exp(%x)
      return %1
    }
    graph else(%x: f64[n]) {
      %1: f64[n] = mul(%x, %x)
      return %1
    }
  %g: f64[n] = grad(%y, %s, %x) {outputs=1}
  return %y, %g
}"""

RECURRENCE = """graph recurrence(%h: f64[2], %xs: f64[t,2], %w: f64[2,2], %s: f64[2]) {
  %last: f64[2], %all: f64[t,2] = scan(%h, %xs, %w) {carried=1, length=t, scanned=1}
    graph step(%h: f64[2], %x: f64[2], %w: f64[2,2]) {
      %row: f64[1,2] = reshape(%h) {shape=(1, 2)}
      %product: f64[1,2] = matmul(%row, %w)
      %flat: f64[2] = reshape(%product) {shape=(2,)}
      %sum: f64[2] = add(%flat, %x)
      %new: f64[2] = tanh(%sum)
      return %new, %new
    }
  %gh: f64[2], %gx: f64[t,2], %gw: f64[2,2] = grad(%last, %s, %h, %xs, %w) {outputs=1}
  return %last, %all, %gh, %gx, %gw
}"""

DOUBLING = """graph doubling(%x: f32[3], %limit: f32[]) {
  %y: f32[3] = while_loop(%x, %limit) {carried=1}
    graph test(%x: f32[3], %limit: f32[]) {
      %most: f32[] = amax(%x) {dims=(0,)}
      %less: bool[] = lt(%most, %limit)
      return %less
    }
    graph body(%x: f32[3], %limit: f32[]) {
      %twice: f32[3] = add(%x, %x)
      return %twice
    }
  return %y
}"""


def random(*shape: int, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


CASES: list[tuple[str, list[tuple[np.ndarray[Any, Any], ...]]]] = [
    (
        LAYER,
        [
            (random(n, 4, dtype=np.float32), random(3, 4, dtype=np.float32), np.ones((n, 3), "f4"))
            for n in (1, 7, 40)
        ],
    ),
    (BRANCH, [(np.array(p), random(n), np.ones(n)) for p in (True, False) for n in (1, 5)]),
    (RECURRENCE, [(random(2), random(t, 2), random(2, 2), np.ones(2)) for t in (1, 6)]),
    (DOUBLING, [(np.ones(3, "f4"), np.array(limit, "f4")) for limit in (0.5, 1000.0)]),
]


@pytest.mark.parametrize(
    ("text", "calls"), CASES, ids=["layer", "branch", "recurrence", "doubling"]
)
def test_one_program_serves_every_size(
    text: str, calls: list[tuple[np.ndarray[Any, Any], ...]]
) -> None:
    graph = verify(parse(text))
    target = native.best()
    program = optimised(Batch(graph, calls[0], ()), target)
    for arrays in calls:
        expected = run_graph(graph, arrays)
        sizes = bind_sizes([v.type for v in graph.inputs], [x.shape for x in arrays])
        for found in (native.run(program, arrays, target), run_program(program, arrays, sizes)):
            for mine, theirs in zip(found, expected, strict=True):
                assert mine.dtype == theirs.dtype
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
