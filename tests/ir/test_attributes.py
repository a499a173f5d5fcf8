"""Attribute values: identity, sizes in them, and the text of dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.ir import attributes, dtypes, registry
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim, symbol
from smelt.ir.graph import Graph, Value
from smelt.ir.text import parse
from smelt.ir.types import TensorType

DISTINCT = [
    None,
    True,
    False,
    1,
    0,
    1.0,
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    complex(0.0, 0.0),
    complex(0.0, -0.0),
    "1",
    "",
    (),
    (1,),
    (True,),
    (1.0,),
    ((1,),),
    dtypes.float32,
    dtypes.int32,
    symbol("n"),
    symbol("n") + 1,
    ConstantValue(np.zeros(2)),
    ConstantValue(np.zeros(2, np.float32)),
    ConstantValue(np.zeros((2, 1))),
    ConstantValue(-np.zeros(2)),
]


def test_values_are_told_apart_bit_for_bit() -> None:
    keys = [attributes.value_key(value) for value in DISTINCT]
    assert len(set(keys)) == len(DISTINCT)
    assert attributes.value_key(float("nan")) == attributes.value_key(np.nan)
    assert attributes.value_key(ConstantValue(np.zeros(2))) == attributes.value_key(DISTINCT[-4])


@pytest.mark.parametrize("value", [[1], {1}, object(), np.float32(1), np.int64(1), b""])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is not an attribute value"):
        attributes.value_key(value)


def test_sizes_are_found_and_replaced_at_any_depth() -> None:
    n, m = symbol("n"), symbol("m")
    op = registry.OPS["full"]
    attrs = op.attrs(value=0.0, dtype=dtypes.float32, shape=(n, 2, n * m))
    assert attributes.symbols(attrs) == {"n", "m"}
    assert attributes.substitute(attrs, {"k": 1}) is attrs
    replaced = attributes.substitute(attrs, {"n": 3, "m": m + 1})
    assert replaced.shape == (3, 2, 3 * m + 3)
    assert attributes.keywords(replaced)["dtype"] is dtypes.float32


def sums(depth: int) -> st.SearchStrategy[int | Dim]:
    leaves = st.one_of(st.integers(-4, 9), st.sampled_from(["n", "m", "s0"]).map(symbol))
    if depth == 0:
        return leaves
    inner = sums(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, inner).filter(lambda p: p[1] != 0).map(lambda p: p[0] // p[1]),
        st.tuples(inner, inner).filter(lambda p: p[1] != 0).map(lambda p: p[0] % p[1]),
    )


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(sums(3))
def test_dimensions_round_trip_in_types_and_attributes(dim: int | Dim) -> None:
    op = registry.OPS["dim_value"]
    parsed = (
        parse(f"graph g(%x: f32[{dim}]) {{\n  %1: i64[] = dim_value() {{dim={dim}}}\n  return\n}}")
        if isinstance(dim, Dim) or dim >= 0
        else None
    )
    if parsed is None:
        return
    assert parsed.inputs[0].type.shape == (dim,)
    assert parsed.nodes[0].attrs == op.attrs(dim=dim)
    value = Value(TensorType(dtypes.float32, (dim, 1)))
    graph = Graph("g", (value,), (), (value,))
    assert parse(str(graph)).inputs[0].type == value.type
