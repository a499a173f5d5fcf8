"""Look-ups by index, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smelt.dispatch import apply
from smelt.functions import indexing, joining
from smelt.functions.operands import expect_tensor, op
from smelt.ir.dtypes import Kind
from smelt.ir.errors import ArgumentError, DTypeError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of `weight` that `input` names.

    Args:
        input: indices of any shape.
        weight: [rows, width].
        padding_idx: a row that gets no gradient.
        max_norm: rows that are read and longer than this are shortened in place first.
        norm_type: which norm that is.
        scale_grad_by_freq: not supported.
        sparse: accepted; gradients are dense.

    Raises:
        IndexError: an index is outside [0, rows).
    """
    expect_tensor(input, "embedding", "input")
    expect_tensor(weight, "embedding", "weight")
    if input.dtype.kind is not Kind.INT:
        raise DTypeError(
            f"embedding: expected indices of dtype int64 or int32, but got {input.dtype.torch_name}"
        )
    if scale_grad_by_freq:
        raise ArgumentError("embedding: scale_grad_by_freq is not supported")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ArgumentError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    found = op("embedding")
    index = input if input.dtype.bits == 64 else input.long()
    return apply(found, (weight, index), found.attrs(padding_idx=padding_idx))


def _shorten(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    from smelt.autograd.modes import no_grad

    with no_grad():
        rows = input.reshape(-1)
        chosen = weight[rows]
        lengths = chosen.norm(norm_type, 1, keepdim=True)
        factor = (max_norm / (lengths + 1e-7)).clamp(max=1.0)
        weight[rows] = chosen * factor


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 vectors that are 1 at the index and 0 elsewhere."""
    return indexing.one_hot(tensor, num_classes)


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
            input = input.index_select(dim, _index(positions))
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


def _index(positions: list[int]) -> Tensor:
    from smelt.functions.creation import tensor

    return tensor(positions)
