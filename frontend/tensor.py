"""The tensor that people use."""

from __future__ import annotations

from smelt import base
from smelt.surface.methods import Methods


class Tensor(Methods):
    """A multi-dimensional array with true views, in-place operations and gradients."""


base.complete(Tensor)
