"""Promotion and broadcasting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import smelt
from hypothesis import given
from hypothesis import strategies as st
from smelt.ir import dtypes, promotion
from smelt.ir.promotion import Category

SMALL = [d for d in dtypes.ALL if d not in (dtypes.uint16, dtypes.uint32, dtypes.uint64)]


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations_with_replacement(SMALL, 2)))
def test_promote_is_a_join(a: dtypes.DType, b: dtypes.DType) -> None:
    joined = promotion.promote(a, b)
    assert promotion.promote(b, a) is joined
    assert promotion.promote(joined, a) is joined
    assert joined.kind.value >= max(a.kind.value, b.kind.value)


def test_promote_refuses_what_nothing_holds() -> None:
    with pytest.raises(TypeError, match="uint64"):
        promotion.promote(dtypes.uint64, dtypes.int8)


def test_categories() -> None:
    number, zero, many = Category.NUMBER, Category.ZERO_DIM, Category.DIMENSIONED
    f16, f32, f64, i64, i32 = (
        dtypes.float16,
        dtypes.float32,
        dtypes.float64,
        dtypes.int64,
        dtypes.int32,
    )
    for operands, want in [
        ([(f16, many), (f64, zero)], f16),
        ([(i32, many), (i64, zero)], i32),
        ([(i32, many), (f64, zero)], f64),
        ([(i32, many), (f32, number)], f32),
        ([(i32, many), (i64, number)], i32),
        ([(dtypes.bool_, many), (i64, number)], i64),
        ([(f16, zero), (f32, number)], f16),
        ([(f16, many), (dtypes.complex128, number)], dtypes.complex64),
        ([(dtypes.uint8, many), (dtypes.int8, many)], dtypes.int16),
    ]:
        assert promotion.result_type(operands) is want, operands


@pytest.mark.parametrize(
    ("expression", "dtype"),
    [
        (lambda: smelt.arange(3) / 2, smelt.float32),
        (lambda: smelt.arange(3) // 2, smelt.int64),
        (lambda: smelt.arange(3) + 1.0, smelt.float32),
        (lambda: smelt.ones(2, dtype=smelt.float16) + 1.0, smelt.float16),
        (lambda: smelt.tensor(True) + 1, smelt.int64),
        (lambda: smelt.tensor([True]).sum(), smelt.int64),
        (lambda: smelt.ones(2, dtype=smelt.uint8).sum(), smelt.int64),
        (lambda: smelt.arange(3).exp(), smelt.float32),
        (lambda: smelt.arange(3) > 1.5, smelt.bool),
        (lambda: smelt.where(smelt.tensor([True]), 1, 2.5), smelt.float32),
        (lambda: smelt.tensor([1, 2.5]), smelt.float32),
        (lambda: smelt.tensor([True, 2]), smelt.int64),
        (lambda: smelt.cat([smelt.arange(2), smelt.ones(2)]), smelt.float32),
        (lambda: 2 ** smelt.arange(3), smelt.int64),
        (lambda: smelt.arange(3).float().mean(), smelt.float32),
    ],
)
def test_result_dtype(expression, dtype) -> None:
    assert expression().dtype is dtype


def test_default_dtype() -> None:
    smelt.set_default_dtype(smelt.float64)
    try:
        assert smelt.tensor(1.5).dtype is smelt.float64
        assert (smelt.arange(3) / 2).dtype is smelt.float64
    finally:
        smelt.set_default_dtype(smelt.float32)
    with pytest.raises(TypeError, match="floating"):
        smelt.set_default_dtype(smelt.int64)


shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(shapes, shapes)
def test_broadcast_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        want = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(RuntimeError, match="do not broadcast"):
            promotion.broadcast(a, b)
        with pytest.raises(RuntimeError):
            smelt.zeros(a) + smelt.zeros(b)
        return
    assert promotion.broadcast(a, b) == want
    assert (smelt.zeros(a) + smelt.ones(b)).shape == want


def test_bool_arithmetic() -> None:
    a, b = smelt.tensor([True, False]), smelt.tensor([True, True])
    assert (a + b).tolist() == [True, True] and (a * b).tolist() == [True, False]
    with pytest.raises(RuntimeError, match="logical_xor"):
        smelt.sub(a, b)
    with pytest.raises(RuntimeError, match="logical_not"):
        a.neg()


def test_integer_corners() -> None:
    assert (smelt.tensor([7, -7]) % 3).tolist() == [1, 2]
    assert smelt.fmod(smelt.tensor([7, -7]), 3).tolist() == [1, -1]
    assert (smelt.tensor([7, -7]) // 2).tolist() == [3, -4]
    assert smelt.div(smelt.tensor([7, -7]), 2, rounding_mode="trunc").tolist() == [3, -3]
    with pytest.raises((RuntimeError, ZeroDivisionError)):
        smelt.floor_divide(smelt.tensor([1]), 0)
    with pytest.raises(RuntimeError, match="negative integer powers"):
        smelt.arange(3) ** -1
