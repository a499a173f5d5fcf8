"""Sorting, selecting by order, searching; and functions whose result shape depends on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.base import TensorBase, wrap
from smelt.dispatch import apply, cast
from smelt.functions import operands, reductions, views
from smelt.functions.operands import one_dim, op
from smelt.functions.reductions import ValuesIndices
from smelt.ir import dtypes
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesIndices:
    """Return the elements in order along dim, and where they stood; NaN is the greatest."""
    at = one_dim(dim, input.dim(), "sort")
    if input.dim() == 0:
        return ValuesIndices(views.clone(input), reductions.apply_full(0, (), dtypes.int64))
    found = op("sort")
    return ValuesIndices(*apply(found, (input,), found.attrs(dim=at, descending=descending)))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Return the indices that sort the input along dim."""
    return sort(input, dim, descending, stable).indices


def msort(input: Tensor) -> Tensor:
    """Return the elements in order along the first dimension."""
    return sort(input, 0).values


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """Return the k greatest (or least) elements along dim in order, and where they stood."""
    at = one_dim(dim, input.dim(), "topk")
    size = input._sizes[at] if input.dim() else 1
    if not 0 <= k <= size:
        raise TypeInferenceError(
            f"topk: selected index k out of range: k is {k}, dimension {dim} has size {size}"
        )
    if input.dim() == 0:
        return sort(input)
    found = op("topk")
    values, indices = apply(found, (input,), found.attrs(k=k, dim=at, largest=largest))
    return ValuesIndices(values, indices, "topk")


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """Return the k-th least element along dim (k from 1), and where it stood."""
    at = one_dim(dim, input.dim(), "kthvalue")
    size = input._sizes[at] if input.dim() else 1
    if not 1 <= k <= size:
        raise TypeInferenceError(
            f"kthvalue(): selected number k out of range for dimension {dim}: {k} of {size}"
        )
    values, indices = sort(input, dim)
    return _picked(values, indices, at, k - 1, keepdim, "kthvalue")


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, the lower of two; with dim, also where it stood. NaN wins."""
    if dim is None:
        if not input.numel():
            return reductions.apply_full(float("nan"), (), input.dtype)
        return median(views.reshape(input, -1), 0).values
    at = one_dim(dim, input.dim(), "median")
    reductions.expect_elements(input, at, "median")
    if input.dim() == 0:
        return sort(input)
    values, indices = sort(input, at)
    middle = _picked(values, indices, at, (input._sizes[at] - 1) // 2, keepdim, "median")
    if not input.dtype.is_floating_point:
        return middle
    # NaN sorts last, so that a row has one exactly if its last element is one.
    last = _picked(values, indices, at, input._sizes[at] - 1, keepdim, "median")
    missing = last.values.isnan()
    return ValuesIndices(
        middle.values.where(~missing, last.values),
        middle.indices.where(~missing, last.indices),
        "median",
    )


def _picked(
    values: Tensor, indices: Tensor, dim: int, position: int, keepdim: bool, function: str
) -> ValuesIndices:
    if values.dim() == 0:
        return ValuesIndices(values, indices, function)
    parts = [views.sliced(x, dim, position, position + 1) for x in (values, indices)]
    found = parts if keepdim else [views.squeeze(x, dim) for x in parts]
    return ValuesIndices(found[0], found[1], function)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the indices of the non-zero elements, one row each, or one tensor a dimension.

    The number of rows depends on data, so that this is refused while tracing.
    """
    array = input._concrete("nonzero() gives as many rows as there are non-zero elements")
    found = np.nonzero(np.atleast_1d(array))
    if as_tuple:
        return tuple([wrap(part.astype(np.int64)) for part in found])
    rows = np.stack(found, axis=1).astype(np.int64)
    return wrap(rows if input.dim() else rows[:, :0])


def argwhere(input: Tensor) -> Tensor:
    """Return the indices of the non-zero elements, one row each."""
    return nonzero(input)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in order; how many there are depends on data."""
    array = input._concrete("unique() gives as many elements as there are distinct ones")
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    results = [wrap(np.ascontiguousarray(values), input.dtype)]
    if return_inverse:
        shape = array.shape if dim is None else (array.shape[dim],)
        results.append(wrap(inverse.astype(np.int64).reshape(shape)))
    if return_counts:
        results.append(wrap(counts.astype(np.int64)))
    return results[0] if len(results) == 1 else tuple(results)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each value of a 1-D tensor of non-negative integers occurs."""
    if input.dim() != 1 or not input.dtype.is_integer:
        raise TypeInferenceError(
            "bincount: needs a 1-D tensor of non-negative integers, but has "
            f"{input.dtype.torch_name} of shape {list(input._sizes)}"
        )
    array = input._concrete("bincount() gives as many elements as the greatest value says")
    if array.size and int(array.min()) < 0:
        raise ArgumentError(f"bincount: the input has the negative element {int(array.min())}")
    size = max(int(array.max()) + 1 if array.size else 0, minlength)
    dtype = dtypes.int64
    if weights is not None:
        dtype = dtypes.float32 if weights.dtype is dtypes.float32 else dtypes.float64
    source = (
        reductions.apply_full(1, tuple(input._sizes), dtype)
        if weights is None
        else cast(weights, dtype)
    )
    found = op("scatter_add")
    start = reductions.apply_full(0, (size,), dtype)
    return apply(found, (start, cast(input, dtypes.int64), source), found.attrs(dim=0))


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    right: bool = False,
    side: str | None = None,
) -> Tensor:
    """Return where in each sorted row elements would have to be put in to keep it sorted."""
    if side is not None and side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side must be 'left' or 'right', not {side!r}")
    right = right or side == "right"
    x = input if isinstance(input, TensorBase) else operands.to_tensor(input, sorted_sequence.dtype)
    dtype = operands.result_dtype(sorted_sequence, x)
    rows, values = cast(sorted_sequence, dtype), cast(x, dtype)  # type: ignore[arg-type]
    if rows.dim() == 1:
        rows = views.reshape(rows, (*[1] * values.dim(), rows._sizes[0]))
    else:
        rows = views.unsqueeze(rows, -2)
    below = op("le" if right else "lt")
    pairs = operands.spread("searchsorted", rows, views.unsqueeze(values, -1))
    return reductions.sum(apply(below, pairs), -1)


def bucketize(input: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """Return the bucket, between boundaries, that each element falls into."""
    return searchsorted(boundaries, input, right=right)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where the mask holds, in one dimension."""
    from smelt.functions.indexing import index_by

    if mask.dtype is not dtypes.bool_:
        raise DTypeError(f"masked_select: expected bool for mask, not {mask.dtype.torch_name}")
    x, m = operands.spread("masked_select", input, mask)
    return index_by(x, nonzero(m, as_tuple=True))


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Return whether each element occurs among the test elements."""
    dtype = operands.result_dtype(elements, test_elements)
    x, among = operands.to_tensor(elements, dtype), operands.to_tensor(test_elements, dtype)
    pairs = operands.spread("isin", views.unsqueeze(x, -1), views.reshape(among, -1))
    found = reductions.any(apply("eq", pairs), -1)
    return apply("bitwise_not", (found,)) if invert else found


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Return how many elements fall into each of `bins` equal intervals of [min, max]."""
    array = input._concrete("histc() looks for the range of its input")
    low, high = float(min), float(max)
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = np.histogram(array.astype(np.float64), bins=bins, range=(low, high))
    return wrap(counts.astype(input.dtype.numpy), input.dtype)
