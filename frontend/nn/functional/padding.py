"""Borders: constant, reflected, repeated, from the other side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smelt.functions import joining
from smelt.functions.creation import tensor
from smelt.ir.errors import ArgumentError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Return the input with a border.

    Args:
        input: the tensor.
        pad: before and after the last dimension, then of the one before it, and so on; negative
            amounts cut off.
        mode: "constant", "reflect", "replicate" or "circular".
        value: the constant; 0 if None.
    """
    if mode == "constant":
        return joining.pad_constant(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise ArgumentError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise ArgumentError(f"pad: unknown mode {mode!r}")
    if len(pad) % 2 or len(pad) // 2 > input.dim():
        raise ArgumentError(f"pad: {len(pad)} amounts do not fit shape {list(input.shape)}")
    for k in range(len(pad) // 2):
        dim = input.dim() - 1 - k
        before, after = int(pad[2 * k]), int(pad[2 * k + 1])
        if before or after:
            positions = _border(input.shape[dim], before, after, mode)
            input = input.index_select(dim, tensor(positions))
    return input


def _border(extent: int, before: int, after: int, mode: str) -> list[int]:
    limit = {"reflect": extent - 1, "circular": extent}.get(mode)
    if limit is not None and max(before, after) > limit:
        raise RuntimeError(
            f"{mode} padding of ({before}, {after}) is too large for a dimension of size {extent}"
        )
    positions: list[int] = []
    for place in range(-before, extent + after):
        if mode == "replicate":
            place = min(max(place, 0), extent - 1)
        elif mode == "circular":
            place %= extent
        elif place < 0:
            place = -place
        elif place >= extent:
            place = 2 * (extent - 1) - place
        positions.append(place)
    return positions
