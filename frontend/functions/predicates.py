"""Questions about tensors and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.base import TensorBase
from smelt.functions import operands
from smelt.ir import promotion
from smelt.ir.dtypes import DType

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def is_tensor(obj: object) -> bool:
    """Tell whether `obj` is a tensor."""
    return isinstance(obj, TensorBase)


def is_floating_point(input: Tensor) -> bool:
    """Tell whether the dtype is a floating one."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Tell whether the dtype is a complex one."""
    return input.dtype.is_complex


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """Return the dtype in which two operands meet."""
    return operands.result_dtype(tensor1, tensor2)


def promote_types(type1: DType, type2: DType) -> DType:
    """Return the least dtype that both convert to."""
    return promotion.promote(type1, type2)


def can_cast(from_: DType, to: DType) -> bool:
    """Tell whether a result of one dtype may be stored in place into another."""
    return promotion.can_cast(from_, to)
