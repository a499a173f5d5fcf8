"""Padding layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from smelt.nn import functional as F
from smelt.nn.module import Module
from smelt.tensor import Tensor


class _Pad(Module):
    rank: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sides = 2 * self.rank
        self.padding = (padding,) * sides if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != sides:
            raise ValueError(f"{self._get_name()} takes an int or {sides} of them")
        self.value = 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with a border."""
        if self.mode == "constant":
            return F.pad(input, self.padding, value=self.value)
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """Return the amounts."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Return the amounts and the constant."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A constant around the last dimension."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """A constant around the last 2 dimensions."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """A constant around the last 3 dimensions."""

    rank = 3


class ZeroPad1d(_Pad):
    """Zeros around the last dimension."""

    rank = 1
    mode = "constant"


class ZeroPad2d(_Pad):
    """Zeros around the last 2 dimensions."""

    rank = 2
    mode = "constant"


class ZeroPad3d(_Pad):
    """Zeros around the last 3 dimensions."""

    rank = 3
    mode = "constant"


class ReflectionPad1d(_Pad):
    """Reflections around the last dimension."""

    rank = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """Reflections around the last 2 dimensions."""

    rank = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """Reflections around the last 3 dimensions."""

    rank = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Copies of the edge around the last dimension."""

    rank = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """Copies of the edge around the last 2 dimensions."""

    rank = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """Copies of the edge around the last 3 dimensions."""

    rank = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """The other end around the last dimension."""

    rank = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """The other end around the last 2 dimensions."""

    rank = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """The other end around the last 3 dimensions."""

    rank = 3
    mode = "circular"
