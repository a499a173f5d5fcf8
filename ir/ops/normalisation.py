"""Normalisation over trailing dimensions or groups: composites with closed-form derivatives.

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
class GroupNormAttrs:
    """Attributes of `group_norm`: into how many groups the channels fall."""

    groups: int
    eps: float = 1e-5


def check_affine(
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


def standardised(
    r: Rules, x: Operand, dims: tuple[int, ...], eps: float
) -> tuple[Operand, Operand, Operand, Operand]:
    """Return xhat, 1 / sqrt(var + eps) spread over x, and mean and variance over `dims`."""
    shape = r.type(x).shape
    mean = r("mean", x, dims=dims)
    centred = r("sub", x, r.spread(mean, dims, shape))
    var = r("mean", r("mul", centred, centred), dims=dims)
    scale = r.spread(r("rsqrt", r.shift(var, eps)), dims, shape)
    return r("mul", centred, scale), scale, mean, var


def with_affine(
    r: Rules, xhat: Operand, over: tuple[int, ...], affine: tuple[Operand, ...]
) -> Operand:
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
    check_affine("layer_norm", x, x.shape[x.rank - attrs.dims :], affine)
    return (x,)


def _layer_rule(r: Rules, attrs: LayerNormAttrs, x: Operand, *affine: Operand) -> Operand:
    type = r.type(x)
    dims = _trailing(type.rank, attrs.dims)
    xhat, *_ = standardised(r, r.cast(x, type.dtype.accumulator), dims, attrs.eps)
    return r.cast(with_affine(r, xhat, _others(type.rank, dims), affine), type.dtype)


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
    xhat, scale, *_ = standardised(r, r.cast(s["x"], work), dims, s.attrs.eps)
    g = r.cast(g, work)
    dx = None
    if s.needs[0]:
        gy = with_affine(r, g, over, s["affine"][:1])
        dx = r.cast(_standard_gradient(r, gy, xhat, scale, dims), type.dtype)
    return (dx, *_affine_gradients(r, s, g, xhat, over, 1))


def _infer_rms(attrs: LayerNormAttrs, x: TensorType, *weight: TensorType) -> tuple[TensorType, ...]:
    _check_trailing("rms_norm", attrs.dims, x)
    check_affine("rms_norm", x, x.shape[x.rank - attrs.dims :], weight, 1)
    return (x,)


def _rms_rule(r: Rules, attrs: LayerNormAttrs, x: Operand, *weight: Operand) -> Operand:
    type = r.type(x)
    dims = _trailing(type.rank, attrs.dims)
    work = r.cast(x, type.dtype.accumulator)
    power = r("mean", r("mul", work, work), dims=dims)
    scale = r.spread(r("rsqrt", r.shift(power, attrs.eps)), dims, type.shape)
    scaled = r("mul", work, scale)
    return r.cast(with_affine(r, scaled, _others(type.rank, dims), weight), type.dtype)


def check_channels(op: str, x: TensorType, affine: tuple[TensorType, ...]) -> None:
    """Require x[n, c, *], and at most a weight and a bias for each channel."""
    expect.at_least_rank(op, 2, x=x)
    check_affine(op, x, (x.shape[1],), affine)


def all_but_channels(rank: int) -> tuple[int, ...]:
    """Return the dimensions of x[n, c, *] but for c."""
    return (0, *range(2, rank))


# group_norm


def _infer_group(
    attrs: GroupNormAttrs, x: TensorType, *affine: TensorType
) -> tuple[TensorType, ...]:
    check_channels("group_norm", x, affine)
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
    return r.cast(with_affine(r, xhat, all_but_channels(type.rank), affine), type.dtype)


# Samples


def parameters(*shape: int, dtype: dtypes.DType = dtypes.float64) -> tuple[Array, Array]:
    """Return the weight and bias of a sample."""
    weight = sampling.uniform(0.5, 1.5, *shape, dtype=dtype)
    return weight, sampling.normal(*shape, dtype=dtype, seed=3)


def _trailing_samples(most: int) -> Iterable[Sample]:
    x = sampling.normal(2, 3, 4, dtype=dtypes.float64)
    yield Sample((x, *parameters(4)[:most]), {"dims": 1})
    yield Sample((x,), {"dims": 2, "eps": 1e-3})
    yield Sample((x, parameters(3, 4)[0]), {"dims": 2})
    narrow = sampling.normal(2, 5, dtype=dtypes.float16)
    yield Sample((narrow, *parameters(5, dtype=dtypes.float16)[:most]), {"dims": 1})
    strided = sampling.strided(sampling.normal(3, 4))
    yield Sample((strided, *parameters(4, dtype=dtypes.float32)[:most]), {"dims": 1})
    yield Sample((np.zeros((0, 3), np.float32),), {"dims": 1})
    special = np.array([[np.inf, 0.0, 1.0], [np.nan, 1.0, 2.0], [3.0, 3.0, 3.0]], np.float32)
    yield Sample((special,), {"dims": 1}, differentiable=False)


def _group_samples() -> Iterable[Sample]:
    x = sampling.normal(2, 4, 3, dtype=dtypes.float64)
    yield Sample((x, *parameters(4)), {"groups": 2})
    yield Sample((x,), {"groups": 4, "eps": 1e-3})
    narrow = sampling.strided(sampling.normal(2, 4, 2, dtype=dtypes.float16))
    yield Sample((narrow, parameters(4, dtype=dtypes.float16)[0]), {"groups": 1})


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
