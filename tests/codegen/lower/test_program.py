"""Programs: inputs and outputs of every kind, strides, sizes, control flow, errors from data."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dim import symbol
from smelt.ir.errors import IndexRangeError, LoweringError
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program
from smelt.ir.op import Sample
from smelt.ir.types import TensorType

from tests.codegen.lower.lowering import assert_close, check, f32, i64, lowered
from tests.graphs import sample_graph

REGIONS = [
    (name, number, sample)
    for name in ("cond", "while_loop", "scan", "checkpoint", "custom_vjp", "fusion")
    for number, sample in enumerate(registry.OPS[name].samples())
]


@pytest.mark.parametrize("optimise", [False, True], ids=["as_it_is", "optimised"])
@pytest.mark.parametrize(
    ("name", "sample"), [(n, s) for n, _, s in REGIONS], ids=[f"{n}-{k}" for n, k, _ in REGIONS]
)
def test_control_flow(name: str, sample: Sample, optimise: bool) -> None:
    check(sample_graph(registry.OPS[name], sample), sample.operands, optimise)


def test_outputs_may_be_inputs_constants_and_repeated() -> None:
    b = GraphBuilder("odd_outputs")
    x = b.input(f32(3, 4))
    c = b.constant(np.arange(12, dtype=np.float32).reshape(3, 4))
    y = b("exp", x)
    check(b.finish([x, c, y, y, b.reshape(y, (12,)), b.permute(x, (1, 0)), x]))


def test_graph_without_nodes() -> None:
    b = GraphBuilder("pass_on")
    x = b.input(f32(3))
    check(b.finish([x, x]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (1, 2, 1, 2, 1, 2, 1, 2)])
def test_every_rank_and_empty_tensors(shape: tuple[int, ...]) -> None:
    b = GraphBuilder("ranks")
    x = b.input(f32(*shape))
    total = b.sum(b("mul", x, x), tuple(range(len(shape))))
    check(b.finish([b("tanh", x), total]))


def test_inputs_are_read_through_their_strides() -> None:
    b = GraphBuilder("strided")
    x, y = b.input(f32(4, 3)), b.input(f32(4, 3))
    base = np.arange(24, dtype=np.float32)
    views = (base.reshape(3, 8).T[::2], np.broadcast_to(base[:3], (4, 3)))
    check(b.finish([b("add", x, y), b.sum(x, (0,)), b.reshape(x, (12,))]), views)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_symbolic_size(rows: int) -> None:
    b = GraphBuilder("symbolic")
    n = symbol("n")
    x = b.input(TensorType(f32().dtype, (n, 8)))
    w = b.input(f32(8, 8))
    y = b("softmax", b("matmul", x, w), dim=1)
    graph = b.finish([y, b.sum(b.reshape(y, (n * 8,)), (0,))])
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(s).astype(np.float32) for s in ((rows, 8), (8, 8))]
    program = lowered(graph)
    assert program.sizes == ("n",)
    assert_close(run_graph(graph, arrays), run_program(program, arrays, {"n": rows}))


def test_index_out_of_range_raises() -> None:
    b = GraphBuilder("pick")
    x, index = b.input(f32(5, 3)), b.input(i64(2))
    program = lowered(b.finish([b("embedding", x, index, padding_idx=None)]))
    with pytest.raises(IndexRangeError):
        run_program(program, [np.zeros((5, 3), np.float32), np.array([0, 5])])


def test_calls_of_the_host_are_refused() -> None:
    b = GraphBuilder("permutation")
    seed = b.input(i64())
    graph = b.finish([b("randperm", seed, seed, n=4)])
    with pytest.raises(LoweringError, match="split"):
        lowered(graph)


def test_constants_are_kept_once() -> None:
    b = GraphBuilder("constants")
    x = b.input(f32(12))
    c = np.arange(12, dtype=np.float32)
    y = b("add", b("add", x, b.constant(c)), b.constant(c.copy()))
    assert len(check(b.finish([y])).constants) == 1
