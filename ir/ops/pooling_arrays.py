"""Pooling on arrays: one pass over the whole image for each offset in the kernel."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.ops.sliding import Ints, Window

Array = Any


def _work(x: Array) -> Array:
    return x.astype(dtypes.of_numpy(x.dtype).accumulator.numpy, copy=False)


def _padded_shape(spatial: Ints, out: Ints, kernel: Ints, window: Window) -> Ints:
    """Return the spatial shape of x with padding, and what the last windows reach beyond."""
    extents: list[int] = []
    for k, (extent, count) in enumerate(zip(spatial, out)):
        stride, padding, dilation = window.at(k)
        reach = (count - 1) * stride + dilation * (kernel[k] - 1) + 1
        extents.append(max(extent + 2 * padding, reach))
    return tuple(extents)


def _inner(padding: Ints, extents: Ints) -> tuple[Any, ...]:
    return (..., *(slice(p, p + n) for p, n in zip(padding, extents)))


def _pad(xp: Any, x: Array, padding: Ints, shape: Ints, value: float) -> Array:
    if shape == x.shape[2:]:
        return x
    padded = xp.full((*x.shape[:2], *shape), value, x.dtype)
    padded[_inner(padding, x.shape[2:])] = x
    return padded


def _slices(at: Ints, out: Ints, window: Window) -> tuple[Any, ...]:
    """Return what selects, of a padded x, the elements at an offset of all windows."""
    found: list[Any] = [...]
    for offset, count, stride, dilation in zip(at, out, window.stride, window.dilation):
        start = offset * dilation
        found.append(slice(start, start + stride * (count - 1) + 1, stride))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Averaging:
    """How a mean is taken: the window, whether padding counts, and what replaces its size."""

    kernel: Ints
    window: Window
    count_include_pad: bool
    divisor: int | None


def max_array(xp: Any, kernel: Ints, window: Window, out: Ints, x: Array) -> tuple[Array, Array]:
    """Return the maxima of the windows of x, and their numbers in the spatial plane of x."""
    spatial = x.shape[2:]
    padded = _pad(xp, x, window.padding, _padded_shape(spatial, out, kernel, window), -np.inf)
    offsets = list(itertools.product(*map(range, kernel)))
    # Each is read twice, and rows of a window's step are slow to read.
    parts = [xp.ascontiguousarray(padded[_slices(at, out, window)]) for at in offsets]
    best = parts[0].copy()
    for part in parts[1:]:
        xp.maximum(best, part, out=best)
    nan = bool(xp.isnan(best).any())
    # The first that equals the maximum wins, and the padding never does.
    chosen = xp.zeros(best.shape, xp.int32)
    for number in range(len(offsets) - 1, -1, -1):
        hit = parts[number] == best
        if nan:
            hit |= xp.isnan(parts[number])
        if padded is not x:
            hit &= _inside(xp, spatial, out, window, offsets[number])
        xp.copyto(chosen, number, where=hit)
    indices = _steps(xp, spatial, window, offsets)[chosen]
    indices += _first_number(xp, spatial, out, window)
    return best, indices


def _positions(xp: Any, out: Ints, window: Window, at: Ints) -> list[Array]:
    """Return the positions in x of the windows' elements at an offset, one array a dimension."""
    found: list[Array] = []
    for k, (count, offset) in enumerate(zip(out, at)):
        stride, padding, dilation = window.at(k)
        found.append(xp.arange(count) * stride + (offset * dilation - padding))
    return found


def _inside(xp: Any, spatial: Ints, out: Ints, window: Window, at: Ints) -> Array:
    """Return which windows meet x at an offset."""
    within = xp.ones((), bool)
    for position, extent in zip(_positions(xp, out, window, at), spatial):
        within = within[..., None] & ((position >= 0) & (position < extent))
    return within


def _steps(xp: Any, spatial: Ints, window: Window, offsets: list[Ints]) -> Array:
    """Return what each offset adds to the number of a window's first element."""
    table: list[int] = []
    for at in offsets:
        number = 0
        for offset, dilation, extent in zip(at, window.dilation, spatial):
            number = number * extent + offset * dilation
        table.append(number)
    return xp.asarray(table, dtype=xp.int64)


def _first_number(xp: Any, spatial: Ints, out: Ints, window: Window) -> Array:
    """Return the number in the plane of each window's first element, as if x went on."""
    base = xp.zeros((), xp.int64)
    for position, extent in zip(_positions(xp, out, window, (0,) * len(out)), spatial):
        base = base[..., None] * extent + position
    return base


def max_grad_array(xp: Any, spatial: Ints, apart: bool, g: Array, indices: Array) -> Array:
    """Return g added up at the given numbers of the spatial plane.

    `apart` says that no number occurs twice in a plane.
    """
    lead = g.shape[0] * g.shape[1]
    plane = math.prod(spatial)
    flat = indices.reshape(lead, math.prod(g.shape[2:])) + (xp.arange(lead) * plane)[:, None]
    if apart:
        out = xp.zeros(lead * plane, g.dtype)
        out[flat.reshape(-1)] = g.reshape(-1)
    else:
        sums = xp.bincount(flat.reshape(-1), _work(g).reshape(-1), minlength=lead * plane)
        out = sums.astype(g.dtype)
    return out.reshape(*g.shape[:2], *spatial)


def _counts(xp: Any, how: Averaging, out: Ints, spatial: Ints, dtype: Any) -> Array:
    """Return by how much each window is divided."""
    if how.divisor is not None:
        return xp.asarray(how.divisor, dtype)
    total = xp.ones((), dtype)
    for k, (count, extent) in enumerate(zip(out, spatial)):
        stride, padding, _ = how.window.at(k)
        start = xp.arange(count) * stride - padding
        room = extent + padding if how.count_include_pad else extent
        stop = xp.minimum(start + how.kernel[k], room)
        first = start if how.count_include_pad else xp.maximum(start, 0)
        total = total[..., None] * (stop - first).astype(dtype)
    return total


def average_array(xp: Any, how: Averaging, out: Ints, x: Array) -> Array:
    """Return the means of the windows of x."""
    dtype, spatial = x.dtype, x.shape[2:]
    x = _work(x)
    shape = _padded_shape(spatial, out, how.kernel, how.window)
    padded = _pad(xp, x, how.window.padding, shape, 0.0)
    total = xp.zeros((*x.shape[:2], *out), x.dtype)
    for at in itertools.product(*map(range, how.kernel)):
        total += padded[_slices(at, out, how.window)]
    total /= _counts(xp, how, out, spatial, x.dtype)
    return total.astype(dtype, copy=False)


def average_grad_array(xp: Any, how: Averaging, spatial: Ints, g: Array) -> Array:
    """Return the cotangent of x whose windows' means have the cotangent g."""
    dtype, out = g.dtype, g.shape[2:]
    g = _work(g)
    part = g / _counts(xp, how, out, spatial, g.dtype)
    shape = _padded_shape(spatial, out, how.kernel, how.window)
    total = xp.zeros((*g.shape[:2], *shape), g.dtype)
    for at in itertools.product(*map(range, how.kernel)):
        total[_slices(at, out, how.window)] += part
    result = xp.ascontiguousarray(total[_inner(how.window.padding, spatial)])
    return result.astype(dtype, copy=False)
