"""Constructors that name a dtype, as code from before `tensor(…, dtype=…)` uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.base import TensorBase
from smelt.functions import creation
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.state import settings

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def build(args: tuple[Any, ...], dtype: DType, name: str) -> Tensor:
    """Return `name(*args)`: of sizes, of a size, of data, or empty.

    Raises:
        TypeError: a tensor of another dtype, or arguments of another kind.
    """
    if not args:
        return creation.empty(0, dtype=dtype)
    if all(isinstance(n, int) and not isinstance(n, bool) for n in args):
        return creation.empty(*args, dtype=dtype)
    if len(args) != 1:
        raise TypeError(f"{name}() takes sizes or one sequence, not {len(args)} arguments")
    data = args[0]
    if isinstance(data, TensorBase):
        if data.dtype is not dtype:
            raise TypeError(
                f"expected {name} (got {data.dtype.torch_name}): use .to(dtype) to convert"
            )
        return data.detach()  # type: ignore[attr-defined]
    if isinstance(data, tuple) and type(data) is not tuple:  # a Size, or another named shape
        return creation.empty(data, dtype=dtype)
    if not isinstance(data, (list, tuple, np.ndarray)):
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return creation.tensor(data, dtype=dtype)


class TypedConstructor:
    """Makes tensors of one dtype; `isinstance(x, FloatTensor)` asks for the dtype."""

    def __init__(self, name: str, dtype: DType) -> None:
        self.__name__ = name
        self.dtype = dtype

    def __call__(self, *args: Any) -> Tensor:
        return build(args, self.dtype, self.__name__)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, TensorBase) and instance.dtype is self.dtype

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


BFloat16Tensor = TypedConstructor("BFloat16Tensor", dtypes.bfloat16)
BoolTensor = TypedConstructor("BoolTensor", dtypes.bool_)
ByteTensor = TypedConstructor("ByteTensor", dtypes.uint8)
CharTensor = TypedConstructor("CharTensor", dtypes.int8)
DoubleTensor = TypedConstructor("DoubleTensor", dtypes.float64)
FloatTensor = TypedConstructor("FloatTensor", dtypes.float32)
HalfTensor = TypedConstructor("HalfTensor", dtypes.float16)
IntTensor = TypedConstructor("IntTensor", dtypes.int32)
LongTensor = TypedConstructor("LongTensor", dtypes.int64)
ShortTensor = TypedConstructor("ShortTensor", dtypes.int16)


def default_tensor(args: tuple[Any, ...]) -> Tensor:
    """Return `Tensor(*args)`, of the default dtype."""
    return build(args, settings.default_dtype, "Tensor")
