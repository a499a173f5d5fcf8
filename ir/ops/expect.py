"""The checks of `inference` with operands named by keyword, and a few more of the kind.

expect.floating("mse_loss", x=x, y=y)        # mse_loss: y must have a floating-point dtype, …
expect.of_shape("conv", (2, 3), w=w)         # conv: w must have shape [2,3], but is f32[2,4]
"""

from __future__ import annotations

from typing import NoReturn

from smelt.ir import dtypes
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, TypeInferenceError
from smelt.ir.ops.inference import (
    FLOAT,
    expect_dim,
    expect_dtype,
    expect_kind,
    expect_rank,
    expect_same_dtype,
    expect_same_shape,
    same_shape,
)
from smelt.ir.types import Shape, TensorType


def mismatch(op: str, expected: str, **arrived: TensorType) -> NoReturn:
    """Raise that the operands named in `arrived` do not fit together as `expected`."""
    found = ", ".join(f"{name} is {type}" for name, type in arrived.items())
    raise TypeInferenceError(f"{op}: {expected}: {found}")


def floating(op: str, **types: TensorType) -> None:
    """Require operands of a real floating-point dtype."""
    for name, type in types.items():
        expect_kind(op, name, type, FLOAT)


def of_dtype(op: str, dtype: DType, **types: TensorType) -> None:
    """Require operands of exactly `dtype`."""
    for name, type in types.items():
        expect_dtype(op, name, type, dtype)


def indices(op: str, **types: TensorType) -> None:
    """Require operands of the dtype of indices, i64."""
    of_dtype(op, dtypes.int64, **types)


def same_dtype(op: str, **types: TensorType) -> None:
    """Require operands of one dtype."""
    expect_same_dtype(op, list(types), list(types.values()))


def same_type(op: str, **types: TensorType) -> None:
    """Require operands of one dtype and shape."""
    same_dtype(op, **types)
    expect_same_shape(op, list(types), list(types.values()))


def of_shape(op: str, shape: Shape, **types: TensorType) -> None:
    """Require operands of exactly `shape`."""
    for name, type in types.items():
        if not same_shape(type.shape, shape):
            expected = ",".join(map(str, shape))
            raise TypeInferenceError(f"{op}: {name} must have shape [{expected}], but is {type}")


def at_least_rank(op: str, rank: int, **types: TensorType) -> None:
    """Require operands of at least `rank` dimensions."""
    for name, type in types.items():
        expect_rank(op, name, type, rank, None)


def dim_of(op: str, dim: int, type: TensorType) -> None:
    """Require that `dim` is the number of a dimension of `type`."""
    expect_dim(op, "dim", dim, type.rank)


def argument(op: str, holds: bool, what: str) -> None:
    """Require a condition on attributes; `what` says what is expected and what arrived."""
    if not holds:
        raise ArgumentError(f"{op}: {what}")


def reduction(op: str, name: str) -> None:
    """Require the name of a reduction of losses."""
    known = ("none", "mean", "sum")
    argument(op, name in known, f"reduction must be 'none', 'mean' or 'sum', not {name!r}")


def positive(extent: int | Dim) -> bool:
    """Tell whether a dimension is above zero, taking a symbolic one to be."""
    return not isinstance(extent, int) or extent > 0
