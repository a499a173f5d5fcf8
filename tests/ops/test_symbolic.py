"""Ops on symbolic dimensions: types and definitions hold for every size at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.codegen.lower.program import lower
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dim import Assumptions, Dim, assuming, evaluate, holds, is_static, symbol
from smelt.ir.evaluate import evaluate as evaluate_op
from smelt.ir.infer import infer_types
from smelt.ir.loop.interpreter import run_program
from smelt.ir.op import Lower
from smelt.ir.structured import Stage
from smelt.ir.types import TensorType
from smelt.passes.decompose import Decompose

from tests.codegen.llvm import native
from tests.ops.rungs import scheduled
from tests.ops.stage_evaluator import run_stage

N, M = symbol("n"), symbol("m")
Shape = tuple[int | Dim, ...]

CASES: list[tuple[str, tuple[Shape, ...], dict[str, Any]]] = [
    ("add", ((N, 3), (N, 3)), {}),
    ("exp", ((N, M),), {}),
    ("reshape", ((N, 6),), {"shape": (N, 2, 3)}),
    ("reshape", ((N, 2, 3),), {"shape": (N * 2, 3)}),
    ("reshape", ((N, M),), {"shape": (N * M,)}),
    ("reshape", ((N * M,),), {"shape": (N, M)}),
    ("reshape", ((N, 4, M),), {"shape": (N, 2, 2 * M)}),
    ("permute", ((N, 3, M),), {"dims": (2, 0, 1)}),
    ("expand", ((3, 1),), {"shape": (N, 3, M)}),
    ("slice", ((N, 5),), {"starts": (0, 1), "stops": (N, 4), "steps": (1, 2)}),
    ("slice", ((N + 2, 5),), {"starts": (1, 0), "stops": (N + 1, 5), "steps": (1, 1)}),
    ("slice", ((N * 2,),), {"starts": (0,), "stops": (N * 2,), "steps": (2,)}),
    (
        "slice_scatter",
        ((N + 2, 2), (N, 2)),
        {"starts": (1, 0), "stops": (N + 1, 2), "steps": (1, 1)},
    ),
    ("flip", ((N, 3),), {"dims": (0, 1)}),
    ("pad", ((N, 3),), {"low": (1, 0), "high": (M, 2), "value": 7.0}),
    ("cat", ((N, 3), (M, 3), (2, 3)), {"dim": 0}),
    ("unfold", ((N + 3, 2),), {"dim": 0, "size": 3, "step": 1}),
    ("fold", ((N + 1, 2, 3),), {"dim": 0, "length": N + 3, "step": 1}),
    ("diagonal", ((N, N),), {"offset": 0, "dim1": 0, "dim2": 1}),
    ("diagonal_scatter", ((N, N), (N,)), {"offset": 0, "dim1": 0, "dim2": 1}),
    ("as_strided", ((N * 3,),), {"sizes": (N, 3), "strides": (3, 1), "offset": 0}),
    ("as_strided_scatter", ((N * 3, ), (N, 3)), {"sizes": (N, 3), "strides": (3, 1), "offset": 0}),
    ("sum", ((N, M),), {"dims": (0,)}),
    ("prod", ((N, M),), {"dims": (0, 1)}),
    ("amax", ((N, M),), {"dims": (1,)}),
    ("argmax", ((N, M),), {"dim": 0}),
    ("argmin", ((N, M),), {"dim": None}),
    ("matmul", ((N, 4), (4, M)), {}),
    ("matmul", ((2, 3, N), (2, N, M)), {}),
    ("full", (), {"value": 2.5, "dtype": dtypes.float32, "shape": (N, 2)}),
    ("iota", (), {"shape": (2, N), "dim": 1, "dtype": dtypes.int64}),
]  # fmt: skip


@pytest.mark.parametrize(("n", "m"), [(4, 3), (1, 5)])
@pytest.mark.parametrize(
    ("name", "shapes", "attrs"), CASES, ids=[f"{k}-{c[0]}" for k, c in enumerate(CASES)]
)
def test_definition_over_symbols(
    name: str, shapes: tuple[Shape, ...], attrs: dict[str, Any], n: int, m: int
) -> None:
    op, sizes = registry.OPS[name], {"n": n, "m": m}
    types = tuple(TensorType(dtypes.float32, shape) for shape in shapes)
    symbolic = op.attrs(**attrs)
    with assuming(Assumptions(sizes)) as assumptions:
        (result,) = infer_types(op, symbolic, types)
        assert isinstance(op.rule, Lower)
        definition = op.rule.define(symbolic, *types)
    drawn = np.random.default_rng(n)
    operands = tuple(
        np.asarray(drawn.standard_normal(concrete(s, sizes)), np.float32) for s in shapes
    )
    bound = op.attrs(**{key: bind(value, sizes) for key, value in attrs.items()})
    (expected,) = evaluate_op(op, bound, operands)
    assert expected.shape == concrete(result.shape, sizes)
    assert not is_static(*result.shape) or name in ("prod", "argmin")
    assert isinstance(definition, Stage)
    (found,) = run_stage(definition, operands, sizes)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)
    if name in ("add", "exp", "permute", "cat", "sum", "matmul", "full", "iota", "flip"):
        assert not assumptions.guards


def concrete(shape: Shape, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in shape)


def bind(value: Any, sizes: dict[str, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(bind(v, sizes) for v in value)
    return evaluate(value, sizes) if isinstance(value, Dim) else value


# What a loop nest defines, and composites, besides the stages above.
LOWERED: list[tuple[str, tuple[Shape, ...], dict[str, Any]]] = [
    *(case for case in CASES if case[1]),
    ("cumsum", ((N, M),), {"dim": 1}),
    ("cummax", ((N, M),), {"dim": 0}),
    ("sort", ((N, M),), {"dim": 1}),
    ("mean", ((N, M),), {"dims": (1,)}),
    ("var", ((N, M),), {"dims": (0, 1), "correction": 0}),
    ("logsumexp", ((N, M),), {"dims": (1,)}),
    ("gelu", ((N, M),), {}),
    ("linear", ((N, 2, 4), (M, 4), (M,)), {}),
    ("roll", ((N, 3),), {"shifts": (1,), "dims": (0,)}),
    ("stack", ((N, M), (N, M)), {"dim": 1}),
    ("tril", ((N, M),), {"diagonal": 0}),
]


@pytest.mark.parametrize(
    ("name", "shapes", "attrs"), LOWERED, ids=[f"{k}-{c[0]}" for k, c in enumerate(LOWERED)]
)
def test_one_program_serves_every_size(
    name: str, shapes: tuple[Shape, ...], attrs: dict[str, Any]
) -> None:
    op, example = registry.OPS[name], {"n": 4, "m": 4}
    builder = GraphBuilder(name)
    target = native.best()
    with assuming(Assumptions(example)) as assumptions:
        # What defines the symbols stands first; the operands may be sums and products of them.
        builder.input(TensorType(dtypes.float32, (N, M)), "sizes")
        inputs = [builder.input(TensorType(dtypes.float32, shape)) for shape in shapes]
        graph = builder.finish(builder.node(op, inputs, op.attrs(**attrs)))
        program = scheduled(lower(Decompose().run(graph), target), target)
    emission = emit_program(program, target)
    for sizes in (example, {"n": 3, "m": 1}, {"n": 19, "m": 33}):
        if not valid(assumptions, sizes):
            continue
        drawn = np.random.default_rng(5)
        operands = tuple(
            np.asarray(drawn.standard_normal(concrete(s, sizes)), np.float32) for s in shapes
        )
        bound = op.attrs(**{key: bind(value, sizes) for key, value in attrs.items()})
        expected = evaluate_op(op, bound, operands)
        arrays = (np.zeros((sizes["n"], sizes["m"]), np.float32), *operands)
        loops = run_program(program, arrays, sizes)
        machine = native.call(emission, program, arrays, None)
        for found in (loops, machine):
            for mine, theirs in zip(found, expected, strict=True):
                assert np.allclose(mine, theirs, rtol=1e-4, atol=1e-4), sizes


def valid(assumptions: Assumptions, sizes: dict[str, int]) -> bool:
    """Tell whether the answers on which a program rests hold for other sizes."""
    with assuming(Assumptions(sizes)):
        return all(holds(*question) == answer for question, answer in assumptions.guards.items())
