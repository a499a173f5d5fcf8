"""Operands of an optimiser's update ops."""

from __future__ import annotations

from typing import Any

from smelt import dispatch
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.registry import OPS
from smelt.tensor import Tensor


def number(value: Any) -> Tensor:
    """Return a hyperparameter as a 0-d operand, so that changing it needs no other program."""
    if isinstance(value, Tensor):
        return value.reshape(())
    return dispatch.scalar_input(value, dtypes.float64)


def zeros(dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """Return zeros, the state that averages begin with."""
    op = OPS["full"]
    return dispatch.apply(op, (), op.attrs(value=0.0, dtype=dtype, shape=tuple(shape)))


def gradient(parameter: Any) -> Tensor:
    """Return a parameter's gradient in the parameter's dtype."""
    return dispatch.cast(parameter.grad, parameter.dtype)


def is_zero(value: Any) -> bool:
    """Tell whether an option is the number 0; a tensor never is, since it may change."""
    return not isinstance(value, Tensor) and value == 0
