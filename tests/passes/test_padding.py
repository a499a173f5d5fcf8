"""Padding of what convolutions read, before and after as text and in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir.builder import GraphBuilder
from smelt.ir.dtypes import float32
from smelt.ir.interpreter import run_graph
from smelt.ir.types import TensorType
from smelt.ir.verify import verify
from smelt.passes.padding import Padding

from tests.passes.comparison import expect, unchanged

PASS = Padding()


def test_the_operand_is_padded() -> None:
    expect(
        PASS,
        """graph g(%x: f32[4,8,6,6], %w: f32[8,8,3,3]) {
          %y: f32[4,8,6,6] = conv(%x, %w) {stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1}
          return %y
        }""",
        """graph g(%x: f32[4,8,6,6], %w: f32[8,8,3,3]) {
          %1: f32[4,8,8,8] = pad(%x) {low=(0, 0, 1, 1), high=(0, 0, 1, 1), value=0x0p+0}
          %y: f32[4,8,6,6] = conv(%1, %w) {stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1}
          return %y
        }""",
    )


def test_convolutions_channel_by_channel_stay() -> None:
    unchanged(
        PASS,
        """graph g(%x: f32[4,8,6,6], %w: f32[8,1,3,3]) {
          %y: f32[4,8,6,6] = conv(%x, %w) {stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=8}
          return %y
        }""",
    )


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (2, 1), (3, 2)])
def test_gradients_keep_their_values(padding: int, kernel: int, dilation: int) -> None:
    b = GraphBuilder("gradients")
    size = 9
    out = size + 2 * padding - dilation * (kernel - 1)
    x, w, g = (
        b.input(TensorType(float32, shape))
        for shape in ((3, 8, size, size), (8, 8, kernel, kernel), (3, 8, out, out))
    )
    both: dict[str, Any] = {
        "stride": (1, 1),
        "padding": (padding,) * 2,
        "dilation": (dilation,) * 2,
        "groups": 1,
    }
    graph = b.finish(
        [
            b("conv_input_grad", g, w, input_shape=(size, size), **both),
            b("conv_weight_grad", x, g, kernel=(kernel, kernel), **both),
        ]
    )
    padded = verify(PASS.run(graph))
    reaches_out = dilation * (kernel - 1) < padding
    assert ("conv_input_grad" in str(padded)) == reaches_out
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(v.type.sizes).astype(np.float32) for v in graph.inputs]
    for a, c in zip(run_graph(graph, arrays), run_graph(padded, arrays), strict=True):
        np.testing.assert_allclose(c, a, rtol=1e-4, atol=1e-4)
