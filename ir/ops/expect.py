"""What inference rules expect of operands and attributes, with messages that say what arrived."""

from __future__ import annotations

from typing import NoReturn

from smelt.ir import dim as dims
from smelt.ir import dtypes
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, DimensionError, DTypeError, TypeInferenceError
from smelt.ir.types import Shape, TensorType


def mismatch(op: str, expected: str, **arrived: TensorType) -> NoReturn:
    """Raise that the operands named in `arrived` do not fit together as `expected`."""
    found = ", ".join(f"{name} is {type}" for name, type in arrived.items())
    raise TypeInferenceError(f"{op}: {expected}: {found}")


def floating(op: str, **types: TensorType) -> None:
    """Require operands of a real floating-point dtype."""
    for name, type in types.items():
        if not type.dtype.is_floating_point:
            raise DTypeError(f"{op}: {name} must be floating-point, but is {type}")


def of_dtype(op: str, dtype: DType, **types: TensorType) -> None:
    """Require operands of exactly `dtype`."""
    for name, type in types.items():
        if type.dtype is not dtype:
            raise DTypeError(f"{op}: {name} must be {dtype.name}, but is {type}")


def indices(op: str, **types: TensorType) -> None:
    """Require operands of the dtype of indices, i64."""
    of_dtype(op, dtypes.int64, **types)


def same_dtype(op: str, **types: TensorType) -> None:
    """Require operands of one dtype."""
    if len({id(t.dtype) for t in types.values()}) > 1:
        found = ", ".join(f"{name} is {type}" for name, type in types.items())
        raise DTypeError(f"{op}: operands differ in dtype: {found}")


def same_type(op: str, **types: TensorType) -> None:
    """Require operands of one dtype and shape."""
    same_dtype(op, **types)
    first = next(iter(types.values()))
    if not all(same_extents(t.shape, first.shape) for t in types.values()):
        mismatch(op, "operands differ in shape", **types)


def same_extents(a: Shape, b: Shape) -> bool:
    """Tell whether two shapes are equal, asking about symbolic dimensions where needed."""
    return a == b or (len(a) == len(b) and all(map(dims.same, a, b)))


def of_shape(op: str, shape: Shape, **types: TensorType) -> None:
    """Require operands of exactly `shape`."""
    for name, type in types.items():
        if not same_extents(type.shape, shape):
            expected = ",".join(map(str, shape))
            raise TypeInferenceError(f"{op}: {name} must have shape [{expected}], but is {type}")


def at_least_rank(op: str, rank: int, **types: TensorType) -> None:
    """Require operands of at least `rank` dimensions."""
    for name, type in types.items():
        if type.rank < rank:
            raise TypeInferenceError(
                f"{op}: {name} must have at least {rank} dimensions, but is {type}"
            )


def dim_of(op: str, dim: int, type: TensorType, name: str = "x") -> None:
    """Require that `dim` is the number of a dimension of `type`."""
    if not 0 <= dim < type.rank:
        raise DimensionError(f"{op}: dim is {dim}, but {name} is {type}")


def argument(op: str, holds: bool, what: str) -> None:
    """Require a condition on attributes; `what` says what is expected and what arrived."""
    if not holds:
        raise ArgumentError(f"{op}: {what}")


def reduction(op: str, name: str) -> None:
    """Require the name of a reduction of losses."""
    argument(
        op,
        name in ("none", "mean", "sum"),
        f"reduction must be 'none', 'mean' or 'sum', not {name!r}",
    )


def positive(extent: int | Dim) -> bool:
    """Tell whether a dimension is above zero, taking a symbolic one to be."""
    return not isinstance(extent, int) or extent > 0
