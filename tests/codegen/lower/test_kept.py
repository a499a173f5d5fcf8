"""What lowering keeps between calls: contractions whose operands are frozen are packed ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from smelt.codegen.lower.program import lower
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.grammar import Program
from smelt.ir.loop.interpreter import derive_kept, run_program
from smelt.ir.loop.verify import verify_program
from smelt.passes import pipeline
from smelt.passes.memory_plan import plan_memory

from tests.codegen.lower.lowering import TARGET, arrays_for, assert_close, f32


def kept(graph: Graph, frozen: Sequence[int]) -> Program:
    """Return the planned program of a graph after comparing it with the graph.

    Frozen inputs are gone when it runs, but for what else reads them.
    """
    ready = pipeline.optimise(graph)
    program = plan_memory(lower(ready, TARGET, frozen=frozenset(frozen)))
    verify_program(program)
    arrays = arrays_for(graph)
    memory = derive_kept(program, arrays)
    expected = run_graph(graph, arrays)
    assert_close(expected, run_program(program, arrays, kept=memory))
    if program.derive:
        derived = {p.index for step in program.derive for p in step.places if p.kind == "input"}
        gone = [np.full_like(a, np.nan) if n in derived else a for n, a in enumerate(arrays)]
        assert_close(expected, run_program(program, gone, kept=memory))
    for kernel in program.kernels:
        schedule_kernel(kernel, TARGET)
    return program


def test_the_weights_of_a_linear_layer() -> None:
    b = GraphBuilder("linear")
    x, w, bias = b.input(f32(6, 64), "x"), b.input(f32(80, 64), "w"), b.input(f32(80), "bias")
    graph = b.finish([b("relu", b("linear", x, w, bias))])
    program = kept(graph, [1, 2])
    assert len(program.derive) == 1
    assert program.kept_bytes >= 80 * 64 * 4
    assert not kept(graph, []).derive
    assert not kept(graph, [2]).derive


def test_what_is_made_of_frozen_inputs_alone() -> None:
    b = GraphBuilder("scaled")
    x, w, scale = b.input(f32(6, 64)), b.input(f32(80, 64)), b.input(f32(64, 80))
    graph = b.finish([b("matmul", x, b("mul", b("permute", w, dims=(1, 0)), scale))])
    assert len(kept(graph, [1, 2]).derive) == 1
    assert not kept(graph, [1]).derive


def test_equal_layers_share_kernels_but_not_memory() -> None:
    b = GraphBuilder("layers")
    x, weights = b.input(f32(6, 64)), [b.input(f32(64, 64)) for _ in range(3)]
    for w in (*weights, weights[0]):
        x = b("relu", b("linear", x, w))
    program = kept(b.finish([x]), [1, 2, 3])
    assert len(program.derive) == 3
    assert len({step.kernel for step in program.derive}) == 1
    each = program.kept_bytes // 3
    assert [step.places[-1].index for step in program.derive] == [0, each, 2 * each]


def test_frozen_and_other_weights_have_kernels_of_their_own() -> None:
    b = GraphBuilder("layers")
    x, frozen, other = b.input(f32(6, 64)), b.input(f32(64, 64)), b.input(f32(64, 64))
    graph = b.finish([b("linear", b("linear", x, frozen), other)])
    program = kept(graph, [1])
    assert len(program.derive) == 1
    assert len(program.kernels) == 3


def test_the_weights_of_a_convolution() -> None:
    b = GraphBuilder("convolution")
    x, w = b.input(f32(2, 16, 7, 7)), b.input(f32(32, 16, 3, 3))
    attrs = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    program = kept(b.finish([b("conv", x, w, **attrs)]), [1])
    assert len(program.derive) == 1


def test_an_input_that_is_written_is_not_kept() -> None:
    b = GraphBuilder("written")
    x, w = b.input(f32(64, 64)), b.input(f32(64, 64))
    graph = pipeline.optimise(b.finish([b("linear", x, w)]))
    assert lower(graph, TARGET, frozen=frozenset({1})).derive
    assert not lower(graph, TARGET, frozen=frozenset({1}), donate={0: 1}).derive
