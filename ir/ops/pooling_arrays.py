"""Pooling on arrays: one pass over the whole image for each offset in the kernel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from smelt.ir import dtypes

Array = Any
Ints = tuple[int, ...]


def _work(x: Array) -> Array:
    return x.astype(dtypes.of_numpy(x.dtype).accumulator.numpy, copy=False)


def _reach(out: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how many elements of a padded dimension the windows reach over."""
    return (out - 1) * stride + dilation * (kernel - 1) + 1


def _padded_shape(x: Ints, out: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints):
    spatial = zip(x, out, kernel, stride, padding, dilation)
    return tuple(max(n + 2 * p, _reach(o, k, s, d)) for n, o, k, s, p, d in spatial)


def _inner(padding: Ints, extents: Ints) -> tuple[Any, ...]:
    return (..., *(slice(p, p + n) for p, n in zip(padding, extents)))


def _pad(xp: Any, x: Array, padding: Ints, shape: Ints, value: float) -> Array:
    if shape == x.shape[2:]:
        return x
    padded = xp.full((*x.shape[:2], *shape), value, x.dtype)
    padded[_inner(padding, x.shape[2:])] = x
    return padded


def _slices(at: Ints, out: Ints, stride: Ints, dilation: Ints) -> tuple[Any, ...]:
    starts = [k * d for k, d in zip(at, dilation)]
    return (
        ...,
        *(slice(b, b + s * (n - 1) + 1, s) for b, n, s in zip(starts, out, stride)),
    )


def max_array(
    xp: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, out: Ints, x: Array
) -> tuple[Array, Array]:
    """Return the maxima of the windows of x, and their numbers in the spatial plane of x."""
    spatial = x.shape[2:]
    shape = _padded_shape(spatial, out, kernel, stride, padding, dilation)
    padded = _pad(xp, x, padding, shape, -np.inf)
    offsets = list(itertools.product(*map(range, kernel)))
    parts = [padded[_slices(at, out, stride, dilation)] for at in offsets]
    best = xp.array(parts[0], order="C")
    for part in parts[1:]:
        xp.maximum(best, part, out=best)
    # The first that equals the maximum, the elements of x before the padding around it.
    chosen = xp.zeros(best.shape, xp.int32)
    nan = xp.isnan(best)
    nan = nan if nan.any() else None
    inside = _inside_parts(xp, spatial, out, stride, padding, dilation, offsets, padded is x)
    for number in range(len(offsets) - 1, -1, -1):
        hit = parts[number] == best
        if nan is not None:
            hit |= xp.isnan(parts[number])
        if inside is not None:
            hit &= inside[number]
        xp.copyto(chosen, number, where=hit)
    table, base = _numbers(xp, spatial, out, stride, padding, dilation, offsets)
    indices = table[chosen]
    indices += base
    return best, indices


def _positions(
    xp: Any, out: Ints, stride: Ints, padding: Ints, dilation: Ints, at: Ints
) -> list[Array]:
    """Return the positions in x of the windows' elements at an offset, one array a dimension."""
    return [
        xp.arange(n) * s + (k * d - p) for n, s, p, k, d in zip(out, stride, padding, at, dilation)
    ]


def _inside_parts(
    xp: Any,
    spatial: Ints,
    out: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    offsets: list[Ints],
    unpadded: bool,
) -> list[Array] | None:
    """Return for each offset which windows meet x there; None if all do."""
    if unpadded:
        return None
    found: list[Array] = []
    for at in offsets:
        positions = _positions(xp, out, stride, padding, dilation, at)
        within = xp.ones((), bool)
        for p, n in zip(positions, spatial):
            within = within[..., None] & ((p >= 0) & (p < n))
        found.append(within)
    return found


def _numbers(
    xp: Any,
    spatial: Ints,
    out: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    offsets: list[Ints],
) -> tuple[Array, Array]:
    """Return what each offset adds to the number of a window's first element, and the latter."""
    base = xp.zeros((), xp.int64)
    for p, n in zip(_positions(xp, out, stride, padding, dilation, (0,) * len(out)), spatial):
        base = base[..., None] * n + p
    table: list[int] = []
    for at in offsets:
        number = 0
        for k, d, n in zip(at, dilation, spatial):
            number = number * n + k * d
        table.append(number)
    return xp.asarray(table, dtype=xp.int64), base


def max_grad_array(xp: Any, spatial: Any, apart: bool, g: Array, indices: Array) -> Array:
    """Return g added up at the given numbers of the spatial plane.

    `apart` says that no number occurs twice in a plane.
    """
    lead = g.shape[0] * g.shape[1]
    plane = int(np.prod(spatial))
    flat = indices.reshape(lead, int(np.prod(g.shape[2:]))) + (xp.arange(lead) * plane)[:, None]
    if apart:
        out = xp.zeros(lead * plane, g.dtype)
        out[flat.reshape(-1)] = g.reshape(-1)
    else:
        sums = xp.bincount(flat.reshape(-1), _work(g).reshape(-1), minlength=lead * plane)
        out = sums.astype(g.dtype)
    return out.reshape(*g.shape[:2], *spatial)


def _counts(xp: Any, attrs: Any, out: Ints, spatial: Ints, dtype: Any) -> Array:
    """Return by how much each window is divided."""
    if attrs.divisor is not None:
        return xp.asarray(attrs.divisor, dtype)
    total = xp.ones((), dtype)
    for k, (count, extent) in enumerate(zip(out, spatial)):
        start = xp.arange(count) * attrs.stride[k] - attrs.padding[k]
        room = extent + attrs.padding[k] if attrs.count_include_pad else extent
        stop = xp.minimum(start + attrs.kernel[k], room)
        first = start if attrs.count_include_pad else xp.maximum(start, 0)
        total = total[..., None] * (stop - first).astype(dtype)
    return total


def average_array(xp: Any, attrs: Any, out: Ints, x: Array) -> Array:
    """Return the means of the windows of x."""
    dtype, spatial, ones = x.dtype, x.shape[2:], (1,) * len(out)
    x = _work(x)
    shape = _padded_shape(spatial, out, attrs.kernel, attrs.stride, attrs.padding, ones)
    padded = _pad(xp, x, attrs.padding, shape, 0.0)
    total = xp.zeros((*x.shape[:2], *out), x.dtype)
    for at in itertools.product(*map(range, attrs.kernel)):
        total += padded[_slices(at, out, attrs.stride, ones)]
    total /= _counts(xp, attrs, out, spatial, x.dtype)
    return total.astype(dtype, copy=False)


def average_grad_array(xp: Any, attrs: Any, spatial: Any, g: Array) -> Array:
    """Return the cotangent of x whose windows' means have the cotangent g."""
    dtype, out = g.dtype, g.shape[2:]
    ones = (1,) * len(out)
    g = _work(g)
    part = g / _counts(xp, attrs, out, spatial, g.dtype)
    shape = _padded_shape(spatial, out, attrs.kernel, attrs.stride, attrs.padding, ones)
    total = xp.zeros((*g.shape[:2], *shape), g.dtype)
    for at in itertools.product(*map(range, attrs.kernel)):
        total[_slices(at, out, attrs.stride, ones)] += part
    result = xp.ascontiguousarray(total[_inner(attrs.padding, spatial)])
    return result.astype(dtype, copy=False)
