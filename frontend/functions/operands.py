"""From what people pass to what ops take: numbers become tensors, dtypes and shapes meet.

In eager execution a step that would change nothing is skipped, so that operands that fit already
cost one comparison.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt import dispatch
from smelt.base import TensorBase
from smelt.dispatch import apply, cast, expand
from smelt.ir import promotion
from smelt.ir.dtypes import DType, Kind
from smelt.ir.op import OpDef
from smelt.ir.promotion import Category
from smelt.ir.registry import OPS
from smelt.state import mode, settings

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Number = bool | int | float | complex
# Python numbers that take on the dtype of a tensor of each kind.
_FITTING: dict[Kind, tuple[type, ...]] = {
    Kind.BOOL: (bool,),
    Kind.UINT: (bool, int),
    Kind.INT: (bool, int),
    Kind.FLOAT: (bool, int, float),
    Kind.COMPLEX: (bool, int, float, complex),
}
Operand = Any  # a tensor, a Python number or a NumPy scalar


def is_number(value: object) -> bool:
    """Tell whether `value` is a Python number or a NumPy scalar."""
    return isinstance(value, (bool, int, float, complex, np.generic))


def as_number(value: Any) -> Number:
    """Return a Python number for a NumPy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def category(x: Operand) -> tuple[DType, Category]:
    """Return the dtype of an operand and how much it counts in promotion."""
    if isinstance(x, TensorBase):
        return x.dtype, Category.DIMENSIONED if x._sizes else Category.ZERO_DIM
    return promotion.number_dtype(as_number(x), settings.default_dtype), Category.NUMBER


def common_dtype(function: str, a: Operand, b: Operand) -> DType:
    """Return the dtype in which two operands meet, each a tensor or a number."""
    if isinstance(a, TensorBase):
        if isinstance(b, TensorBase):
            if a.dtype is b.dtype:
                return a.dtype
        elif type(b) in _FITTING[a.dtype.kind]:
            return a.dtype
    expect_operand(a, function, "input")
    expect_operand(b, function, "other")
    return result_dtype(a, b)


def result_dtype(*operands: Operand) -> DType:
    """Return the dtype in which tensors and numbers meet."""
    return promotion.result_type([category(x) for x in operands])


def expect_tensor(x: object, function: str, operand: str) -> None:
    """Raise a TypeError unless `x` is a tensor."""
    if not isinstance(x, TensorBase):
        raise TypeError(
            f"{function}(): argument '{operand}' must be Tensor, not {type(x).__name__}"
        )


def expect_operand(x: object, function: str, operand: str) -> None:
    """Raise a TypeError unless `x` is a tensor or a number."""
    if not isinstance(x, TensorBase) and not is_number(x):
        raise TypeError(
            f"{function}(): argument '{operand}' must be Tensor or a number, not {type(x).__name__}"
        )


def to_tensor(x: Operand, dtype: DType) -> Tensor:
    """Return an operand as a tensor of `dtype`; a number becomes a 0-d tensor."""
    if isinstance(x, TensorBase):
        return cast(x, dtype)  # type: ignore[arg-type]
    return dispatch.scalar(as_number(x), dtype)


def meet(function: str, operands: Sequence[Operand], dtype: DType | None) -> tuple[Tensor, ...]:
    """Return operands of one dtype (`dtype`, or the promoted one) and of one shape."""
    for position, x in enumerate(operands):
        expect_operand(x, function, ("input", "other", "third")[min(position, 2)])
    if dtype is None:
        dtype = result_dtype(*operands)
    tensors = [to_tensor(x, dtype) for x in operands]
    return spread(function, *tensors)


def spread(function: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors broadcast to one shape."""
    shapes = [x._sizes for x in tensors]
    first = shapes[0]
    if all(s == first for s in shapes):
        return tuple(tensors)
    shape = promotion.broadcast(*shapes, op=function)
    return tuple([expand(x, shape) for x in tensors])  # type: ignore[arg-type]


def binary(op: OpDef, function: str, a: Operand, b: Operand, dtype: DType | None = None) -> Tensor:
    """Apply an elementwise op of two operands after promotion and broadcasting."""
    if isinstance(a, TensorBase) and (dtype is None or dtype is a.dtype):
        if isinstance(b, TensorBase):
            if a.dtype is b.dtype and a._sizes == b._sizes:
                return apply(op, (a, b))  # type: ignore[arg-type]
        elif type(b) in _FITTING[a.dtype.kind]:
            return apply(op, (a, dispatch.number_as(b, a)))  # type: ignore[arg-type]
    return apply(op, meet(function, (a, b), dtype))


def float_dtype(*operands: Operand) -> DType:
    """Return the dtype of a float function of these operands."""
    return promotion.float_type(result_dtype(*operands), settings.default_dtype)


def unary(op: OpDef, function: str, x: Operand) -> Tensor:
    """Apply an elementwise op to a tensor as it is."""
    expect_tensor(x, function, "input")
    return apply(op, (x,))


def float_unary(op: OpDef, function: str, x: Operand) -> Tensor:
    """Apply a float function; integers and bools become the default float first."""
    expect_tensor(x, function, "input")
    if x.dtype.kind is not Kind.FLOAT:
        x = cast(x, promotion.float_type(x.dtype, settings.default_dtype))
    return apply(op, (x,))


def one_dim(dim: int, rank: int, function: str) -> int:
    """Return `dim` counted from 0.

    Raises:
        IndexError: it is outside [-rank, rank - 1] (a 0-d tensor counts as 1-D here).
    """
    limit = max(rank, 1)
    if not -limit <= dim < limit:
        from smelt.ir.errors import DimensionError

        raise DimensionError(
            f"{function}: Dimension out of range (expected to be in range of "
            f"[{-limit}, {limit - 1}], but got {dim})"
        )
    return dim % limit


def many_dims(
    dims: int | Sequence[int] | None, rank: int, function: str, *, empty_means_all: bool = True
) -> tuple[int, ...]:
    """Return dimensions counted from 0, sorted; None, or none where allowed, means all."""
    if dims is None:
        return tuple(range(rank))
    found = [dims] if isinstance(dims, int) else list(dims)
    if not found and empty_means_all:
        return tuple(range(rank))
    normal = sorted(one_dim(int(d), rank, function) for d in found)
    for a, b in itertools.pairwise(normal):
        if a == b:
            raise RuntimeError(f"{function}: dim {a} appears multiple times in the list of dims")
    return tuple(normal) if rank else ()


def labelled(fresh: Tensor, label: str) -> Tensor:
    """Return a fresh result, its node on the tape named after the function that was called."""
    node = fresh._node
    if node is not None and mode.tracer is None:
        node.label = label
    return fresh


def op(name: str) -> OpDef:
    """Return the op called `name`."""
    return OPS[name]
