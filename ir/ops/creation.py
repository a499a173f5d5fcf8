"""Ops that make tensors of nothing: constant fill, indices, the identity matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, DTypeError
from smelt.ir.op import Decompose, Lower, NoVjp, OpDef, Operand, Rules, Sample
from smelt.ir.ops import inference
from smelt.ir.scalar import Const
from smelt.ir.structured import Stage
from smelt.ir.types import Shape, TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class FullAttrs:
    """The value of every element, and the type of the result."""

    value: bool | int | float
    dtype: DType
    shape: Shape


@dataclass(frozen=True, slots=True)
class IotaAttrs:
    """The result's shape and dtype, and the dimension along which it counts."""

    shape: Shape
    dim: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class EyeAttrs:
    """The result's sizes and dtype."""

    rows: int | Dim
    columns: int | Dim
    dtype: DType


def expect_sizes(name: str, shape: Shape) -> None:
    """Raise where a size is negative."""
    if any(isinstance(n, int) and n < 0 for n in shape):
        raise ArgumentError(f"{name}: sizes must not be negative, but are {shape}")


def _full_infer(attrs: FullAttrs) -> tuple[TensorType, ...]:
    expect_sizes("full", attrs.shape)
    if attrs.dtype.is_complex:
        raise DTypeError(f"full: dtype {attrs.dtype.name} is not taken")
    if attrs.dtype.is_integer and attrs.value != attrs.value // 1:
        raise ArgumentError(f"full: {attrs.value} is no {attrs.dtype.name}")
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _full_reference(xp: Any, attrs: FullAttrs) -> Array:
    return xp.full(attrs.shape, attrs.value, attrs.dtype.numpy)


def _full_define(attrs: FullAttrs) -> Stage:
    value = Const(scalar.as_python(attrs.value, attrs.dtype), attrs.dtype)
    return Stage(tuple(attrs.shape), (), (value,))


def _full_samples() -> Iterator[Sample]:
    yield Sample((), {"value": 1.5, "dtype": dtypes.float32, "shape": (2, 3)})
    yield Sample((), {"value": float("nan"), "dtype": dtypes.float64, "shape": (2,)})
    yield Sample((), {"value": float("-inf"), "dtype": dtypes.float16, "shape": (2, 1)})
    yield Sample((), {"value": -0.0, "dtype": dtypes.bfloat16, "shape": ()})
    yield Sample((), {"value": 0.1, "dtype": dtypes.float32, "shape": ()})
    yield Sample((), {"value": True, "dtype": dtypes.bool_, "shape": (3,)})
    yield Sample((), {"value": -(2**63), "dtype": dtypes.int64, "shape": (2,)})
    yield Sample((), {"value": 2**64 - 1, "dtype": dtypes.uint64, "shape": (2,)})
    yield Sample((), {"value": 0, "dtype": dtypes.uint8, "shape": (2, 0)})


def _iota_infer(attrs: IotaAttrs) -> tuple[TensorType, ...]:
    expect_sizes("iota", attrs.shape)
    inference.expect_dim("iota", "dim", attrs.dim, len(attrs.shape))
    found = TensorType(attrs.dtype, tuple(attrs.shape))
    inference.expect_kind("iota", "the result", found, inference.REAL)
    return (found,)


def _iota_reference(xp: Any, attrs: IotaAttrs) -> Array:
    shape = attrs.shape
    extent = shape[attrs.dim]
    line = xp.arange(extent, dtype="int64")
    if attrs.dtype.is_half:
        line = line.astype("float32")
    column: list[int | Dim] = [1] * len(shape)
    column[attrs.dim] = extent
    out = xp.empty(shape, attrs.dtype.numpy)
    out[...] = line.astype(attrs.dtype.numpy).reshape(column)
    return out


def _iota_define(attrs: IotaAttrs) -> Stage:
    return Stage(tuple(attrs.shape), (), (scalar.cast(scalar.axis(attrs.dim), attrs.dtype),))


def _iota_samples() -> Iterator[Sample]:
    for dtype in (dtypes.int64, dtypes.int32, dtypes.uint8, *dtypes.FLOATS):
        yield Sample((), {"shape": (2, 3), "dim": 1, "dtype": dtype})
    yield Sample((), {"shape": (4, 2), "dim": 0, "dtype": dtypes.int64})
    yield Sample((), {"shape": (0, 2), "dim": 0, "dtype": dtypes.int64})
    yield Sample((), {"shape": (300,), "dim": 0, "dtype": dtypes.bfloat16})


def _eye_infer(attrs: EyeAttrs) -> tuple[TensorType, ...]:
    shape = (attrs.rows, attrs.columns)
    expect_sizes("eye", shape)
    return (TensorType(attrs.dtype, shape),)


def _eye_reference(xp: Any, attrs: EyeAttrs) -> Array:
    return xp.eye(attrs.rows, attrs.columns, dtype=attrs.dtype.numpy)


def _eye_decompose(r: Rules, attrs: EyeAttrs) -> Operand:
    shape = (attrs.rows, attrs.columns)
    row, column = (r("iota", shape=shape, dim=d, dtype=dtypes.int64) for d in (0, 1))
    return r.cast(r("eq", row, column), attrs.dtype)


def _eye_samples() -> Iterator[Sample]:
    for rows, columns in ((3, 3), (2, 4), (0, 2), (1, 1)):
        yield Sample((), {"rows": rows, "columns": columns, "dtype": dtypes.float32})
    yield Sample((), {"rows": 2, "columns": 2, "dtype": dtypes.bool_})
    yield Sample((), {"rows": 2, "columns": 3, "dtype": dtypes.bfloat16})


OPS: tuple[OpDef, ...] = (
    OpDef(
        "full",
        "value everywhere",
        (),
        infer=_full_infer,
        rule=Lower(_full_define),
        vjp=NoVjp("it has no operands"),
        samples=_full_samples,
        reference=_full_reference,
        attrs=FullAttrs,
    ),
    OpDef(
        "iota",
        "the index along dim",
        (),
        infer=_iota_infer,
        rule=Lower(_iota_define),
        vjp=NoVjp("it has no operands"),
        samples=_iota_samples,
        reference=_iota_reference,
        attrs=IotaAttrs,
    ),
    OpDef(
        "eye",
        "1 on the diagonal, 0 elsewhere",
        (),
        infer=_eye_infer,
        rule=Decompose(_eye_decompose),
        vjp=NoVjp("it has no operands"),
        samples=_eye_samples,
        reference=_eye_reference,
        attrs=EyeAttrs,
    ),
)
