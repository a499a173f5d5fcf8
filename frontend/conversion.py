"""Conversion of tensors to other dtypes and devices.

A class of its own, because within it `float`, `int` and `bool` name methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.base import TensorBase
from smelt.dispatch import cast
from smelt.functions import views
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.runtime.device import device
from smelt.runtime.device import require as check_device

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Self = Any


class Conversions(TensorBase):
    """Methods that convert a tensor; it is returned as it is where it fits already."""

    def to(self: Self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the tensor with another dtype, on another device, or as another tensor is.

        `to(dtype)`, `to(device[, dtype])`, `to(other)`; `copy=True` copies in any case.
        """
        dtype = target_dtype(args, kwargs)
        result = cast(self, dtype or self.dtype)
        if kwargs.get("copy") and result is self:
            return views.clone(self)
        return result

    def type(self: Self, dtype: Any = None, non_blocking: Any = False) -> Any:
        """Return the name of the type, or the tensor converted to a dtype."""
        if dtype is None:
            return f"torch.{_TYPE_NAMES[self.dtype]}"
        if isinstance(dtype, str):
            named = {f"torch.{v}": k for k, v in _TYPE_NAMES.items()}
            if dtype not in named:
                raise ValueError(f"invalid type: '{dtype}'")
            dtype = named[dtype]
        return cast(self, dtype if isinstance(dtype, DType) else dtype.dtype)

    def type_as(self: Self, other: Tensor) -> Tensor:
        """Return the tensor with the dtype of another."""
        return cast(self, other.dtype)

    def cpu(self: Self, memory_format: Any = None) -> Tensor:
        """Return the tensor itself: it is on the CPU."""
        return self

    def cuda(self: Self, device: Any = None, non_blocking: Any = False) -> Tensor:
        """Return the tensor on a GPU, of which there is none here."""
        check_device("cuda" if device is None else device)
        return self

    def float(self: Self) -> Tensor:
        """Return the tensor as float32."""
        return cast(self, dtypes.float32)

    def double(self: Self) -> Tensor:
        """Return the tensor as float64."""
        return cast(self, dtypes.float64)

    def half(self: Self) -> Tensor:
        """Return the tensor as float16."""
        return cast(self, dtypes.float16)

    def bfloat16(self: Self) -> Tensor:
        """Return the tensor as bfloat16."""
        return cast(self, dtypes.bfloat16)

    def long(self: Self) -> Tensor:
        """Return the tensor as int64."""
        return cast(self, dtypes.int64)

    def int(self: Self) -> Tensor:
        """Return the tensor as int32."""
        return cast(self, dtypes.int32)

    def short(self: Self) -> Tensor:
        """Return the tensor as int16."""
        return cast(self, dtypes.int16)

    def char(self: Self) -> Tensor:
        """Return the tensor as int8."""
        return cast(self, dtypes.int8)

    def byte(self: Self) -> Tensor:
        """Return the tensor as uint8."""
        return cast(self, dtypes.uint8)

    def bool(self: Self) -> Tensor:
        """Return whether each element is non-zero."""
        return cast(self, dtypes.bool_)

    def is_floating_point(self) -> Any:
        """Tell whether the dtype is a floating one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> Any:
        """Tell whether the dtype is a complex one."""
        return self.dtype.is_complex

    def is_signed(self) -> Any:
        """Tell whether the dtype holds negative numbers."""
        return self.dtype.is_signed


_TYPE_NAMES = {
    dtypes.bool_: "BoolTensor",
    dtypes.uint8: "ByteTensor",
    dtypes.uint16: "UInt16Tensor",
    dtypes.uint32: "UInt32Tensor",
    dtypes.uint64: "UInt64Tensor",
    dtypes.int8: "CharTensor",
    dtypes.int16: "ShortTensor",
    dtypes.int32: "IntTensor",
    dtypes.int64: "LongTensor",
    dtypes.float16: "HalfTensor",
    dtypes.bfloat16: "BFloat16Tensor",
    dtypes.float32: "FloatTensor",
    dtypes.float64: "DoubleTensor",
    dtypes.complex64: "ComplexFloatTensor",
    dtypes.complex128: "ComplexDoubleTensor",
}


def target_dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DType | None:
    """Return the dtype that arguments of `to` ask for, None if they ask for none."""
    dtype: DType | None = kwargs.get("dtype")
    check_device(kwargs.get("device"))
    for item in args:
        if isinstance(item, DType):
            dtype = item
        elif isinstance(item, TensorBase):
            dtype = item.dtype
        elif isinstance(item, (str, device)) or (
            isinstance(item, int) and not isinstance(item, bool)
        ):
            check_device(item)
        elif item is not None and not isinstance(item, bool):
            raise TypeError(f"to() takes a dtype, a device or a tensor, not {type(item).__name__}")
    return dtype
