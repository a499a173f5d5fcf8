"""The memory plan: what shares memory, what is written in place, and what must not be."""

from __future__ import annotations

import numpy as np
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.grammar import Launch, Place, Program
from smelt.ir.loop.interpreter import run_program
from smelt.passes.memory_plan import plan_memory

from tests.codegen.lower.lowering import arrays_for, assert_close, f32, i64, launches, lowered
from tests.codegen.lower.networks import momentum_step


def chain(length: int) -> Graph:
    """Return products, each of which needs the one before and nothing else."""
    b = GraphBuilder("chain")
    x, w = b.input(f32(32, 32)), b.input(f32(32, 32))
    for _ in range(length):
        x = b("softmax", b("matmul", x, w), dim=1)
    return b.finish([x])


def places(program: Program) -> list[Place]:
    """Return every place that a launch names."""
    return [p for s in program.steps if isinstance(s, Launch) for p in s.places]


def test_temporaries_that_are_never_needed_at_once_share_memory() -> None:
    graph = chain(6)
    program = lowered(graph)
    assert program.arena_bytes == 2 * 32 * 32 * 4
    arrays = arrays_for(graph, 0.1)
    assert_close(run_graph(graph, arrays), run_program(program, arrays))


def test_offsets_are_aligned() -> None:
    b = GraphBuilder("odd_sizes")
    x = b.input(f32(3, 5))
    y = b("cumsum", b("cumsum", b("exp", x), dim=0), dim=1)
    program = lowered(b.finish([b("cumsum", y, dim=0)]))
    offsets = [p.index for p in places(program) if p.kind == "arena"]
    assert offsets
    assert all(isinstance(o, int) and o % 64 == 0 for o in offsets)


def test_planning_twice_changes_nothing() -> None:
    program = lowered(chain(3))
    assert plan_memory(program).arena_bytes == program.arena_bytes


def in_place(graph: Graph, donate: dict[int, int]) -> tuple[Program, list[np.ndarray]]:
    """Run a graph with results written over inputs; return the program and the results."""
    program = lowered(graph, donate=donate)
    arrays = list(arrays_for(graph))
    expected = run_graph(graph, arrays)
    outputs = [np.empty(v.type.sizes, v.type.dtype.numpy) for v in graph.outputs]
    for output, source in donate.items():
        outputs[output] = arrays[source]
    found = run_program(program, arrays, outputs=outputs)
    assert_close(expected, found)
    return program, list(found)


def test_parameters_are_updated_in_place() -> None:
    graph, donate = momentum_step([(8, 4), (8,)])
    program, _ = in_place(graph, donate)
    assert len(launches(program)) == 1
    donated = {Place("input", k) for k in donate.values()}
    assert donated.isdisjoint(places(program))


def test_an_input_that_is_read_later_is_written_at_the_end() -> None:
    b = GraphBuilder("late_reader")
    x, w = b.input(f32(32, 32)), b.input(f32(32, 32))
    y = b("exp", x)
    program, _ = in_place(b.finish([y, b("matmul", b("matmul", y, w), x)]), {0: 0})
    assert launches(program)[-1].startswith("write_back")


def test_elements_that_other_iterations_read_are_not_overwritten() -> None:
    b = GraphBuilder("transposed")
    x = b.input(f32(8, 8))
    program, _ = in_place(b.finish([b("add", x, b.permute(x, (1, 0)))]), {0: 0})
    assert launches(program)[-1].startswith("write_back")


def test_nothing_of_the_caller_is_written_while_a_check_may_fail() -> None:
    b = GraphBuilder("checked")
    x, table, index = b.input(f32(4, 3)), b.input(f32(5, 3)), b.input(i64(4))
    picked = b("embedding", table, index, padding_idx=None)
    graph = b.finish([b("exp", x), b.sum(b("matmul", picked, b.permute(picked, (1, 0))), (0, 1))])
    program = lowered(graph, donate={0: 0})
    order = [s.places for s in program.steps if isinstance(s, Launch)]
    writes = [k for k, p in enumerate(order) if Place("output", 0) in p]
    checks = [k for k, s in enumerate(launches(program)) if "embedding" in s]
    assert min(writes) > max(checks)
