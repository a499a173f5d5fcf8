"""Joining, repeating, reordering and padding: results are copies."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt.base import TensorBase
from smelt.dispatch import apply, cast
from smelt.functions import arithmetic, operands, reductions, views
from smelt.functions.operands import many_dims, one_dim, op
from smelt.ir import dtypes, promotion
from smelt.ir.errors import ArgumentError, TypeInferenceError

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Tensors = Sequence[Any]


def _listed(tensors: Any, function: str) -> list[Tensor]:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{function}(): argument 'tensors' must be tuple of Tensors, "
            f"not {type(tensors).__name__}"
        )
    for position, x in enumerate(tensors):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"{function}(): element {position} of 'tensors' must be Tensor, "
                f"not {type(x).__name__}"
            )
    if not tensors:
        raise ArgumentError(f"{function}: expects a non-empty list of tensors")
    return list(tensors)


def _one_dtype(found: list[Tensor]) -> list[Tensor]:
    dtype = found[0].dtype
    for x in found:
        dtype = promotion.promote(dtype, x.dtype)
    return [cast(x, dtype) for x in found]


def cat(tensors: Tensors, dim: int = 0) -> Tensor:
    """Return tensors one after another along an existing dimension."""
    found = _one_dtype(_listed(tensors, "cat"))
    # An empty vector joins anything, as it did before tensors could be empty in one dimension.
    shaped = [x for x in found if x._sizes != (0,)] or found[:1]
    if not shaped[0]._sizes:
        raise TypeInferenceError("cat: a 0-d tensor cannot be concatenated; use stack()")
    at = one_dim(dim, shaped[0].dim(), "cat")
    joined = op("cat")
    return apply(joined, tuple(shaped), joined.attrs(dim=at))


def stack(tensors: Tensors, dim: int = 0) -> Tensor:
    """Return tensors of one shape side by side along a new dimension."""
    found = _one_dtype(_listed(tensors, "stack"))
    at = one_dim(dim, found[0].dim() + 1, "stack")
    for position, x in enumerate(found):
        if x._sizes != found[0]._sizes:
            raise TypeInferenceError(
                f"stack expects each tensor to be equal size, but got {list(found[0]._sizes)} "
                f"at entry 0 and {list(x._sizes)} at entry {position}"
            )
    joined = op("stack")
    return apply(joined, tuple(found), joined.attrs(dim=at))


def hstack(tensors: Tensors) -> Tensor:
    """Return tensors joined along the second dimension, the first for vectors."""
    found = [views.atleast_1d(x) for x in _listed(tensors, "hstack")]
    return cat(found, 0 if found[0].dim() == 1 else 1)


def vstack(tensors: Tensors) -> Tensor:
    """Return tensors joined as rows."""
    return cat([views.atleast_2d(x) for x in _listed(tensors, "vstack")], 0)


def dstack(tensors: Tensors) -> Tensor:
    """Return tensors joined along the third dimension."""
    return cat([views.atleast_3d(x) for x in _listed(tensors, "dstack")], 2)


def column_stack(tensors: Tensors) -> Tensor:
    """Return tensors joined as columns."""
    found = _listed(tensors, "column_stack")
    return cat([x if x.dim() > 1 else views.reshape(x, (-1, 1)) for x in found], 1)


def repeat(input: Tensor, *counts: Any, repeats: Any = None) -> Tensor:
    """Return a copy that repeats the input along each dimension, new ones first."""
    times = views.sizes_of(counts, repeats)
    lead = len(times) - input.dim()
    if lead < 0:
        raise TypeInferenceError(
            f"repeat: {len(times)} counts are too few for a tensor of shape {list(input._sizes)}"
        )
    sizes = (*[1] * lead, *input._sizes)
    # [a, b] repeated (m, n) times is [m, a, n, b] with strides 0, copied to [m·a, n·b].
    apart: list[int] = []
    spread: list[int] = []
    for count, size in zip(times, sizes, strict=True):
        apart += [1, size]
        spread += [count, size]
    expanded = views.expand(views.reshape(input, apart), spread)
    joined = [count * size for count, size in zip(times, sizes, strict=True)]
    result = views.reshape(expanded, joined)
    return views.clone(result) if result._storage is input._storage else result


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the input repeated along each dimension, the last ones first."""
    counts = tuple(dims)
    return repeat(input, (*[1] * (input.dim() - len(counts)), *counts))


def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Return each position of a dimension repeated in its place, alike or each by its count."""
    if dim is None:
        input, dim = views.reshape(input, -1), 0
    at = one_dim(dim, input.dim(), "repeat_interleave")
    sizes = input._sizes
    if isinstance(repeats, int):
        widened = views.unsqueeze(input, at + 1)
        spread = views.expand(widened, (*sizes[: at + 1], repeats, *sizes[at + 1 :]))
        return views.clone(
            views.reshape(spread, (*sizes[:at], sizes[at] * repeats, *sizes[at + 1 :]))
        )
    import numpy as np
    from smelt.base import wrap

    counts = repeats._concrete("repeat_interleave() gives as many elements as its counts say")
    index = wrap(np.repeat(np.arange(sizes[at], dtype=np.int64), counts))
    selected = op("index_select")
    return apply(selected, (input, index), selected.attrs(dim=at))


def flip(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """Return a copy in reverse order along dims."""
    found = many_dims(views.sizes_of(order, dims), input.dim(), "flip", empty_means_all=False)
    flipped = op("flip")
    return apply(flipped, (input,), flipped.attrs(dims=found))


def fliplr(input: Tensor) -> Tensor:
    """Return a copy with the second dimension reversed."""
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Return a copy with the first dimension reversed."""
    return flip(input, 0)


def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """Return a copy in which elements moved along dims, those at the end to the front."""
    moved = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None or dims == ():
        if len(moved) != 1:
            raise TypeInferenceError("roll: without dims there must be one shift")
        flat = views.reshape(input, -1)
        return views.reshape(roll(flat, moved, [0]), input._sizes)
    along = [dims] if isinstance(dims, int) else list(dims)
    if len(along) != len(moved):
        raise TypeInferenceError(f"roll: {len(moved)} shifts but {len(along)} dims")
    total: dict[int, int] = {}
    for amount, dim in zip(moved, along, strict=True):
        at = one_dim(dim, input.dim(), "roll")
        total[at] = total.get(at, 0) + amount
    order = sorted(d for d in total if input._sizes[d])
    rolled = op("roll")
    attrs = rolled.attrs(
        shifts=tuple([total[d] % input._sizes[d] for d in order]), dims=tuple(order)
    )
    return apply(rolled, (input,), attrs)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Return a copy turned k times by 90 degrees in the plane of two dims."""
    a, b = (one_dim(d, input.dim(), "rot90") for d in dims)
    match k % 4:
        case 0:
            return views.clone(input)
        case 1:
            return views.transpose(flip(input, b), a, b)
        case 2:
            return flip(input, (a, b))
        case _:
            return flip(views.transpose(input, a, b), b)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Return tensors expanded to one shape."""
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = promotion.broadcast(*[x._sizes for x in found], op="broadcast_tensors")
    return tuple([views.expand(x, shape) for x in found])


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the grids of coordinates that vectors span; "xy" swaps the first two dimensions."""
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing must be 'ij' or 'xy', not {indexing!r}")
    vectors = [views.reshape(x, -1) for x in found]
    swap = indexing == "xy" and len(vectors) > 1
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    shape = tuple([x.numel() for x in vectors])
    grids: list[Tensor] = []
    for at, x in enumerate(vectors):
        own = [x.numel() if d == at else 1 for d in range(len(shape))]
        grids.append(views.expand(views.reshape(x, own), shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return a copy with zeros above a diagonal."""
    return _triangle("tril", input, diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return a copy with zeros below a diagonal."""
    return _triangle("triu", input, diagonal)


def _triangle(name: str, input: Tensor, diagonal: int) -> Tensor:
    if input.dim() < 2:
        raise TypeInferenceError(
            f"{name}: input tensor must have at least 2 dimensions, but has shape "
            f"{list(input._sizes)}"
        )
    found = op(name)
    return apply(found, (input,), found.attrs(diagonal=diagonal))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on a diagonal, or the diagonal of a matrix."""
    if input.dim() == 2:
        return views.clone(views.diagonal(input, diagonal))
    if input.dim() != 1:
        raise TypeInferenceError(
            f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D, shape {list(input._sizes)}"
        )
    return diag_embed(input, diagonal)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return matrices with the last dimension of the input on a diagonal."""
    rank = input.dim() + 1
    a, b = one_dim(dim1, rank, "diag_embed"), one_dim(dim2, rank, "diag_embed")
    size = input._sizes[-1] + builtins.abs(offset)
    zeros = reductions.apply_full(0, (*input._sizes[:-1], size, size), input.dtype)
    scattered = op("diagonal_scatter")
    result = apply(
        scattered,
        (zeros, input),
        scattered.attrs(offset=offset, dim1=rank - 2, dim2=rank - 1),
    )
    return views.movedim(result, (-2, -1), (a, b))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with the elements of the input on a diagonal."""
    return diag(views.reshape(input, -1), offset)


def trace(input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix."""
    return reductions.sum(views.diagonal(input))


def pad_constant(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """Return the input with constants around it, or without its edges where pad is negative.

    Args:
        input: the tensor.
        pad: before and after the last dimension, then of the one before it, and so on.
        value: the constant.
    """
    amounts = [int(n) for n in pad]
    if len(amounts) % 2 or len(amounts) // 2 > input.dim():
        raise ArgumentError(
            f"pad: {len(amounts)} amounts do not fit a tensor of shape {list(input._sizes)}: "
            "there must be two a dimension, the last dimension first"
        )
    low, high = [0] * input.dim(), [0] * input.dim()
    for k in range(len(amounts) // 2):
        low[-1 - k], high[-1 - k] = amounts[2 * k], amounts[2 * k + 1]
    for d in range(input.dim()):
        size = input._sizes[d]
        if low[d] < 0 or high[d] < 0:
            start, stop = builtins.max(-low[d], 0), size - builtins.max(-high[d], 0)
            if start > stop:
                raise TypeInferenceError(
                    f"pad: {low[d]} and {high[d]} leave nothing of dimension {d} of size {size}"
                )
            input = views.sliced(input, d, start, stop)
    low, high = [builtins.max(n, 0) for n in low], [builtins.max(n, 0) for n in high]
    number = operands.as_number(value)
    if input.dtype.is_integer:
        number = int(number)  # type: ignore[arg-type]
    elif input.dtype.is_floating_point:
        number = float(number)  # type: ignore[arg-type]
    elif input.dtype is dtypes.bool_:
        number = bool(number)
    padded = op("pad")
    return apply(padded, (input,), padded.attrs(low=tuple(low), high=tuple(high), value=number))


def cartesian_prod(*tensors: Any) -> Tensor:
    """Return all tuples of elements of vectors, one a row."""
    columns = [views.reshape(g, -1) for g in meshgrid(*tensors)]
    return stack(columns, 1) if len(columns) > 1 else columns[0]


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product."""
    rank = builtins.max(input.dim(), other.dim())
    a = views.reshape(input, (*[1] * (rank - input.dim()), *input._sizes))
    b = views.reshape(other, (*[1] * (rank - other.dim()), *other._sizes))
    left: list[int] = []
    right: list[int] = []
    for m, n in zip(a._sizes, b._sizes, strict=True):
        left += [m, 1]
        right += [1, n]
    product = arithmetic.mul(views.reshape(a, left), views.reshape(b, right))
    return views.reshape(product, [m * n for m, n in zip(a._sizes, b._sizes, strict=True)])
