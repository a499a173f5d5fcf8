"""Tensors that a module owns and an optimiser updates."""

from __future__ import annotations

from typing import Any

from smelt.base import TensorBase
from smelt.tensor import Tensor


class Parameter(Tensor):
    """A tensor that becomes a parameter of the module it is assigned to.

    It shares the memory of the tensor that it is made from, and is a leaf.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        """Make a parameter.

        Args:
            data: its elements; None: an empty float32 tensor.
            requires_grad: whether gradients are wanted.

        Raises:
            TypeError: `data` is not a tensor.
            RuntimeError: `data` cannot require grad because it does not hold floats.
        """
        if data is None:
            from smelt.functions.creation import empty

            data = empty(0)
        if not isinstance(data, TensorBase):
            raise TypeError(f"a Parameter is made from a tensor, not {type(data).__name__}")
        parameter = object.__new__(cls)
        parameter.dtype = data.dtype
        parameter._own_storage = data._storage
        parameter._own_layout = data._layout
        parameter._own_version = data._version_counter
        parameter._array = data._array
        parameter._trace = data._trace
        if requires_grad:
            parameter.requires_grad_(True)
        return parameter

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """Do nothing; `__new__` made the parameter."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        known = memo.get(id(self))
        if known is not None:
            return known
        copy = Parameter(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (Parameter, (self.detach(), self.requires_grad))

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
