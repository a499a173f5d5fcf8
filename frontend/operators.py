"""What Python's own syntax means on tensors: operators, indexing, iteration, conversion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.base import TensorBase
from smelt.functions import arithmetic, comparison, contraction, indexing, inplace, operands, views
from smelt.functions.creation import from_numpy
from smelt.ir import dtypes

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Self = Any


def _operand(x: object) -> bool:
    return isinstance(x, (TensorBase, np.ndarray)) or operands.is_number(x)


def _tensor(x: object) -> bool:
    return isinstance(x, TensorBase)


def _met(x: Any) -> Any:
    """Return an operand as functions take it: an array becomes a tensor that shares its memory."""
    return from_numpy(x) if isinstance(x, np.ndarray) else x


class Operators(TensorBase):
    """Operators of tensors; an operand that is neither tensor nor number is left to its class."""

    __array_priority__ = 1000  # so that `ndarray + tensor` is the tensor's affair
    __hash__ = object.__hash__

    def __add__(self: Self, other: Any) -> Tensor:
        return arithmetic.add(self, _met(other)) if _operand(other) else NotImplemented

    def __radd__(self: Self, other: Any) -> Tensor:
        return arithmetic.add(self, _met(other)) if _operand(other) else NotImplemented

    def __sub__(self: Self, other: Any) -> Tensor:
        return arithmetic.sub(self, _met(other)) if _operand(other) else NotImplemented

    def __rsub__(self: Self, other: Any) -> Tensor:
        return arithmetic.sub(other, self) if _operand(other) else NotImplemented

    def __mul__(self: Self, other: Any) -> Tensor:
        return arithmetic.mul(self, _met(other)) if _operand(other) else NotImplemented

    def __rmul__(self: Self, other: Any) -> Tensor:
        return arithmetic.mul(self, _met(other)) if _operand(other) else NotImplemented

    def __truediv__(self: Self, other: Any) -> Tensor:
        return arithmetic.div(self, _met(other)) if _operand(other) else NotImplemented

    def __rtruediv__(self: Self, other: Any) -> Tensor:
        return arithmetic.div(other, self) if _operand(other) else NotImplemented

    def __floordiv__(self: Self, other: Any) -> Tensor:
        return arithmetic.floor_divide(self, _met(other)) if _operand(other) else NotImplemented

    def __rfloordiv__(self: Self, other: Any) -> Tensor:
        return arithmetic.floor_divide(other, self) if _operand(other) else NotImplemented

    def __mod__(self: Self, other: Any) -> Tensor:
        return arithmetic.remainder(self, _met(other)) if _operand(other) else NotImplemented

    def __rmod__(self: Self, other: Any) -> Tensor:
        return arithmetic.remainder(other, self) if _operand(other) else NotImplemented

    def __pow__(self: Self, other: Any) -> Tensor:
        return arithmetic.pow(self, _met(other)) if _operand(other) else NotImplemented

    def __rpow__(self: Self, other: Any) -> Tensor:
        return arithmetic.pow(other, self) if _operand(other) else NotImplemented

    def __matmul__(self: Self, other: Any) -> Tensor:
        factor = _met(other)
        return contraction.matmul(self, factor) if _tensor(factor) else NotImplemented

    def __neg__(self: Self) -> Tensor:
        return arithmetic.neg(self)

    def __pos__(self: Self) -> Tensor:
        return arithmetic.positive(self)

    def __abs__(self: Self) -> Tensor:
        return arithmetic.abs(self)

    def __invert__(self: Self) -> Tensor:
        return comparison.bitwise_not(self)

    def __and__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_and(self, _met(other)) if _operand(other) else NotImplemented

    def __rand__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_and(self, _met(other)) if _operand(other) else NotImplemented

    def __or__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_or(self, _met(other)) if _operand(other) else NotImplemented

    def __ror__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_or(self, _met(other)) if _operand(other) else NotImplemented

    def __xor__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_xor(self, _met(other)) if _operand(other) else NotImplemented

    def __rxor__(self: Self, other: Any) -> Tensor:
        return comparison.bitwise_xor(self, _met(other)) if _operand(other) else NotImplemented

    def __lshift__(self: Self, other: Any) -> Tensor:
        return (
            comparison.bitwise_left_shift(self, _met(other)) if _operand(other) else NotImplemented
        )

    def __rshift__(self: Self, other: Any) -> Tensor:
        return (
            comparison.bitwise_right_shift(self, _met(other)) if _operand(other) else NotImplemented
        )

    def __eq__(self: Self, other: Any) -> Tensor:  # type: ignore[override]
        return comparison.eq(self, _met(other)) if _operand(other) else NotImplemented

    def __ne__(self: Self, other: Any) -> Tensor:  # type: ignore[override]
        return comparison.ne(self, _met(other)) if _operand(other) else NotImplemented

    def __lt__(self: Self, other: Any) -> Tensor:
        return comparison.lt(self, _met(other)) if _operand(other) else NotImplemented

    def __le__(self: Self, other: Any) -> Tensor:
        return comparison.le(self, _met(other)) if _operand(other) else NotImplemented

    def __gt__(self: Self, other: Any) -> Tensor:
        return comparison.gt(self, _met(other)) if _operand(other) else NotImplemented

    def __ge__(self: Self, other: Any) -> Tensor:
        return comparison.ge(self, _met(other)) if _operand(other) else NotImplemented

    def __iadd__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.add, self, other)

    def __isub__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.sub, self, other)

    def __imul__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.mul, self, other)

    def __itruediv__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.div, self, other)

    def __ifloordiv__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.floor_divide, self, other)

    def __imod__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.remainder, self, other)

    def __ipow__(self: Self, other: Any) -> Tensor:
        return _stored(arithmetic.pow, self, other)

    def __iand__(self: Self, other: Any) -> Tensor:
        return _stored(comparison.bitwise_and, self, other)

    def __ior__(self: Self, other: Any) -> Tensor:
        return _stored(comparison.bitwise_or, self, other)

    def __ixor__(self: Self, other: Any) -> Tensor:
        return _stored(comparison.bitwise_xor, self, other)

    def __getitem__(self: Self, index: Any) -> Tensor:
        return indexing.get(self, index)

    def __setitem__(self: Self, index: Any, value: Any) -> None:
        indexing.put(self, index, value)

    def __len__(self) -> int:
        if not self._sizes:
            raise TypeError("len() of a 0-d tensor")
        return self._sizes[0]

    def __iter__(self: Self) -> Iterator[Tensor]:
        if not self._sizes:
            raise TypeError("iteration over a 0-d tensor")
        return iter(views.unbind(self, 0))

    def __contains__(self: Self, element: Any) -> bool:
        if not _operand(element):
            raise RuntimeError(
                f"a tensor contains numbers or tensors, not {type(element).__name__}"
            )
        return bool(comparison.eq(self, element).any())

    def __bool__(self) -> bool:
        return bool(self._single("bool() decides a branch of Python by it"))

    def __int__(self) -> int:
        return int(self._single("int() makes a Python number of it"))

    def __float__(self) -> float:
        return float(self._single("float() makes a Python number of it"))

    def __complex__(self) -> complex:
        return complex(self._single("complex() makes a Python number of it"))

    def __index__(self) -> int:
        if not self.dtype.is_integer and self.dtype is not dtypes.bool_:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._single("it is used as an index of Python"))

    def __format__(self, spec: str) -> str:
        if not self._sizes and spec:
            return format(self._single("format() prints it"), spec)
        return object.__format__(self, spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self._concrete("NumPy asks for its elements")
        if copy is False:
            found = np.asarray(array, dtype)
        else:
            found = np.array(array, dtype, copy=copy is True or None)
        if np.may_share_memory(found, array):
            self._storage.shared = True
        return found

    def _single(self, reason: str) -> Any:
        """Return the only element as a Python number."""
        if any(n != 1 for n in self._sizes):
            what = "no values" if 0 in self._sizes else "more than one value"
            raise RuntimeError(
                f"Boolean value of Tensor with {what} is ambiguous"
                if reason.startswith("bool")
                else f"a Tensor with {self._count()} elements cannot be converted to Scalar"
            )
        return self._concrete(reason).item()

    def _count(self) -> int:
        total = 1
        for n in self._sizes:
            total *= n
        return total


def _stored(function: Any, target: Any, other: Any) -> Any:
    if not _operand(other):
        return NotImplemented
    other = _met(other)
    return inplace.store(target, function(inplace.operand(target, other), other))
