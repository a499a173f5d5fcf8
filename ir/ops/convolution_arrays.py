"""Convolution on arrays, by matrix products over gathered windows.

Windows are gathered with the channels last, where they are long contiguous runs, into rows of
(kernel, channel); one matrix product a channel group does the rest.
"""

from __future__ import annotations

import itertools
from typing import Any

from smelt.ir import dtypes
from smelt.ir.ops.sliding import Ints, Window

Array = Any


def _work(x: Array) -> Array:
    return x.astype(dtypes.of_numpy(x.dtype).accumulator.numpy, copy=False)


def _is_pointwise(window: Window, kernel: Ints) -> bool:
    return (
        window.groups == 1
        and all(k == 1 for k in kernel)
        and all(s == 1 for s in window.stride)
        and not any(window.padding)
    )


def _is_depthwise(window: Window, w: Array) -> bool:
    return window.groups == w.shape[0] and w.shape[1] == 1


def _channels_last(x: Array) -> Array:
    return x.transpose(0, *range(2, x.ndim), 1)


def _padded_channels_last(xp: Any, window: Window, x: Array) -> Array:
    if not any(window.padding):
        return xp.ascontiguousarray(_channels_last(x))
    spatial = tuple(e + 2 * p for e, p in zip(x.shape[2:], window.padding))
    padded = xp.zeros((x.shape[0], *spatial, x.shape[1]), x.dtype)
    inner = tuple(slice(p, p + e) for e, p in zip(x.shape[2:], window.padding))
    padded[(slice(None), *inner)] = _channels_last(x)
    return padded


def _rows(xp: Any, window: Window, x: Array, kernel: Ints, out: Ints) -> Array:
    """Return the windows of x[n, c, *spatial] as [groups, n * out, kernel * c / groups]."""
    padded = _padded_channels_last(xp, window, x)
    n, channels = x.shape[:2]
    each = channels // window.groups
    spatial, d = padded.strides[1:-1], len(kernel)
    last = padded.strides[-1]
    view = xp.lib.stride_tricks.as_strided(
        padded,
        shape=(window.groups, n, *out, *kernel, each),
        strides=(
            each * last,
            padded.strides[0],
            *(s * step for s, step in zip(spatial, window.stride)),
            *(s * step for s, step in zip(spatial, window.dilation)),
            last,
        ),
    )
    rows = n
    for extent in out:
        rows *= extent
    width = each
    for k in range(d):
        width *= kernel[k]
    return xp.ascontiguousarray(view).reshape(window.groups, rows, width)


def _grouped_rows(xp: Any, window: Window, g: Array) -> Array:
    """Return g[n, o, *out] as [groups, n * out, o / groups]."""
    n, channels, *out = g.shape
    each = channels // window.groups
    split = g.reshape(n, window.groups, each, *out)
    order = (1, 0, *range(3, split.ndim), 2)
    return xp.ascontiguousarray(split.transpose(order)).reshape(window.groups, -1, each)


def _grouped_weight(window: Window, w: Array) -> Array:
    """Return w[o, i, *kernel] as [groups, kernel * i, o / groups]."""
    o, i, *kernel = w.shape
    split = w.reshape(window.groups, o // window.groups, i, *kernel)
    order = (0, *range(3, split.ndim), 2, 1)
    size = i
    for k in kernel:
        size *= k
    return split.transpose(order).reshape(window.groups, size, o // window.groups)


def _offsets(window: Window, kernel: Ints, out: Ints) -> list[tuple[Ints, tuple[slice, ...]]]:
    """Return each kernel offset with the slices of the padded input that it meets."""
    found: list[tuple[Ints, tuple[slice, ...]]] = []
    for at in itertools.product(*map(range, kernel)):
        slices: list[slice] = []
        for k, dilation, stride, extent in zip(at, window.dilation, window.stride, out):
            start = k * dilation
            slices.append(slice(start, start + stride * (extent - 1) + 1, stride))
        found.append((at, tuple(slices)))
    return found


def output_array(xp: Any, window: Window, x: Array, w: Array) -> Array:
    """Return the convolution of x[n, c, *spatial] with w[o, c / groups, *kernel], row-major."""
    dtype = x.dtype
    x, w = _work(x), _work(w)
    n, channels, *spatial = x.shape
    kernel = w.shape[2:]
    out = tuple(
        (e + 2 * p - d * (k - 1) - 1) // s + 1
        for e, k, s, p, d in zip(spatial, kernel, window.stride, window.padding, window.dilation)
    )
    if _is_pointwise(window, kernel):
        flat = x.reshape(n, channels, -1) if x.size else x.reshape(n, channels, _count(out))
        result = xp.matmul(w.reshape(w.shape[0], channels), flat)
    elif _is_depthwise(window, w):
        padded = _padded_channels_last(xp, window, x)
        total = xp.zeros((n, *out, channels), x.dtype)
        part = xp.empty_like(total)
        for at, slices in _offsets(window, kernel, out):
            xp.multiply(padded[(slice(None), *slices)], w[(slice(None), 0, *at)], out=part)
            total += part
        result = _channels_first(xp, total)
    else:
        product = xp.matmul(_rows(xp, window, x, kernel, out), _grouped_weight(window, w))
        split = product.reshape(window.groups, n, _count(out), w.shape[0] // window.groups)
        result = split.transpose(1, 0, 3, 2)
    result = xp.ascontiguousarray(result).reshape(n, w.shape[0], *out)
    return result.astype(dtype, copy=False)


def input_grad_array(xp: Any, window: Window, spatial: Ints, g: Array, w: Array) -> Array:
    """Return the cotangent of the input whose convolution has the cotangent g, row-major."""
    dtype = g.dtype
    g, w = _work(g), _work(w)
    n, channels, *out = g.shape
    kernel, each = w.shape[2:], w.shape[1]
    if _is_pointwise(window, kernel):
        product = xp.matmul(w.reshape(channels, each).T, g.reshape(n, channels, _count(out)))
        return product.reshape(n, each, *spatial).astype(dtype, copy=False)
    padded = tuple(e + 2 * p for e, p in zip(spatial, window.padding))
    total = xp.zeros((n, *padded, window.groups, each), g.dtype)
    if _is_depthwise(window, w):
        last = xp.ascontiguousarray(_channels_last(g))[..., None]
        part = xp.empty_like(last)
        for at, slices in _offsets(window, kernel, tuple(out)):
            xp.multiply(last, w[(slice(None), slice(0, 1), *at)], out=part)
            total[(slice(None), *slices)] += part
    else:
        weight = _grouped_weight(window, w).transpose(0, 2, 1)
        product = xp.matmul(_grouped_rows(xp, window, g), weight)
        parts = product.reshape(window.groups, n, *out, *kernel, each)
        lead = (slice(None),) * (len(out) + 2)
        for at, slices in _offsets(window, kernel, tuple(out)):
            part = parts[(*lead, *at)]
            total[(slice(None), *slices)] += part.transpose(*range(1, len(out) + 2), 0, -1)
    total = total.reshape(n, *padded, window.groups * each)
    inner = tuple(slice(p, p + e) for e, p in zip(spatial, window.padding))
    return _channels_first(xp, total[(slice(None), *inner)]).astype(dtype, copy=False)


def weight_grad_array(xp: Any, window: Window, kernel: Ints, x: Array, g: Array) -> Array:
    """Return the cotangent of the weight whose convolution with x has the cotangent g."""
    dtype = x.dtype
    x, g = _work(x), _work(g)
    channels, out = g.shape[1], g.shape[2:]
    each = x.shape[1] // window.groups
    if each == 1 and window.groups == channels:
        result = xp.empty((channels, 1, *kernel), x.dtype)
        padded, last = _padded_channels_last(xp, window, x), xp.ascontiguousarray(_channels_last(g))
        part = xp.empty_like(last)
        for at, slices in _offsets(window, kernel, out):
            xp.multiply(padded[(slice(None), *slices)], last, out=part)
            result[(slice(None), 0, *at)] = part.reshape(-1, channels).sum(axis=0)
        return result.astype(dtype, copy=False)
    rows = _rows(xp, window, x, kernel, out)
    product = xp.matmul(rows.transpose(0, 2, 1), _grouped_rows(xp, window, g))
    split = product.reshape(window.groups, *kernel, each, channels // window.groups)
    order = (0, split.ndim - 1, split.ndim - 2, *range(1, split.ndim - 2))
    result = xp.ascontiguousarray(split.transpose(order))
    return result.reshape(channels, each, *kernel).astype(dtype, copy=False)


def _channels_first(xp: Any, x: Array) -> Array:
    return xp.ascontiguousarray(x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)))


def _count(extents: Any) -> int:
    total = 1
    for extent in extents:
        total *= extent
    return total
