"""Composite reductions: mean, variance, log-sum-exp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.op import Decompose, OpDef, Operand, Rules, Saved, Vjp
from smelt.ir.ops import pointwise
from smelt.ir.ops.inference import FLOAT
from smelt.ir.ops.reduction import (
    DimsAttrs,
    infer_reduction,
    kept_shape,
    reduction,
    reduction_samples,
)
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class VarAttrs:
    """The dimensions to reduce, and what is subtracted from their number of elements."""

    dims: tuple[int, ...]
    correction: int


def _count(r: Rules, type: TensorType, dims: tuple[int, ...], dtype: DType) -> Operand:
    """Return the number of elements in a reduction of `type` over `dims`, 0-d."""
    count: int | Dim = 1
    for dim in dims:
        count = count * type.shape[dim]
    if isinstance(count, int):
        return r.full(float(count), TensorType(dtype, ()))
    return r.cast(r("dim_value", dim=count), dtype)


def _mean_decompose(r: Rules, attrs: DimsAttrs, x: Operand) -> Operand:
    found = r.type(x)
    dtype = found.dtype.accumulator
    total = r.sum(r.cast(x, dtype), attrs.dims)
    count = r.expand(_count(r, found, attrs.dims, dtype), r.type(total).shape)
    return r.cast(r("div", total, count), found.dtype)


def _mean_reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
    count = math.prod(x.shape[d] for d in attrs.dims)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32) if pointwise.is_half(x) else x
        total = xp.empty(kept_shape(x.shape, attrs.dims), wide.dtype)
        xp.add.reduce(wide, axis=attrs.dims, out=total)
        xp.divide(total, wide.dtype.type(count), out=total)
        return total.astype(x.dtype, copy=False)


def _mean_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = Σ x / n;  backward gx = g / n, spread."""
    (source,) = s.input_types
    dtype = source.dtype.accumulator
    g = r.cast(g, dtype)
    count = r.expand(_count(r, source, s.attrs.dims, dtype), r.type(g).shape)
    share = r.cast(r("div", g, count), source.dtype)
    return (r.spread(share, s.attrs.dims, source.shape),)


def _centred(r: Rules, x: Operand, dims: tuple[int, ...]) -> Operand:
    """Return x minus its mean over `dims`; x is of an accumulator's dtype."""
    shape = r.type(x).shape
    return r("sub", x, r.spread(r("mean", x, dims=dims), dims, shape))


def _freedom(r: Rules, type: TensorType, attrs: VarAttrs, dtype: DType) -> Operand:
    """Return max(0, n - correction), 0-d."""
    free = r.shift(_count(r, type, attrs.dims, dtype), -float(attrs.correction))
    return r("maximum", free, r.full_like(free, 0.0))


def _var_decompose(r: Rules, attrs: VarAttrs, x: Operand) -> Operand:
    found = r.type(x)
    dtype = found.dtype.accumulator
    centred = _centred(r, r.cast(x, dtype), attrs.dims)
    total = r.sum(r("mul", centred, centred), attrs.dims)
    free = r.expand(_freedom(r, found, attrs, dtype), r.type(total).shape)
    return r.cast(r("div", total, free), found.dtype)


def _var_reference(xp: Any, attrs: VarAttrs, x: Array) -> Array:
    count = math.prod(x.shape[d] for d in attrs.dims)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32) if pointwise.is_half(x) else x
        scalar_type = wide.dtype.type
        mean = xp.add.reduce(wide, axis=attrs.dims, keepdims=True) / scalar_type(count)
        centred = xp.subtract(wide, mean, out=xp.empty(wide.shape, wide.dtype))
        xp.multiply(centred, centred, out=centred)
        total = xp.empty(kept_shape(x.shape, attrs.dims), wide.dtype)
        xp.add.reduce(centred, axis=attrs.dims, out=total)
        xp.divide(total, scalar_type(max(0, count - attrs.correction)), out=total)
        return total.astype(x.dtype, copy=False)


def _var_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = Σ (x - mean)² / (n - c);  backward gx = 2 g (x - mean) / (n - c)."""
    (source,) = s.input_types
    dtype = source.dtype.accumulator
    g = r.cast(g, dtype)
    free = r.expand(_freedom(r, source, s.attrs, dtype), r.type(g).shape)
    share = r.scale(r("div", g, free), 2.0)
    centred = _centred(r, r.cast(s["x"], dtype), s.attrs.dims)
    gx = r("mul", centred, r.spread(share, s.attrs.dims, source.shape))
    return (r.cast(gx, source.dtype),)


def _logsumexp_decompose(r: Rules, attrs: DimsAttrs, x: Operand) -> Operand:
    found = r.type(x)
    wide = r.cast(x, found.dtype.accumulator)
    if not attrs.dims:
        return r("contiguous", x)
    # Infinities are not subtracted from themselves: exp and log carry them through.
    peak = r("amax", r("detach", wide), dims=attrs.dims)
    peak = r("where", r("isfinite", peak), peak, r.full_like(peak, 0.0))
    shifted = r("exp", r("sub", wide, r.spread(peak, attrs.dims, found.shape)))
    out = r("add", r("log", r.sum(shifted, attrs.dims)), peak)
    return r.cast(out, found.dtype)


def _logsumexp_reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
    if not attrs.dims:
        return x.copy(order="C")
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32) if pointwise.is_half(x) else x
        peak = xp.maximum.reduce(wide, axis=attrs.dims, keepdims=True)
        peak = xp.where(xp.isfinite(peak), peak, peak.dtype.type(0))
        shifted = xp.exp(wide - peak)
        total = xp.empty(kept_shape(x.shape, attrs.dims), wide.dtype)
        xp.add.reduce(xp.asarray(shifted), axis=attrs.dims, out=total)
        xp.log(total, out=total)
        xp.add(total, peak.reshape(total.shape), out=total)
        return total.astype(x.dtype, copy=False)


@pointwise.widened
def _logsumexp_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = log Σ exp(x);  backward gx = g * exp(x - out)."""
    dims, shape = s.attrs.dims, s.input_types[0].shape
    weight = r("exp", r("sub", s["x"], r.spread(s["out"], dims, shape)))
    return (r("mul", weight, r.spread(g, dims, shape)),)


OPS: tuple[OpDef, ...] = (
    reduction(
        "mean",
        "Σ x / n over dims",
        "add",
        FLOAT,
        Vjp((), _mean_vjp),
        rule=Decompose(_mean_decompose),
        reference=_mean_reference,
    ),
    reduction(
        "var",
        "Σ (x - mean x)² / max(0, n - correction) over dims",
        "add",
        FLOAT,
        Vjp(("x",), _var_vjp),
        rule=Decompose(_var_decompose),
        reference=_var_reference,
        attrs=VarAttrs,
        samples=reduction_samples(FLOAT, extra={"correction": 1}),
        error=8.0,
    ),
    reduction(
        "logsumexp",
        "log Σ exp(x) over dims",
        "add",
        FLOAT,
        Vjp(("x", "out"), _logsumexp_vjp),
        infer=infer_reduction("logsumexp", FLOAT, nonempty=True),
        rule=Decompose(_logsumexp_decompose),
        reference=_logsumexp_reference,
        samples=reduction_samples(FLOAT, nonempty=True, extra={}),
        error=8.0,
    ),
)
