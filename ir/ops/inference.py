"""Checks shared by the type inference of several families.

Messages name the op, the operand, what was expected and what arrived:
`add: operands differ in shape: x is f32[2,3], y is f32[3]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from smelt.ir import dim as dims
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import ArgumentError, DimensionError, DTypeError, TypeInferenceError
from smelt.ir.types import Shape, TensorType

Kinds = frozenset[Kind]

FLOAT: Kinds = frozenset({Kind.FLOAT})
INTEGER: Kinds = frozenset({Kind.INT, Kind.UINT})
BOOL: Kinds = frozenset({Kind.BOOL})
REAL: Kinds = FLOAT | INTEGER
BITS: Kinds = INTEGER | BOOL
ANY: Kinds = REAL | BOOL

_WORDS: dict[Kinds, str] = {
    FLOAT: "a floating-point dtype",
    INTEGER: "an integer dtype",
    BOOL: "bool",
    REAL: "an integer or floating-point dtype",
    BITS: "bool or an integer dtype",
    ANY: "bool, an integer or a floating-point dtype",
}


def expect_kind(name: str, operand: str, found: TensorType, kinds: Kinds) -> None:
    """Raise unless the operand's dtype is one of `kinds`."""
    if found.dtype.kind not in kinds:
        raise DTypeError(f"{name}: {operand} must have {_WORDS[kinds]}, but is {found}")


def expect_dtype(name: str, operand: str, found: TensorType, dtype: DType) -> None:
    """Raise unless the operand has `dtype`."""
    if found.dtype is not dtype:
        raise DTypeError(f"{name}: {operand} must be {dtype.name}, but is {found}")


def expect_rank(name: str, operand: str, found: TensorType, least: int, most: int | None) -> None:
    """Raise unless the operand's rank is within [least, most]; `most` None: no upper limit."""
    if found.rank < least or (most is not None and found.rank > most):
        if most is None:
            wanted = f"at least {least}"
        else:
            wanted = str(least) if least == most else f"{least} to {most}"
        raise TypeInferenceError(
            f"{name}: {operand} must have {wanted} dimensions, but is {found} with {found.rank}"
        )


def same_shape(a: Shape, b: Shape) -> bool:
    """Tell whether two shapes are equal, for certain or by a recorded guard."""
    return a == b or (len(a) == len(b) and all(dims.same(m, n) for m, n in zip(a, b)))


def expect_same_dtype(name: str, operands: Sequence[str], types: Sequence[TensorType]) -> None:
    """Raise unless all operands have the dtype of the first."""
    if any(t.dtype is not types[0].dtype for t in types):
        raise DTypeError(f"{name}: operands differ in dtype: {_listing(operands, types)}")


def expect_same_shape(name: str, operands: Sequence[str], types: Sequence[TensorType]) -> None:
    """Raise unless all operands have the shape of the first."""
    if not all(same_shape(types[0].shape, t.shape) for t in types):
        raise TypeInferenceError(f"{name}: operands differ in shape: {_listing(operands, types)}")


def expect_dim(name: str, attr: str, dim: int, rank: int) -> None:
    """Raise unless `dim` numbers a dimension of an operand of that rank, counted from 0."""
    if not 0 <= dim < rank:
        raise DimensionError(
            f"{name}: {attr} is {dim}, but the operand has {rank} dimensions (0 to {rank - 1})"
            if rank
            else f"{name}: {attr} is {dim}, but the operand has no dimensions"
        )


def expect_dims(name: str, found: tuple[int, ...], rank: int) -> None:
    """Raise unless `found` are distinct dimensions of an operand of that rank, in order."""
    for dim in found:
        expect_dim(name, "dims", dim, rank)
    if any(a >= b for a, b in pairwise(found)):
        raise ArgumentError(f"{name}: dims must be distinct and in order, but are {found}")


def pointwise(
    name: str, operands: tuple[str, ...], kinds: Kinds, result: DType | None = None
) -> Callable[..., tuple[TensorType, ...]]:
    """Return the inference of an op on equal types; `result` overrides the dtype it gives."""

    def infer(attrs: Any, *types: TensorType) -> tuple[TensorType, ...]:
        expect_kind(name, operands[0], types[0], kinds)
        if len(operands) > 1:
            expect_same_dtype(name, operands, types)
            expect_same_shape(name, operands, types)
        return (types[0] if result is None else types[0].with_dtype(result),)

    return infer


def _listing(operands: Sequence[str], types: Sequence[TensorType]) -> str:
    return ", ".join(f"{name} is {found}" for name, found in zip(operands, types))
