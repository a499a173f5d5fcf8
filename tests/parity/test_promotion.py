"""The result dtype of two operands as PyTorch's, over all dtypes, numbers and 0-d tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt

from tests.parity.comparing import expect_same, run

torch = pytest.importorskip("torch")

DTYPES = [
    "float32",
    "float64",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "float16",
    "bfloat16",
]
NUMBERS: dict[str, Any] = {"2": 2, "2.5": 2.5, "True": True}
OPS = [
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "pow",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "bitwise_and",
    "bitwise_xor",
    "copysign",
]
# smelt gives int64 where PyTorch has no kernel for bool.
BOOLS = ("floor_divide", "remainder", "fmod", "pow", "logical_and")


def operand(module: Any, dtype: str, shape: tuple[int, ...], seed: int) -> Any:
    values = np.random.default_rng(seed).integers(1, 5, size=shape)
    return module.tensor(values.tolist()).to(getattr(module, dtype))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("left", DTYPES)
def test_operation(name: str, left: str) -> None:
    for right in [*DTYPES, *(d + " 0-d" for d in DTYPES), *NUMBERS]:
        dtype, _, zero = right.partition(" ")

        def second(m: Any, dtype: str = dtype, zero: str = zero) -> Any:
            return (
                NUMBERS[dtype] if dtype in NUMBERS else operand(m, dtype, () if zero else (3,), 1)
            )

        want, got = (
            run(getattr(m, name), operand(m, left, (2, 3), 0), [second(m)]) for m in (torch, smelt)
        )
        if isinstance(want, Exception):
            assert isinstance(got, Exception) or name in BOOLS, (left, right, want)
        elif not (name == "pow" and left == "bool"):
            assert not isinstance(got, Exception), (left, right, got)
            expect_same(got, want, rtol=2e-2)
