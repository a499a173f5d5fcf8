"""Rows looked up by index, and indices as vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.autograd.modes import no_grad
from smelt.dispatch import apply
from smelt.functions import indexing
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
    with no_grad():
        rows = input.reshape(-1)
        chosen = weight[rows]
        lengths = chosen.norm(norm_type, 1, keepdim=True)
        factor = (max_norm / (lengths + 1e-7)).clamp(max=1.0)
        weight[rows] = chosen * factor


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 vectors that are 1 at the index and 0 elsewhere."""
    return indexing.one_hot(tensor, num_classes)
