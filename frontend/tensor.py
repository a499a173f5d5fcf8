"""The tensor that people use."""

from __future__ import annotations

from typing import Any

from smelt import base
from smelt.attributes import Attributes
from smelt.conversion import Conversions
from smelt.functions import comparison
from smelt.surface.methods import Methods


class Tensor(Attributes, Conversions, Methods):
    """A multi-dimensional array with true views, in-place operations and gradients.

    `Tensor(data)` copies nested sequences as the default dtype, `Tensor(2, 3)` makes an empty
    tensor of that shape; `tensor(data)` is the better way to make one.
    """

    def __new__(cls, *args: Any) -> Tensor:
        """Make a tensor of the default dtype from data or sizes."""
        from smelt.constructors import default_tensor

        made = default_tensor(args)
        if cls is Tensor:
            return made
        fresh = object.__new__(cls)
        fresh.__dict__.update(made.__dict__)
        return fresh

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """Return this tensor where the condition holds, else other."""
        found = comparison.where(condition, self, other)
        assert not isinstance(found, tuple)
        return found


base.complete(Tensor)
