"""Normalisation by mean and variance: composites with the usual closed forms as derivatives.

Half types are normalised in float32 and rounded once. With n elements in each mean, xhat the
normalised x and gy = g * weight, the derivative of all of them is
`(gy - mean(gy) - xhat * mean(gy * xhat)) / sqrt(var + eps)`.
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
from smelt.ir.types import Shape, TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class LayerNormAttrs:
    """Attributes of `layer_norm` and `rms_norm`: how many trailing dimensions are normalised."""

    dims: int
    eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class BatchNormAttrs:
    """Attributes of the batch norms."""

    eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class GroupNormAttrs:
    """Attributes of `group_norm`: into how many groups the channels fall."""

    groups: int
    eps: float = 1e-5


def _check_affine(
    op: str, x: TensorType, shape: Shape, affine: tuple[TensorType, ...], most: int = 2
) -> None:
    """Require at most a weight and a bias of x's dtype and of `shape`."""
    expect.floating(op, x=x)
    fits = len(affine) <= most
    expect.argument(op, fits, f"takes at most {most} of weight and bias, not {len(affine)}")
    for name, found in zip(("weight", "bias"), affine):
        expect.same_dtype(op, x=x, **{name: found})
        expect.of_shape(op, shape, **{name: found})


def _trailing(rank: int, count: int) -> tuple[int, ...]:
    return tuple(range(rank - count, rank))


def _check_trailing(op: str, count: int, x: TensorType) -> None:
    fits = 1 <= count <= x.rank
    expect.argument(op, fits, f"dims must be 1 to {x.rank}, but is {count}: x is {x}")


def _others(rank: int, dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in range(rank) if d not in dims)


def _standardised(
    r: Rules, x: Operand, dims: tuple[int, ...], eps: float
) -> tuple[Operand, Operand, Operand, Operand]:
    """Return xhat, 1 / sqrt(var + eps) spread over x, and mean and variance over `dims`."""
    shape = r.type(x).shape
    mean = r("mean", x, dims=dims)
    centred = r("sub", x, r.spread(mean, dims, shape))
    var = r("mean", r("mul", centred, centred), dims=dims)
    scale = r.spread(r("rsqrt", r.shift(var, eps)), dims, shape)
    return r("mul", centred, scale), scale, mean, var


def _affine(r: Rules, xhat: Operand, over: tuple[int, ...], affine: tuple[Operand, ...]) -> Operand:
    """Return xhat * weight + bias, those given, constant over the dimensions `over`."""
    type = r.type(xhat)
    for op, value in zip(("mul", "add"), affine):
        xhat = r(op, xhat, r.spread(r.cast(value, type.dtype), over, type.shape))
    return xhat


def _standard_gradient(
    r: Rules, gy: Operand, xhat: Operand, scale: Operand, dims: tuple[int, ...]
) -> Operand:
    shape = r.type(gy).shape
    level = r.spread(r("mean", gy, dims=dims), dims, shape)
    slope = r.spread(r("mean", r("mul", gy, xhat), dims=dims), dims, shape)
    return r("mul", scale, r("sub", r("sub", gy, level), r("mul", xhat, slope)))


def _affine_gradients(
    r: Rules, s: Saved, g: Operand, xhat: Operand, over: tuple[int, ...], first: int
) -> list[Operand | None]:
    """Return the cotangents of the weight and bias that there are."""
    found: list[Operand | None] = []
    for k in range(first, len(s.needs)):
        if not s.needs[k]:
            found.append(None)
            continue
        part = r("mul", g, xhat) if k == first else g
        found.append(r.cast(r.sum(part, over), s.input_types[k].dtype))
    return found


# layer_norm and rms_norm


def _infer_layer(
    attrs: LayerNormAttrs, x: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    _check_trailing("layer_norm", attrs.dims, x)
    _check_affine("layer_norm", x, x.shape[x.rank - attrs.dims :], affine)
    return (x,)


def _layer_rule(r: Rules, attrs: LayerNormAttrs, x: Operand, *affine: Operand) -> Operand:
    type = r.type(x)
    dims = _trailing(type.rank, attrs.dims)
    xhat, *_ = _standardised(r, r.cast(x, type.dtype.accumulator), dims, attrs.eps)
    return r.cast(_affine(r, xhat, _others(type.rank, dims), affine), type.dtype)


@np.errstate(all="ignore")
def _layer(xp: Any, attrs: LayerNormAttrs, x: Array, *affine: Array) -> Array:
    dtype = x.dtype
    x = widen(x)
    if x.size == 0:
        return xp.empty(x.shape, dtype)
    axes = _trailing(x.ndim, attrs.dims)
    out = xp.subtract(x, x.mean(axis=axes, keepdims=True), order="C")
    var = xp.square(out).mean(axis=axes, keepdims=True)
    var += var.dtype.type(attrs.eps)
    out /= xp.sqrt(var, out=var)
    if affine:
        out *= widen(affine[0])
    if len(affine) > 1:
        out += widen(affine[1])
    return out.astype(dtype, copy=False)


def _layer_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: the closed form over the trailing dimensions; see the module."""
    type = s.input_types[0]
    work, dims = type.dtype.accumulator, _trailing(type.rank, s.attrs.dims)
    over = _others(type.rank, dims)
    xhat, scale, *_ = _standardised(r, r.cast(s["x"], work), dims, s.attrs.eps)
    g = r.cast(g, work)
    dx = None
    if s.needs[0]:
        gy = _affine(r, g, over, s["affine"][:1])
        dx = r.cast(_standard_gradient(r, gy, xhat, scale, dims), type.dtype)
    return (dx, *_affine_gradients(r, s, g, xhat, over, 1))


def _infer_rms(attrs: LayerNormAttrs, x: TensorType, *weight: TensorType) -> tuple[TensorType, ...]:
    _check_trailing("rms_norm", attrs.dims, x)
    _check_affine("rms_norm", x, x.shape[x.rank - attrs.dims :], weight, 1)
    return (x,)


def _rms_rule(r: Rules, attrs: LayerNormAttrs, x: Operand, *weight: Operand) -> Operand:
    type = r.type(x)
    dims = _trailing(type.rank, attrs.dims)
    work = r.cast(x, type.dtype.accumulator)
    power = r("mean", r("mul", work, work), dims=dims)
    scale = r.spread(r("rsqrt", r.shift(power, attrs.eps)), dims, type.shape)
    scaled = r("mul", work, scale)
    return r.cast(_affine(r, scaled, _others(type.rank, dims), weight), type.dtype)


# batch_norm


def _channels_check(op: str, x: TensorType, affine: tuple[TensorType, ...]) -> None:
    expect.at_least_rank(op, 2, x=x)
    _check_affine(op, x, (x.shape[1],), affine)


def _all_but_channels(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank))


def _infer_batch(
    attrs: BatchNormAttrs, x: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    _channels_check("batch_norm", x, affine)
    statistics = TensorType(x.dtype.accumulator, (x.shape[1],))
    return x, statistics, statistics


def _batch_rule(
    r: Rules, attrs: BatchNormAttrs, x: Operand, *affine: Operand
) -> tuple[Operand, ...]:
    type = r.type(x)
    dims = _all_but_channels(type.rank)
    xhat, _, mean, var = _standardised(r, r.cast(x, type.dtype.accumulator), dims, attrs.eps)
    return r.cast(_affine(r, xhat, dims, affine), type.dtype), mean, var


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
    dims = _all_but_channels(type.rank)
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
    _channels_check(op, x, weight)
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
    dims = _all_but_channels(type.rank)
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
    _channels_check(op, x, affine)
    expect.of_shape(op, (x.shape[1],), mean=mean, var=var)
    for name, found in (("mean", mean), ("var", var)):
        if found.dtype is not x.dtype.accumulator:
            expect.same_dtype(op, x=x, **{name: found})
    return (x,)


def _inference_rule(
    r: Rules, attrs: BatchNormAttrs, x: Operand, mean: Operand, var: Operand, *affine: Operand
) -> Operand:
    type = r.type(x)
    work, dims = type.dtype.accumulator, _all_but_channels(type.rank)
    centred = r("sub", r.cast(x, work), r.spread(r.cast(mean, work), dims, type.shape))
    scale = r("rsqrt", r.shift(r.cast(var, work), attrs.eps))
    xhat = r("mul", centred, r.spread(scale, dims, type.shape))
    return r.cast(_affine(r, xhat, dims, affine), type.dtype)


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


# group_norm


def _infer_group(
    attrs: GroupNormAttrs, x: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    _channels_check("group_norm", x, affine)
    expect.argument(
        "group_norm",
        attrs.groups >= 1 and x.shape[1] % attrs.groups == 0,
        f"{x.shape[1]} channels do not divide into {attrs.groups} groups: x is {x}",
    )
    return (x,)


def _group_rule(r: Rules, attrs: GroupNormAttrs, x: Operand, *affine: Operand) -> Operand:
    type = r.type(x)
    each = TensorType(type.dtype, type.shape[1:]).size // attrs.groups
    grouped = r.reshape(r.cast(x, type.dtype.accumulator), (type.shape[0], attrs.groups, each))
    xhat = r.reshape(r("layer_norm", grouped, dims=1, eps=attrs.eps), type.shape)
    return r.cast(_affine(r, xhat, _all_but_channels(type.rank), affine), type.dtype)


# Samples


def _parameters(*shape: int, dtype: dtypes.DType = dtypes.float64) -> tuple[Array, Array]:
    weight = sampling.uniform(0.5, 1.5, *shape, dtype=dtype)
    return weight, sampling.normal(*shape, dtype=dtype, seed=3)


def _trailing_samples(most: int) -> Iterable[Sample]:
    x = sampling.normal(2, 3, 4, dtype=dtypes.float64)
    yield Sample((x, *_parameters(4)[:most]), {"dims": 1})
    yield Sample((x,), {"dims": 2, "eps": 1e-3})
    yield Sample((x, _parameters(3, 4)[0]), {"dims": 2})
    narrow = sampling.normal(2, 5, dtype=dtypes.float16)
    yield Sample((narrow, *_parameters(5, dtype=dtypes.float16)[:most]), {"dims": 1})
    strided = sampling.strided(sampling.normal(3, 4))
    yield Sample((strided, *_parameters(4, dtype=dtypes.float32)[:most]), {"dims": 1})
    yield Sample((np.zeros((0, 3), np.float32),), {"dims": 1})
    special = np.array([[np.inf, 0.0, 1.0], [np.nan, 1.0, 2.0], [3.0, 3.0, 3.0]], np.float32)
    yield Sample((special,), {"dims": 1}, differentiable=False)


def _images() -> Iterable[tuple[Array, ...]]:
    yield sampling.normal(3, 2, 2, 2, dtype=dtypes.float64), *_parameters(2)
    yield sampling.normal(4, 3, dtype=dtypes.float64), *_parameters(3)[:1]
    yield (sampling.normal(2, 2, 3, dtype=dtypes.float64),)
    narrow = sampling.normal(2, 4, 3, dtype=dtypes.bfloat16)
    yield narrow, *_parameters(4, dtype=dtypes.bfloat16)
    strided = sampling.strided(sampling.normal(2, 2, 3))
    yield strided, *_parameters(2, dtype=dtypes.float32)


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


def _group_samples() -> Iterable[Sample]:
    x = sampling.normal(2, 4, 3, dtype=dtypes.float64)
    yield Sample((x, *_parameters(4)), {"groups": 2})
    yield Sample((x,), {"groups": 4, "eps": 1e-3})
    narrow = sampling.strided(sampling.normal(2, 4, 2, dtype=dtypes.float16))
    yield Sample((narrow, _parameters(4, dtype=dtypes.float16)[0]), {"groups": 1})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="layer_norm",
        doc="(x - mean) / sqrt(var + eps) * weight + bias over the trailing dimensions",
        operands=("x", "*affine"),
        attrs=LayerNormAttrs,
        infer=_infer_layer,
        reference=_layer,
        rule=Decompose(_layer_rule),
        vjp=Vjp(("x", "affine"), _layer_vjp),
        samples=lambda: _trailing_samples(2),
        error=8.0,
    ),
    OpDef(
        name="rms_norm",
        doc="x / sqrt(mean(x**2) + eps) * weight over the trailing dimensions",
        operands=("x", "*weight"),
        attrs=LayerNormAttrs,
        infer=_infer_rms,
        rule=Decompose(_rms_rule),
        vjp=None,
        samples=lambda: _trailing_samples(1),
        error=8.0,
    ),
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
    OpDef(
        name="group_norm",
        doc="layer_norm over each group of channels, then weight and bias by channel",
        operands=("x", "*affine"),
        attrs=GroupNormAttrs,
        infer=_infer_group,
        rule=Decompose(_group_rule),
        vjp=None,
        samples=_group_samples,
        error=8.0,
    ),
)
