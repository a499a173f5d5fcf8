"""Reference = graph interpreter = loop interpreter, on every sample of every op."""

from __future__ import annotations

from functools import cache

import pytest
from smelt.codegen.target import host
from smelt.ir import registry
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program
from smelt.ir.op import Call, Decompose, Lower, OpDef, Sample

from tests.codegen.llvm import native
from tests.ops.comparison import Referee
from tests.ops.rungs import batch, program

OPS = [
    op
    for op in sorted(registry.OPS.values(), key=lambda o: o.name)
    if isinstance(op.rule, (Lower, Decompose, Call))
]
NATIVE = [op for op in OPS if not isinstance(op.rule, Call)]


@cache
def referees(op: OpDef) -> tuple[Referee, ...]:
    return tuple(Referee(op, sample) for sample in op.samples())


def cases(op: OpDef) -> list[tuple[OpDef, Sample]]:
    return [(op, referee.sample) for referee in referees(op)]


@pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])
def test_graph_interpreter(op: OpDef) -> None:
    graph = batch(op.name, cases(op))
    found = run_graph(graph.graph, graph.arrays)
    for referee, part in zip(referees(op), graph.slices, strict=True):
        referee.check(found[part], "graph interpreter")


@pytest.mark.parametrize("op", NATIVE, ids=[op.name for op in NATIVE])
def test_loop_interpreter(op: OpDef) -> None:
    graph = batch(op.name, cases(op))
    found = run_program(program(graph, host()), graph.arrays)
    for referee, part in zip(referees(op), graph.slices, strict=True):
        referee.check(found[part], "loop interpreter")


@pytest.mark.parametrize("op", NATIVE, ids=[op.name for op in NATIVE])
def test_native(op: OpDef) -> None:
    graph = batch(op.name, cases(op))
    found = native.run(program(graph, native.best()), graph.arrays, native.best())
    for referee, part in zip(referees(op), graph.slices, strict=True):
        referee.check(found[part], "native")
