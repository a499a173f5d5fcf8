"""How graphs become kernels: what is one, what is kept between stages, what is never copied."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.loop.grammar import Alloc, For, walk
from smelt.ir.loop.interpreter import run_program
from smelt.ir.loop.printer import print_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.passes import pipeline

from tests.codegen.lower.lowering import TARGET, check, f32, i64, launches, lowered, single
from tests.codegen.lower.networks import block, momentum_step, with_gradients


def linear_gelu(rows: int, inner: int, columns: int) -> Graph:
    b = GraphBuilder("linear_gelu")
    operands = (b.input(f32(rows, inner)), b.input(f32(columns, inner)), b.input(f32(columns)))
    return b.finish([b("gelu", b("linear", *operands), approximate="none")])


@pytest.mark.parametrize(
    "graph",
    [
        single("softmax", f32(4, 3, 10), dim=2),
        single("softmax", f32(4, 6, 5), dim=1),
        single("log_softmax", f32(7, 10), dim=1),
        single("layer_norm", f32(4, 3, 16), f32(16), f32(16), dims=1, eps=1e-5),
        single("rms_norm", f32(6, 16), f32(16), dims=1, eps=1e-5),
        single("batch_norm", f32(4, 3, 5, 5), f32(3), f32(3), eps=1e-5),
        linear_gelu(3, 4, 5),
        linear_gelu(32, 16, 48),
    ],
    ids=lambda g: f"{g.name}-{g.inputs[0].type}",
)
def test_is_one_kernel(graph: Graph) -> None:
    assert len(launches(check(graph))) == 1


def test_exponentials_of_a_row_are_computed_once() -> None:
    (kernel,) = check(single("softmax", f32(4, 10), dim=1)).kernels
    assert print_kernel(kernel).count("exp(") == 1
    assert "row" in {s.buffer.name for s in walk(kernel.body) if isinstance(s, Alloc)}


def test_reductions_over_one_domain_share_a_loop() -> None:
    b = GraphBuilder("moments")
    x = b.input(f32(6, 10))
    total, squares = b.sum(x, (1,)), b.sum(b("mul", x, x), (1,))
    (kernel,) = check(b.finish([total, squares])).kernels
    loops = [s for s in walk(kernel.body) if isinstance(s, For)]
    assert len(loops) == 2  # rows, and the elements of one


def test_scalars_are_computed_outside_the_loops() -> None:
    b = GraphBuilder("scaled")
    x, s = b.input(f32(8, 16)), b.input(f32())
    found = b("mul", x, b.expand(b("exp", s), (8, 16)))
    (kernel,) = check(b.finish([found])).kernels
    text = print_kernel(kernel)
    assert text.index("exp(") < text.index("for ")


def test_small_windows_are_unrolled() -> None:
    attrs = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    graph = single("max_pool", f32(2, 3, 6, 6), ceil_mode=False, **attrs)
    (kernel,) = check(graph).kernels
    assert not any(isinstance(s, Alloc) for s in walk(kernel.body))


def test_block_materialises_no_view() -> None:
    graph = block()
    for each in (graph, with_gradients(graph)):
        ready = pipeline.optimise(each)
        assert {n.op.name for n in ready.nodes} <= {"fusion", "reshape", "constant"}
        for node in ready.nodes:
            if node.op.name == "fusion":
                inner = {n.op.name for n in node.regions[0].nodes}
                moving = {"permute", "contiguous", "reshape", "slice", "expand", "full"}
                assert not inner <= moving, f"{inner} only moves elements"
    check(graph)


def test_block_has_few_kernels() -> None:
    # Two norms, four products with their epilogues, scores, softmax, and weighted values.
    assert len(launches(check(block(batch=2, length=8, width=32, heads=2)))) <= 10


def test_gradients_of_a_block() -> None:
    check(with_gradients(block(batch=2, length=4, width=8, heads=2)))


def test_optimiser_step_is_one_kernel() -> None:
    graph, _ = momentum_step([(8, 4), (8,), (3, 8), (3,)])
    assert len(launches(check(graph))) == 1


def test_nodes_that_read_data_are_checked_where_they_are_inlined() -> None:
    b = GraphBuilder("pick")
    x, index = b.input(f32(5, 3)), b.input(i64(4))
    graph = b.finish([b("exp", b("embedding", x, index, padding_idx=None))])
    (kernel,) = check(graph).kernels
    assert "check 1" in print_kernel(kernel)


def test_equal_groups_share_a_kernel() -> None:
    b = GraphBuilder("twins")
    x, y = b.input(f32(4, 16)), b.input(f32(4, 16))
    graph = b.finish([b("softmax", x, dim=1), b("softmax", y, dim=1)])
    program = check(graph)
    assert len(launches(program)) == 2
    assert len(program.kernels) == 1


def test_groups_with_zeros_of_either_sign_do_not() -> None:
    b = GraphBuilder("signs")
    x = b.input(f32(0))
    graph = b.finish([b("pad", x, low=(4,), high=(0,), value=zero) for zero in (0.0, -0.0)])
    program = lowered(graph, optimise=False)
    plus, minus = run_program(program, (np.ones(0, np.float32),))
    assert not np.signbit(plus).any() and np.signbit(minus).all()


def test_long_reductions_are_shared_among_workers() -> None:
    b = GraphBuilder("long")
    x = b.input(f32(512, 1024))
    total = b.sum(b("mul", x, x), (0, 1))
    (kernel,) = lowered(b.finish([total, b("argmax", x, dim=None)])).kernels
    partial = [p for p in kernel.params if p.name.startswith("partial")]
    assert len(partial) == 3  # of the sum, and of value and index of the maximum
    assert sum(isinstance(s, For) for s in kernel.body) == 1


def test_axes_are_split_where_indices_would_divide() -> None:
    b = GraphBuilder("heads")
    x, y = b.input(f32(2, 4, 8, 16)), b.input(f32(16, 64))
    joint = b.reshape(b.permute(x, (0, 2, 1, 3)), (16, 64))
    (kernel,) = check(b.finish([b("add", joint, y)])).kernels
    text = print_kernel(kernel)
    assert "//" not in text
    assert "%" not in text


def test_a_short_sum_of_a_large_product_is_no_window() -> None:
    b = GraphBuilder("short")
    x, w = b.input(f32(300, 8)), b.input(f32(8, 8))
    check(b.finish([b("softmax", b("matmul", x, w), dim=1)]))


def test_reductions_along_different_axes_have_nests_of_their_own() -> None:
    b = GraphBuilder("both_ways")
    x = b.input(f32(24, 16))
    program = check(b.finish([b("amax", x, dims=(1,)), b("amax", x, dims=(0,))]))
    for kernel in program.kernels:
        verify_kernel(schedule_kernel(kernel, TARGET))
