"""Dropout: elements or channels zeroed at random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from smelt.functions import draws
from smelt.functions.inplace import source, stored

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def _check(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability p and scale the others by 1 / (1 - p)."""
    _check(p)
    if not training or p == 0.0:
        return input
    return stored(input, draws.dropout_draw(source(input, inplace), p), inplace)


def _channels(
    input: Tensor, p: float, training: bool, inplace: bool, function: str, ranks: tuple[int, ...]
) -> Tensor:
    _check(p)
    if input.dim() not in ranks:
        raise RuntimeError(
            f"{function}: expected an input of {' or '.join(map(str, ranks))} dimensions, but got "
            f"shape {list(input.shape)}"
        )
    if not training or p == 0.0:
        return input
    batched = input.dim() == ranks[-1]
    kept = input.shape[: 2 if batched else 1]
    ones = input.detach().new_ones((*kept, *[1] * (input.dim() - len(kept))))
    return stored(input, source(input, inplace) * draws.dropout_draw(ones, p), inplace)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of [N, C, L] or [C, L]."""
    return _channels(input, p, training, inplace, "dropout1d", (2, 3))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of [N, C, H, W] or [C, H, W]."""
    return _channels(input, p, training, inplace, "dropout2d", (3, 4))


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of [N, C, D, H, W] or [C, D, H, W]."""
    return _channels(input, p, training, inplace, "dropout3d", (4, 5))


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Replace elements with probability p by the least value of selu, keeping mean and variance."""
    _check(p)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return stored(input, source(input, inplace) * 0.0, inplace)
    lowest = -1.7580993408473766
    scale = 1 / math.sqrt((1 - p) * (1 + p * lowest**2))
    kept = draws.dropout_draw(input.detach().new_ones(input.shape), p) * (1 - p)
    shifted = source(input, inplace) * kept + (1 - kept) * lowest
    return stored(input, shifted * scale - scale * lowest * p, inplace)
