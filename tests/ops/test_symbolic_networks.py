"""Windows, indexing, normalisations and losses over symbolic sizes, gradients included.

A graph over symbolic sizes is differentiated and decomposed before any size is known; bound to
sizes afterwards, it gives what the op and its gradient give for these sizes at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dim import Dim, symbol
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.op import Lower
from smelt.ir.primitive import definition
from smelt.ir.types import TensorType, static_shape
from smelt.passes.autograd import Autograd
from smelt.passes.decompose import Decompose

N, M = symbol("n"), symbol("m")
SIZES = {"n": 3, "m": 4}
F, INT, B = dtypes.float64, dtypes.int64, dtypes.bool_

CONV = {"stride": (2,), "padding": (1,), "dilation": (1,), "groups": 1}
POOL = {"kernel": (2,), "stride": (2,), "padding": (0,)}
Case = tuple[str, tuple[tuple[dtypes.DType, tuple[int | Dim, ...]], ...], dict[str, Any]]

CASES: list[Case] = [
    ("conv", ((F, (N, 2, 8)), (F, (3, 2, 3))), CONV),
    ("conv", ((F, (N, 4, 8)), (F, (4, 2, 3))), {**CONV, "groups": 2}),
    ("conv", ((F, (2, N, 8)), (F, (M, N, 3))), CONV),
    ("conv", ((F, (N, 2, M + 3)), (F, (3, 2, 3))), {**CONV, "stride": (1,)}),
    ("max_pool", ((F, (N, M, 8)),), {**POOL, "dilation": (1,)}),
    ("max_pool", ((F, (2, N, 2 * M)),), {**POOL, "dilation": (1,)}),
    ("avg_pool", ((F, (N, M, 8)),), POOL),
    ("avg_pool", ((F, (2, N, 2 * M)),), POOL),
    ("adaptive_avg_pool", ((F, (N, M, 8)),), {"output": (3,)}),
    ("adaptive_avg_pool", ((F, (N, 2, M)),), {"output": (1,)}),
    ("adaptive_max_pool", ((F, (N, M, 8)),), {"output": (3,)}),
    ("embedding", ((F, (5, M)), (INT, (N, 2))), {}),
    ("embedding", ((F, (5, M)), (INT, (N,))), {"padding_idx": 1}),
    ("gather", ((F, (N, M)), (INT, (N, 2))), {"dim": 1}),
    ("index_select", ((F, (M, 2)), (INT, (N,))), {"dim": 0}),
    ("index_add", ((F, (M, 2)), (INT, (N,)), (F, (N, 2))), {"dim": 0}),
    ("index", ((F, (M, 2, 3)), (INT, (N,)), (INT, (N,))), {"dims": (0, 1)}),
    ("index_put", ((F, (M, 2)), (F, (N, 2)), (INT, (N,))), {"dims": (0,), "accumulate": True}),
    ("scatter_add", ((F, (M, N)), (INT, (2, N)), (F, (2, N))), {"dim": 0}),
    ("one_hot", ((INT, (N, M)),), {"classes": 3}),
    ("softmax", ((F, (N, M)),), {"dim": 1}),
    ("log_softmax", ((F, (N, M)),), {"dim": 0}),
    (
        "scaled_dot_product_attention",
        ((F, (N, M, 4)), (F, (N, M, 4)), (F, (N, M, 2))),
        {"causal": True, "scale": None},
    ),
    (
        "scaled_dot_product_attention",
        ((F, (2, 3, N)), (F, (2, M, N)), (F, (2, M, N)), (B, (2, 3, M))),
        {"causal": False, "scale": None},
    ),
    ("layer_norm", ((F, (N, M)), (F, (M,)), (F, (M,))), {"dims": 1}),
    ("rms_norm", ((F, (N, M, 2)), (F, (M, 2))), {"dims": 2}),
    ("batch_norm", ((F, (N, M, 2)), (F, (M,)), (F, (M,))), {}),
    ("batch_norm_inference", ((F, (N, M)), (F, (M,)), (F, (M,))), {}),
    ("group_norm", ((F, (N, 4, M)), (F, (4,)), (F, (4,))), {"groups": 2}),
    ("nll_loss", ((F, (N, M)), (INT, (N,)), (F, (M,))), {}),
    ("cross_entropy", ((F, (N, M, 2)), (INT, (N, 2))), {"label_smoothing": 0.1}),
    ("soft_cross_entropy", ((F, (N, M)), (F, (N, M))), {"label_smoothing": 0.1}),
    ("mse_loss", ((F, (N, M)), (F, (N, M))), {}),
    ("kl_div", ((F, (N, M)), (F, (N, M))), {"reduction": "batchmean"}),
    ("bce_with_logits", ((F, (N, M)), (F, (N, M)), (F, (N, M))), {}),
    ("dropout", ((F, (N, M)), (INT, ()), (INT, ())), {"p": 0.5}),
]


def gradient_graph(op: str, types: list[TensorType], attrs: dict[str, Any]) -> Graph:
    """Return the graph of the op's results and of the gradients by its operands."""
    builder = GraphBuilder(op)
    found = registry.OPS[op]
    xs = [builder.input(t) for t in types]
    results = builder.node(found, xs, found.attrs(**attrs))
    ys = [y for y in results if y.type.dtype.is_floating_point]
    wrt = [x for x in xs if x.type.dtype.is_floating_point]
    if not ys:
        return builder.finish(results)
    seeds = [builder.full(0.75, y.type) for y in ys]
    grads = builder("grad", *ys, *seeds, *wrt, outputs=len(ys))
    return builder.finish([*results, *grads])


def array(type: TensorType, number: int) -> np.ndarray[Any, Any]:
    draw = np.random.default_rng(number)
    shape = static_shape(type.shape)
    if type.dtype is INT:
        return np.asarray(draw.integers(0, 2, shape))
    if type.dtype is B:
        return draw.random(shape) < 0.8
    return np.asarray(draw.uniform(0.2, 1.0, shape))


@pytest.mark.parametrize("op, operands, attrs", CASES, ids=[c[0] for c in CASES])
def test_sizes_may_come_after_differentiation_and_decomposition(
    op: str, operands: Any, attrs: dict[str, Any]
) -> None:
    types = [TensorType(dtype, shape) for dtype, shape in operands]
    graph = Decompose().run(Autograd().run(gradient_graph(op, types, attrs)))
    assert all(isinstance(n.op.rule, Lower) or n.op.name == "constant" for n in graph.nodes)
    for node in graph.nodes:
        if isinstance(node.op.rule, Lower):
            definition(node)
    static = [t.substitute(SIZES) for t in types]
    arrays = [array(t, k) for k, t in enumerate(static)]
    found = run_graph(graph, arrays, SIZES)
    expected = run_graph(gradient_graph(op, static, attrs), arrays)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
