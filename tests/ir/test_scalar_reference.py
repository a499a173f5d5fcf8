"""The numbers that define the scalar operations, against Python's own arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import DType
from smelt.ir.scalar_reference import CONVERSIONS, FUNCTIONS, ROUNDED, evaluate

INTEGERS = st.sampled_from(dtypes.INTEGERS)


def test_every_operation_has_a_meaning() -> None:
    assert set(FUNCTIONS) | set(CONVERSIONS) == set(scalar.SCALAR_OPS)
    assert set(ROUNDED) <= set(FUNCTIONS)


def wrapped(value: int, dtype: DType) -> int:
    value %= 2**dtype.bits
    return value - 2**dtype.bits if dtype.is_signed and value >= 2 ** (dtype.bits - 1) else value


def number(dtype: DType, data: st.DataObject) -> int:
    low = -(2 ** (dtype.bits - 1)) if dtype.is_signed else 0
    return data.draw(st.integers(low, low + 2**dtype.bits - 1))


@given(dtype=INTEGERS, data=st.data())
def test_integer_arithmetic_wraps(dtype: DType, data: st.DataObject) -> None:
    a, b = number(dtype, data), number(dtype, data)
    x, y = dtype.numpy.type(a), dtype.numpy.type(b)
    expected = {
        "add": a + b,
        "sub": a - b,
        "mul": a * b,
        "mulhi": (a * b) >> dtype.bits,
        "shl": a << b if 0 <= b < dtype.bits else 0,
        "shr": a >> b if 0 <= b < dtype.bits else (-1 if a < 0 else 0),
    }
    if b:
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        expected |= {
            "floordiv": a // b, "mod": a % b, "truncdiv": quotient, "rem": a - quotient * b
        }  # fmt: skip
    for op, want in expected.items():
        found = evaluate(op, x, y)
        assert found.dtype == dtype.numpy
        assert int(found) == wrapped(want, dtype), (op, a, b)


@pytest.mark.parametrize("op", ["erf", "erfc"])
def test_error_functions(op: str) -> None:
    x = np.concatenate([np.linspace(-7, 7, 4001), np.linspace(7, 26, 200), [0.46875, 4.0, -4.0]])
    want = np.array([getattr(math, op)(v) for v in x])
    np.testing.assert_allclose(evaluate(op, x), want, rtol=2e-15)
    special = evaluate(op, np.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(special, [np.nan, *([1, -1] if op == "erf" else [0, 2])])


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (3.7, dtypes.int32, 3),
        (-3.7, dtypes.int32, -3),
        (3e9, dtypes.int32, -(2**31)),
        (math.nan, dtypes.int32, -(2**31)),
        (math.inf, dtypes.int64, -(2**63)),
        (300.0, dtypes.uint8, 44),
        (-1.0, dtypes.uint32, 2**32 - 1),
        (1.5e19, dtypes.uint64, 15 * 10**18),
        (math.nan, dtypes.bool_, True),
        (-0.0, dtypes.bool_, False),
    ],
)
def test_floats_become_integers_as_on_x86(value: float, dtype: DType, expected: int) -> None:
    found = evaluate("cast", np.float64(value), dtype=dtype)
    assert found.dtype == dtype.numpy
    assert found == expected


def test_half_types_go_through_float32() -> None:
    for dtype in (dtypes.float16, dtypes.bfloat16):
        a, b = dtype.numpy.type(1.1), dtype.numpy.type(2.3)
        want = (np.float32(a) * np.float32(b)).astype(dtype.numpy)
        assert evaluate("mul", a, b) == want
        assert evaluate("cast", np.int64(3), dtype=dtype).dtype == dtype.numpy


def test_nan_passes_through_max_and_min() -> None:
    for op in ("max", "min"):
        assert np.isnan(evaluate(op, np.float32(np.nan), np.float32(1)))
        assert np.isnan(evaluate(op, np.float32(1), np.float32(np.nan)))


def test_bits_are_kept() -> None:
    assert evaluate("bitcast", np.float32(1.0), dtype=dtypes.uint32) == 0x3F800000
