"""`Module`: a part of a network, with its parameters, buffers, submodules and hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from smelt.autograd.modes import no_grad
from smelt.base import TensorBase
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.nn.calling import Calling
from smelt.nn.parameter import Parameter
from smelt.nn.state_dict import StateDict
from smelt.runtime.device import device as make_device
from smelt.state import settings
from smelt.tensor import Tensor

_M = TypeVar("_M", bound="Module")


class Module(StateDict, Calling):
    """Base class of the parts of networks.

    A subclass calls `super().__init__()`, assigns parameters and submodules to attributes, and
    defines `forward`.

    Attributes:
        training: whether it is in training mode; dropout and batch norm behave by it.
    """

    training: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise TypeError(f"{type(self).__name__}.__init__() takes no arguments")
        state = self.__dict__
        state["training"] = True
        for name in ("_parameters", "_buffers", "_modules"):
            state[name] = {}
        state["_non_persistent_buffers_set"] = set()
        for name in (
            "_forward_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called",
            "_forward_pre_hooks",
            "_forward_pre_hooks_with_kwargs",
            "_backward_hooks",
            "_backward_pre_hooks",
            "_state_dict_hooks",
            "_state_dict_pre_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            state[name] = {}
        state["_is_full_backward_hook"] = None

    # -- modes ---------------------------------------------------------------------------------

    def train(self: _M, mode: bool = True) -> _M:
        """Put this module and all below it in training mode; return self."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.__dict__["training"] = mode
        settings.epoch += 1
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: _M) -> _M:
        """Put this module and all below it in evaluation mode; return self."""
        return self.train(False)

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Say for all parameters whether gradients are wanted; return self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters: to None, or to zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad.detach_()
                parameter.grad.zero_()

    # -- conversion ----------------------------------------------------------------------------

    def apply(self: _M, fn: Callable[[Module], None]) -> _M:
        """Call `fn` on every module below this one, then on it; return self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: _M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _M:
        """Replace the elements of every parameter and buffer by what `fn` gives; return self."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with no_grad():
                converted = fn(parameter)
            if converted is not parameter:
                parameter.data = converted
            if parameter.grad is not None:
                with no_grad():
                    gradient = fn(parameter.grad)
                if gradient is not parameter.grad:
                    parameter.grad = gradient
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        settings.epoch += 1
        return self

    def to(self: _M, *args: Any, **kwargs: Any) -> _M:
        """Convert floating-point parameters and buffers to a dtype, or all to a device.

        Args:
            args: a dtype, a device, a device and a dtype, or a tensor that has both.
            kwargs: `device`, `dtype`, `non_blocking`.

        Raises:
            TypeError: the dtype is not a floating one.
        """
        dtype: DType | None = kwargs.pop("dtype", None)
        where = kwargs.pop("device", None)
        kwargs.pop("non_blocking", None)
        kwargs.pop("memory_format", None)
        if kwargs:
            raise TypeError(f"to() got unexpected arguments {sorted(kwargs)}")
        for argument in args:
            if isinstance(argument, DType):
                dtype = argument
            elif isinstance(argument, TensorBase):
                dtype, where = argument.dtype, argument.device  # type: ignore[attr-defined]
            elif not isinstance(argument, bool):
                where = argument
        if where is not None:
            make_device(where)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got {dtype!r}"
            )

        def convert(tensor: Tensor) -> Tensor:
            floating = tensor.dtype.is_floating_point or tensor.dtype.is_complex
            target = dtype if floating else None
            return tensor.to(where, target) if where is not None else tensor.to(target or tensor)

        return self._apply(convert)

    def cpu(self: _M) -> _M:
        """Move parameters and buffers to the CPU; return self."""
        return self.to("cpu")

    def cuda(self: _M, device: Any = None) -> _M:
        """Move parameters and buffers to a GPU; raises where there is none."""
        return self.to("cuda" if device is None else device)

    def type(self: _M, dst_type: DType) -> _M:
        """Convert every parameter and buffer to a dtype; return self."""
        return self._apply(lambda t: t.to(dst_type))

    def float(self: _M) -> _M:
        """Convert floating-point parameters and buffers to float32; return self."""
        return self.to(dtypes.float32)

    def double(self: _M) -> _M:
        """Convert floating-point parameters and buffers to float64; return self."""
        return self.to(dtypes.float64)

    def half(self: _M) -> _M:
        """Convert floating-point parameters and buffers to float16; return self."""
        return self.to(dtypes.float16)

    def bfloat16(self: _M) -> _M:
        """Convert floating-point parameters and buffers to bfloat16; return self."""
        return self.to(dtypes.bfloat16)

    def share_memory(self: _M) -> _M:
        """Move parameters and buffers to memory that processes share; return self."""
        return self._apply(lambda t: t.share_memory_())

    # -- printing ------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what stands in the parentheses of the printed tree; subclasses say."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(m))}" for name, m in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _indent(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line for line in rest)])


__all__ = ["Module", "Parameter"]
