"""Reference = graph interpreter = loop interpreter = machine code, on every sample of every op.

The rung that breaks names the guilty level: lowering, schedule, emitter, or what the passes make of
an op on its own. All samples of an op are one graph, one program and one native module.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program
from smelt.ir.op import Call, Decompose, Lower, OpDef, Sample
from smelt.ir.structured import INTEGER_DIVISION_BY_ZERO

from tests.codegen.llvm import native
from tests.ops.comparison import Referee
from tests.ops.rungs import Batch, batch, lowered, optimised, scheduled

OPS = [
    op
    for op in sorted(registry.OPS.values(), key=lambda o: o.name)
    if isinstance(op.rule, (Lower, Decompose, Call))
]
# Samples that the passes see in one graph: equal shapes are fused into one kernel.
TOGETHER = 12

NATIVE = [op for op in OPS if not isinstance(op.rule, Call)]


@cache
def referees(op: OpDef) -> tuple[Referee, ...]:
    return tuple(Referee(op, sample) for sample in op.samples())


@cache
def cases(op: OpDef) -> Batch:
    return batch(op.name, [(op, referee.sample) for referee in referees(op)])


def check(op: OpDef, found: tuple[Any, ...], rung: str) -> None:
    for referee, part in zip(referees(op), cases(op).slices, strict=True):
        referee.check(tuple(found[part]), rung)


def named(ops: list[OpDef]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("op", ops, ids=[op.name for op in ops])


@named(OPS)
def test_graph_interpreter(op: OpDef) -> None:
    check(op, run_graph(cases(op).graph, cases(op).arrays), "graph interpreter")


@named(NATIVE)
def test_loop_interpreter(op: OpDef) -> None:
    program = lowered(cases(op), native.best())
    check(op, run_program(program, cases(op).arrays), "loop interpreter")


@named(NATIVE)
def test_scheduled_loops(op: OpDef) -> None:
    program = scheduled(lowered(cases(op), native.best()), native.best())
    check(op, run_program(program, cases(op).arrays), "loop interpreter after the schedule")


@named(NATIVE)
def test_native(op: OpDef) -> None:
    program = scheduled(lowered(cases(op), native.best()), native.best())
    check(op, native.run(program, cases(op).arrays, native.best()), "machine code")


@named(NATIVE)
def test_optimised(op: OpDef) -> None:
    for start in range(0, len(referees(op)), TOGETHER):
        part = referees(op)[start : start + TOGETHER]
        graph = batch(op.name, [(op, referee.sample) for referee in part])
        program = optimised(graph, native.best())
        loops = run_program(program, graph.arrays)
        machine = native.run(program, graph.arrays, native.best())
        for referee, where in zip(part, graph.slices, strict=True):
            referee.check(tuple(loops[where]), "loop interpreter after the passes")
            referee.check(tuple(machine[where]), "machine code after the passes")


@pytest.mark.deep
@pytest.mark.parametrize("level", list(native.targets()))
@named(NATIVE)
def test_instruction_sets(op: OpDef, level: str) -> None:
    target = native.targets()[level]
    program = scheduled(lowered(cases(op), target), target)
    check(op, native.run(program, cases(op).arrays, target), level)


@pytest.mark.parametrize("name", ["floordiv", "mod", "truncdiv", "rem"])
def test_division_by_zero_is_found_in_machine_code(name: str) -> None:
    operands = (np.array([7, -7, 5]), np.array([2, 3, 0]))
    graph = batch(name, [(registry.OPS[name], Sample(operands, {}))])
    program = scheduled(lowered(graph, native.best()), native.best())
    found = native.run(program, graph.arrays, native.best())
    assert (found.code, found.value) == (INTEGER_DIVISION_BY_ZERO, 5)


def test_narrow_results_end_where_they_end() -> None:
    """The last vector of each result has from one lane to all; nothing beyond it is written."""
    narrow = (dtypes.int8, dtypes.int32, dtypes.bfloat16, dtypes.bool_)
    drawn = np.arange(1, 34, dtype=np.int64)
    chosen = [(drawn[:n], dtype) for dtype in narrow for n in (1, 9, 15, 17, 33)]
    graph = batch("cast", [(registry.OPS["cast"], Sample((x,), {"dtype": d})) for x, d in chosen])
    room = [np.full(64, 77).astype(d.numpy) for _, d in chosen]
    outputs = [space[: len(x)] for space, (x, _) in zip(room, chosen)]
    program = scheduled(lowered(graph, native.best()), native.best())
    native.run(program, graph.arrays, native.best(), outputs)
    for space, (x, dtype) in zip(room, chosen):
        assert np.array_equal(space[: len(x)], x.astype(dtype.numpy)), (dtype, len(x))
        assert np.array_equal(space[len(x) :], np.full(64 - len(x), 77).astype(dtype.numpy))
