"""Gathers and scatters: order of writes, positions out of range, and what is left untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.errors import IndexRangeError, TypeInferenceError
from smelt.ir.evaluate import NUMPY_RULES
from smelt.ir.loop.grammar import Kernel, row_major_buffer
from smelt.ir.loop.interpreter import run_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.ir.structured import Nest, Stage
from smelt.ir.types import TensorType

from tests.graphs import type_of

X = np.arange(6.0).reshape(3, 2)
ROWS = np.array([10.0, 20.0, 30.0])[:, None] + np.zeros((3, 2))

OUT_OF_RANGE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("embedding", (X, np.array([0, 3])), {}),
    ("embedding", (X, np.array([-1])), {}),
    ("gather", (X, np.array([[0, 3]])), {"dim": 0}),
    ("index_select", (X, np.array([2])), {"dim": 1}),
    ("index", (X, np.array([-4])), {"dims": (0,)}),
    ("one_hot", (np.array([0, 2]),), {"classes": 2}),
    ("scatter", (X, np.array([[0, 3]]), ROWS[:1]), {"dim": 0}),
    ("scatter_add", (X, np.array([[0, -1]]), ROWS[:1]), {"dim": 0}),
    ("index_add", (X, np.array([0, 3, 1]), ROWS), {"dim": 0}),
    ("index_put", (X, ROWS[:2], np.array([0, 3])), {"dims": (0,)}),
    ("cross_entropy", (X, np.array([0, 2, 1])), {}),
    ("nll_loss", (X, np.array([0, -1, 1])), {}),
]


def kernel_of(op: str, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Kernel:
    definition = registry.OPS[op]
    types = [type_of(a) for a in operands]
    made = definition.attrs(**attrs)
    nest = definition.rule.define(made, *types)
    assert isinstance(nest, Nest)
    inputs = tuple(row_major_buffer(f"in{k}", t.dtype, t.shape) for k, t in enumerate(types))
    (result,) = definition.infer(made, *types)
    out = row_major_buffer("out", result.dtype, result.shape)
    body = nest.build(inputs, (out,))
    return Kernel(op, (*inputs, out), body, written=frozenset({"out"}))


@pytest.mark.parametrize("op, operands, attrs", OUT_OF_RANGE, ids=lambda v: str(v)[:20])
def test_positions_out_of_range_raise(
    op: str, operands: tuple[Any, ...], attrs: dict[str, Any]
) -> None:
    with pytest.raises(IndexRangeError, match="out of bounds for a dimension of size"):
        NUMPY_RULES(op, *operands, **attrs)


@pytest.mark.parametrize(
    "op, operands, attrs",
    [c for c in OUT_OF_RANGE if c[0].startswith(("scatter", "index_add", "index_put"))],
    ids=lambda v: str(v)[:20],
)
def test_a_nest_writes_nothing_when_a_position_is_out_of_range(
    op: str, operands: tuple[Any, ...], attrs: dict[str, Any]
) -> None:
    kernel = kernel_of(op, operands, attrs)
    verify_kernel(kernel)
    out = np.full(X.shape, 77.0)
    with pytest.raises(IndexRangeError, match="out of bounds"):
        run_kernel(kernel, [*operands, out], {})
    assert (out == 77.0).all()


def test_gathers_check_their_positions_in_native_code_too() -> None:
    for op, operands, attrs in OUT_OF_RANGE:
        rule = registry.OPS[op].rule
        if op in ("embedding", "gather", "index_select", "index", "one_hot"):
            stage = rule.define(registry.OPS[op].attrs(**attrs), *map(type_of, operands))
            assert isinstance(stage, Stage) and stage.checks


def test_the_last_of_several_writes_stays() -> None:
    twice = np.array([1, 0, 1])
    put = NUMPY_RULES("index_put", X, ROWS, twice, dims=(0,))
    assert put[:, 0].tolist() == [20.0, 30.0, 4.0]
    scattered = NUMPY_RULES("scatter", X, np.stack([twice, twice], 1), ROWS, dim=0)
    assert np.array_equal(put, scattered)


def test_adding_counts_every_one() -> None:
    thrice = np.array([1, 1, 1])
    for found in (
        NUMPY_RULES("index_add", X, thrice, ROWS, dim=0),
        NUMPY_RULES("index_put", X, ROWS, thrice, dims=(0,), accumulate=True),
        NUMPY_RULES("scatter_add", X, np.stack([thrice, thrice], 1), ROWS, dim=0),
    ):
        assert found[1].tolist() == [62.0, 63.0]


def test_index_takes_positions_from_the_end_and_the_others_do_not() -> None:
    assert np.array_equal(NUMPY_RULES("index", X, np.array([-1]), dims=(0,)), X[-1:])
    with pytest.raises(IndexRangeError):
        NUMPY_RULES("gather", X, np.array([[-1, 0]]), dim=0)


def test_messages_name_operands_and_types() -> None:
    f32, i64 = dtypes.float32, dtypes.int64
    op = registry.OPS["gather"]
    with pytest.raises(TypeInferenceError, match=r"x is f32\[2,3\], index is i64\[3\]"):
        op.infer(op.attrs(dim=0), TensorType(f32, (2, 3)), TensorType(i64, (3,)))
    with pytest.raises(TypeError, match=r"index must be i64, but is f32\[1,1\]"):
        op.infer(op.attrs(dim=0), TensorType(f32, (2, 3)), TensorType(f32, (1, 1)))
    with pytest.raises(IndexError, match="dim is 2"):
        op.infer(op.attrs(dim=2), TensorType(f32, (2, 3)), TensorType(i64, (1, 1)))
