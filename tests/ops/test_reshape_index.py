"""The index map of reshape: right for every pair of shapes, and as simple as it can be."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.ir import dtypes, registry
from smelt.ir.dim import Dim, symbol
from smelt.ir.op import Lower
from smelt.ir.ops.movement import reshape_index
from smelt.ir.scalar import Apply, Expr, walk
from smelt.ir.types import TensorType

from tests.ops.stage_evaluator import run_stage

N, M = symbol("n"), symbol("m")


@st.composite
def factorings(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw two shapes of one size, ones among them."""
    primes = draw(st.lists(st.sampled_from([1, 2, 2, 3, 5]), max_size=5))
    return grouped(draw, primes), grouped(draw, draw(st.permutations(primes)))


def grouped(draw: st.DrawFn, factors: list[int]) -> tuple[int, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=4)))
    edges = [0, *cuts, len(factors)]
    return tuple(math.prod(factors[a:b]) for a, b in pairwise(edges))


@given(factorings())
@settings(max_examples=150, deadline=None)
def test_every_element_keeps_its_place(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    source, target = shapes
    x = np.arange(math.prod(source)).reshape(source)
    op = registry.OPS["reshape"]
    assert isinstance(op.rule, Lower)
    stage = op.rule.define(op.attrs(shape=target), TensorType(dtypes.int64, source))
    (found,) = run_stage(stage, (x,))
    assert np.array_equal(found, x.reshape(target))


def operations(index: tuple[Expr, ...]) -> list[str]:
    return sorted(e.op for part in index for e in walk(part) if isinstance(e, Apply))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((2, 3), (2, 1, 3), []),
        ((1, 2, 3, 1), (2, 3), []),
        ((2, 12), (2, 3, 4), ["add", "mul"]),
        ((N, M), (N, 1, M), []),
        ((N * M, 4), (N, M, 4), ["add", "mul"]),
        ((2, 3, 4), (6, 4), ["floordiv", "mod"]),
        ((N, 6), (N, 2, 3), ["add", "mul"]),
        ((0, 3), (3, 0), []),
    ],
)
def test_index_is_simple(
    source: tuple[int | Dim, ...], target: tuple[int | Dim, ...], expected: list[str]
) -> None:
    assert operations(reshape_index(source, target)) == expected
