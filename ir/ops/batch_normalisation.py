"""Normalisation of each channel over a batch: training, its gradient, and inference.

Statistics are kept in the accumulator's dtype, float32 for the half types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.op import Decompose, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.nn import widen
from smelt.ir.ops.normalisation import (
    all_but_channels,
    check_channels,
    parameters,
    standardised,
    with_affine,
)
from smelt.ir.types import TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class BatchNormAttrs:
    """Attributes of the batch norms."""

    eps: float = 1e-5


def _infer_batch(
    attrs: BatchNormAttrs, x: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    check_channels("batch_norm", x, affine)
    statistics = TensorType(x.dtype.accumulator, (x.shape[1],))
    return x, statistics, statistics


def _batch_rule(
    r: Rules, attrs: BatchNormAttrs, x: Operand, *affine: Operand
) -> tuple[Operand, ...]:
    type = r.type(x)
    dims = all_but_channels(type.rank)
    xhat, _, mean, var = standardised(r, r.cast(x, type.dtype.accumulator), dims, attrs.eps)
    return r.cast(with_affine(r, xhat, dims, affine), type.dtype), mean, var


def _by_channel(values: Array, rank: int) -> Array:
    return values.reshape(-1, *(1,) * (rank - 2))


def _channel_sums(xp: Any, x: Array) -> Array:
    """Return the sums of x[n, c, *] over all dimensions but the second."""
    n, channels = x.shape[:2]
    rows = x.reshape(n, channels, x.size // max(n * channels, 1))
    return rows.sum(axis=2).sum(axis=0)


@np.errstate(all="ignore")
def _batch(xp: Any, attrs: BatchNormAttrs, x: Array, *affine: Array) -> tuple[Array, Array, Array]:
    dtype = x.dtype
    x = widen(x)
    count = x.dtype.type(x.size / max(x.shape[1], 1))
    mean = _channel_sums(xp, x) / count
    out = xp.subtract(x, _by_channel(mean, x.ndim), order="C")
    var = _channel_sums(xp, xp.square(out)) / count
    scale = x.dtype.type(1) / xp.sqrt(var + x.dtype.type(attrs.eps))
    if affine:
        scale = scale * widen(affine[0])
    out *= _by_channel(scale, x.ndim)
    if len(affine) > 1:
        out += _by_channel(widen(affine[1]), x.ndim)
    return out.astype(dtype, copy=False), mean, var


def _batch_vjp(
    r: Rules, s: Saved, g: Operand | None, g_mean: Operand | None, g_var: Operand | None
) -> tuple[Operand | None, ...]:
    """Differentiate: the closed form for out, g / n for the mean, 2 (x - mean) g / n for var."""
    type = s.input_types[0]
    dims = all_but_channels(type.rank)
    results: list[Operand | None] = [None] * len(s.needs)
    if g is not None:
        weight = s["affine"][:1]
        found = r("batch_norm_grad", g, s["x"], s["mean"], s["var"], *weight, eps=s.attrs.eps)
        results = [v if n else None for v, n in zip(found, s.needs)]
    if s.needs[0] and (g_mean is not None or g_var is not None):
        x = r.cast(s["x"], type.dtype.accumulator)
        total = None
        if g_mean is not None:
            total = r.spread(_over_count(r, type, g_mean), dims, type.shape)
        if g_var is not None:
            centred = r("sub", x, r.spread(s["mean"], dims, type.shape))
            each = r.spread(r.scale(_over_count(r, type, g_var), 2.0), dims, type.shape)
            part = r("mul", centred, each)
            total = part if total is None else r("add", total, part)
        total = r.cast(total, type.dtype)
        results[0] = total if results[0] is None else r("add", results[0], total)
    return tuple(results)


def _over_count(r: Rules, x: TensorType, g: Operand) -> Operand:
    """Return a value for each channel over the number of elements of a channel."""
    count = TensorType(x.dtype, (x.shape[0], *x.shape[2:])).size
    size = r.cast(r("dim_value", dim=count), r.type(g).dtype)
    return r("div", g, r.expand(size, r.type(g).shape))


def _infer_batch_grad(
    attrs: BatchNormAttrs,
    g: TensorType,
    x: TensorType,
    mean: TensorType,
    var: TensorType,
    *weight: TensorType,
) -> tuple[TensorType, ...]:
    op = "batch_norm_grad"
    expect.same_type(op, g=g, x=x)
    check_channels(op, x, weight)
    expect.of_dtype(op, x.dtype.accumulator, mean=mean, var=var)
    expect.of_shape(op, (x.shape[1],), mean=mean, var=var)
    parameter = TensorType(x.dtype, (x.shape[1],))
    return x, parameter, parameter


def _batch_grad_rule(
    r: Rules,
    attrs: BatchNormAttrs,
    g: Operand,
    x: Operand,
    mean: Operand,
    var: Operand,
    *weight: Operand,
) -> tuple[Operand, ...]:
    type = r.type(x)
    dtype, work = type.dtype, type.dtype.accumulator
    dims = all_but_channels(type.rank)
    g, x = r.cast(g, work), r.cast(x, work)
    scale = r("rsqrt", r.shift(var, attrs.eps))
    centred = r("sub", x, r.spread(mean, dims, type.shape))
    xhat = r("mul", centred, r.spread(scale, dims, type.shape))
    total, slope = r.sum(g, dims), r.sum(r("mul", g, xhat), dims)
    factor = scale
    for w in weight:
        factor = r("mul", factor, r.cast(w, work))
    level = r.spread(_over_count(r, type, total), dims, type.shape)
    tilt = r.spread(_over_count(r, type, slope), dims, type.shape)
    inner = r("sub", r("sub", g, level), r("mul", xhat, tilt))
    dx = r("mul", inner, r.spread(factor, dims, type.shape))
    return r.cast(dx, dtype), r.cast(slope, dtype), r.cast(total, dtype)


@np.errstate(all="ignore")
def _batch_grad(
    xp: Any, attrs: BatchNormAttrs, g: Array, x: Array, mean: Array, var: Array, *weight: Array
) -> tuple[Array, ...]:
    dtype, rank = x.dtype, x.ndim
    g, x = widen(g), widen(x)
    count = x.dtype.type(x.size / max(x.shape[1], 1))
    scale = x.dtype.type(1) / xp.sqrt(var + x.dtype.type(attrs.eps))
    dx = xp.subtract(x, _by_channel(mean, rank), order="C")
    total = _channel_sums(xp, g)
    slope = _channel_sums(xp, g * dx) * scale
    dx *= _by_channel(-scale * slope / count, rank)
    dx += g
    dx -= _by_channel(total / count, rank)
    dx *= _by_channel(scale * widen(weight[0]) if weight else scale, rank)
    return tuple(v.astype(dtype, copy=False) for v in (dx, slope, total))


def _infer_inference(
    attrs: BatchNormAttrs, x: TensorType, mean: TensorType, var: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    op = "batch_norm_inference"
    check_channels(op, x, affine)
    expect.of_shape(op, (x.shape[1],), mean=mean, var=var)
    for name, found in (("mean", mean), ("var", var)):
        if found.dtype is not x.dtype.accumulator:
            expect.same_dtype(op, x=x, **{name: found})
    return (x,)


def _inference_rule(
    r: Rules, attrs: BatchNormAttrs, x: Operand, mean: Operand, var: Operand, *affine: Operand
) -> Operand:
    type = r.type(x)
    work, dims = type.dtype.accumulator, all_but_channels(type.rank)
    centred = r("sub", r.cast(x, work), r.spread(r.cast(mean, work), dims, type.shape))
    scale = r("rsqrt", r.shift(r.cast(var, work), attrs.eps))
    xhat = r("mul", centred, r.spread(scale, dims, type.shape))
    return r.cast(with_affine(r, xhat, dims, affine), type.dtype)


@np.errstate(all="ignore")
def _inference(
    xp: Any, attrs: BatchNormAttrs, x: Array, mean: Array, var: Array, *affine: Array
) -> Array:
    dtype, rank = x.dtype, x.ndim
    x, mean, var = widen(x), widen(mean), widen(var)
    scale = x.dtype.type(1) / xp.sqrt(var + x.dtype.type(attrs.eps))
    if affine:
        scale = scale * widen(affine[0])
    out = xp.subtract(x, _by_channel(mean, rank), order="C")
    out *= _by_channel(scale, rank)
    if len(affine) > 1:
        out += _by_channel(widen(affine[1]), rank)
    return out.astype(dtype, copy=False)


# Samples


def _images() -> Iterable[tuple[Array, ...]]:
    yield sampling.normal(3, 2, 2, 2, dtype=dtypes.float64), *parameters(2)
    yield sampling.normal(4, 3, dtype=dtypes.float64), *parameters(3)[:1]
    yield (sampling.normal(2, 2, 3, dtype=dtypes.float64),)
    narrow = sampling.normal(2, 4, 3, dtype=dtypes.bfloat16)
    yield narrow, *parameters(4, dtype=dtypes.bfloat16)
    strided = sampling.strided(sampling.normal(2, 2, 3))
    yield strided, *parameters(2, dtype=dtypes.float32)


def _batch_samples() -> Iterable[Sample]:
    for operands in _images():
        yield Sample(operands, {"eps": 1e-4})


def _batch_grad_samples() -> Iterable[Sample]:
    for x, *affine in _images():
        g = np.asarray(np.flip(x) * x.dtype.type(0.7))
        _, mean, var = _batch(np, BatchNormAttrs(1e-4), x, *affine)
        yield Sample((g, x, mean, var, *affine[:1]), {"eps": 1e-4})


def _inference_samples() -> Iterable[Sample]:
    for x, *affine in _images():
        mean = sampling.normal(x.shape[1], dtype=dtypes.of_numpy(x.dtype), seed=5)
        yield Sample((x, mean, np.asarray(abs(mean)), *affine), {})
    zero = np.zeros((0, 2, 3), np.float32)
    yield Sample((zero, np.zeros(2, np.float32), np.ones(2, np.float32)), {})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="batch_norm",
        doc="(x - mean) / sqrt(var + eps) * weight + bias over all dimensions but 1; mean; var",
        operands=("x", "*affine"),
        results=("out", "mean", "var"),
        attrs=BatchNormAttrs,
        infer=_infer_batch,
        reference=_batch,
        rule=Decompose(_batch_rule),
        vjp=Vjp(("x", "affine", "mean", "var"), _batch_vjp),
        samples=_batch_samples,
        error=8.0,
    ),
    OpDef(
        name="batch_norm_grad",
        doc="the cotangents of x, weight and bias of batch_norm's out",
        operands=("g", "x", "mean", "var", "*weight"),
        results=("dx", "dweight", "dbias"),
        attrs=BatchNormAttrs,
        infer=_infer_batch_grad,
        reference=_batch_grad,
        rule=Decompose(_batch_grad_rule),
        vjp=None,
        samples=_batch_grad_samples,
        error=16.0,
    ),
    OpDef(
        name="batch_norm_inference",
        doc="(x - mean) / sqrt(var + eps) * weight + bias with given statistics",
        operands=("x", "mean", "var", "*affine"),
        attrs=BatchNormAttrs,
        infer=_infer_inference,
        reference=_inference,
        rule=Decompose(_inference_rule),
        vjp=None,
        samples=_inference_samples,
        error=8.0,
    ),
)
