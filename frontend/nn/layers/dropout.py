"""Dropout layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from smelt.nn import functional as F
from smelt.nn.module import Module
from smelt.tensor import Tensor


class _Dropout(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Drop out in training; else return the input."""
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zeros elements at random, and scales the others by 1 / (1 - p)."""

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Zeros whole channels of [N, C, L] at random."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Zeros whole channels of [N, C, H, W] at random."""

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Zeros whole channels of [N, C, D, H, W] at random."""

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Drops out to the least value of SELU, keeping mean and variance."""

    function = staticmethod(F.alpha_dropout)
