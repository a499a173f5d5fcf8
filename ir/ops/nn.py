"""Softmax and attention: composites with references and derivatives that stay in range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.op import Decompose, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.inference import same_shape
from smelt.ir.ops.pointwise import widened
from smelt.ir.types import TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class SoftmaxAttrs:
    """Attributes of `softmax` and `log_softmax`: the dimension along which they normalise."""

    dim: int


@dataclass(frozen=True, slots=True)
class AttentionAttrs:
    """Attributes of `scaled_dot_product_attention`; scale None: 1 / sqrt of the last dimension."""

    causal: bool = False
    scale: float | None = None


def _infer_softmax(attrs: SoftmaxAttrs, x: TensorType) -> tuple[TensorType, ...]:
    expect.floating("softmax", x=x)
    expect.dim_of("softmax", attrs.dim, x)
    return (x,)


def _infer_log_softmax(attrs: SoftmaxAttrs, x: TensorType) -> tuple[TensorType, ...]:
    expect.floating("log_softmax", x=x)
    expect.dim_of("log_softmax", attrs.dim, x)
    return (x,)


def widen(x: Array) -> Array:
    """Return an array in the dtype in which its dtype accumulates, itself if it has it."""
    return x.astype(dtypes.of_numpy(x.dtype).accumulator.numpy, copy=False)


def _shifted(r: Rules, attrs: SoftmaxAttrs, x: Operand) -> Operand:
    """Return x - max(x) in the accumulator's dtype."""
    type = r.type(x)
    work = r.cast(x, type.dtype.accumulator)
    dims = (attrs.dim,)
    return r("sub", work, r.spread(r("amax", work, dims=dims), dims, type.shape))


def _is_void(type: TensorType, dim: int) -> bool:
    extent = type.shape[dim]
    return isinstance(extent, int) and extent == 0


def _softmax_rule(r: Rules, attrs: SoftmaxAttrs, x: Operand) -> Operand:
    type, dims = r.type(x), (attrs.dim,)
    if _is_void(type, attrs.dim):
        return r.full(0.0, type)
    e = r("exp", _shifted(r, attrs, x))
    return r.cast(r("div", e, r.spread(r.sum(e, dims), dims, type.shape)), type.dtype)


def _log_softmax_rule(r: Rules, attrs: SoftmaxAttrs, x: Operand) -> Operand:
    type, dims = r.type(x), (attrs.dim,)
    if _is_void(type, attrs.dim):
        return r.full(0.0, type)
    shifted = _shifted(r, attrs, x)
    log = r("log", r.sum(r("exp", shifted), dims))
    return r.cast(r("sub", shifted, r.spread(log, dims, type.shape)), type.dtype)


@np.errstate(all="ignore")
def softmax_array(xp: Any, x: Array, dim: int) -> Array:
    """Return the softmax of an array along `dim`, in the accumulator's dtype."""
    x = widen(x)
    if x.shape[dim] == 0:
        return xp.empty(x.shape, x.dtype)
    e = xp.subtract(x, x.max(axis=dim, keepdims=True), order="C")
    xp.exp(e, out=e)
    e /= e.sum(axis=dim, keepdims=True)
    return e


@np.errstate(all="ignore")
def log_softmax_array(xp: Any, x: Array, dim: int) -> Array:
    """Return the logarithm of the softmax along `dim`, in the accumulator's dtype."""
    x = widen(x)
    if x.shape[dim] == 0:
        return xp.empty(x.shape, x.dtype)
    shifted = xp.subtract(x, x.max(axis=dim, keepdims=True), order="C")
    shifted -= xp.log(xp.exp(shifted).sum(axis=dim, keepdims=True))
    return shifted


def _softmax(xp: Any, attrs: SoftmaxAttrs, x: Array) -> Array:
    return softmax_array(xp, x, attrs.dim).astype(x.dtype, copy=False)


def _log_softmax(xp: Any, attrs: SoftmaxAttrs, x: Array) -> Array:
    return log_softmax_array(xp, x, attrs.dim).astype(x.dtype, copy=False)


@widened
def _softmax_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Forward y = softmax(x); backward gx = y * (g - sum(g * y))."""
    y, dims = s["out"], (s.attrs.dim,)
    total = r.sum(r("mul", g, y), dims)
    return (r("mul", y, r("sub", g, r.spread(total, dims, r.type(y).shape))),)


@widened
def _log_softmax_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Forward y = log_softmax(x); backward gx = g - exp(y) * sum(g)."""
    y, dims = s["out"], (s.attrs.dim,)
    total = r.spread(r.sum(g, dims), dims, r.type(y).shape)
    return (r("sub", g, r("mul", r("exp", y), total)),)


# Attention


def _infer_attention(
    attrs: AttentionAttrs, q: TensorType, k: TensorType, v: TensorType, *mask: TensorType
) -> tuple[TensorType, ...]:
    op = "scaled_dot_product_attention"
    expect.floating(op, q=q, k=k, v=v)
    expect.same_dtype(op, q=q, k=k, v=v)
    expect.at_least_rank(op, 2, q=q, k=k, v=v)
    batch = q.shape[:-2]
    fits = (
        q.rank == k.rank == v.rank
        and same_shape((*batch, q.shape[-1]), (*k.shape[:-2], k.shape[-1]))
        and same_shape((*batch, k.shape[-2]), v.shape[:-1])
    )
    if not fits:
        expect.mismatch(op, "q [*b,m,d], k [*b,n,d] and v [*b,n,e] do not fit", q=q, k=k, v=v)
    expect.argument(op, len(mask) <= 1, f"takes one mask, not {len(mask)}")
    expect.argument(op, not (mask and attrs.causal), "takes a mask or causal=True, not both")
    for m in mask:
        expect.of_shape(op, (*batch, q.shape[-2], k.shape[-2]), mask=m)
        if m.dtype is not dtypes.bool_:
            expect.same_dtype(op, q=q, mask=m)
    return (TensorType(q.dtype, (*q.shape[:-1], v.shape[-1])),)


def _scaled(r: Rules, attrs: AttentionAttrs, q: Operand) -> Operand:
    """Return q times the scale, by default 1 / sqrt of its last dimension."""
    type = r.type(q)
    depth = type.shape[-1]
    if attrs.scale is not None:
        return r.scale(q, attrs.scale)
    if isinstance(depth, int):
        return r.scale(q, 1.0 / math.sqrt(max(depth, 1)))
    size = r.cast(r("dim_value", dim=depth), type.dtype)
    return r("mul", q, r.expand(r("rsqrt", size), type.shape))


def _masked_softmax(r: Rules, scores: Operand) -> Operand:
    """Return the softmax along the last dimension, 0 where all of a row is -inf."""
    type = r.type(scores)
    dim = type.rank - 1
    if _is_void(type, dim):
        return r.full(0.0, type)
    top = r.spread(r("amax", scores, dims=(dim,)), (dim,), type.shape)
    dead = r("eq", top, r.full_like(top, -math.inf))
    zero = r.full_like(scores, 0.0)
    weights = r("softmax", r("where", dead, zero, scores), dim=dim)
    return r("where", dead, zero, weights)


def _attention_rule(
    r: Rules, attrs: AttentionAttrs, q: Operand, k: Operand, v: Operand, *mask: Operand
) -> Operand:
    dtype, rank = r.type(q).dtype, r.type(q).rank
    work = dtype.accumulator
    q, k, v = (r.cast(x, work) for x in (q, k, v))
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    scores = r("matmul", _scaled(r, attrs, q), r.permute(k, swapped))
    shape = r.type(scores).shape
    if attrs.causal:
        rows = r("iota", shape=shape, dim=rank - 2, dtype=dtypes.int64)
        columns = r("iota", shape=shape, dim=rank - 1, dtype=dtypes.int64)
        kept = r("le", columns, rows)
        scores = r("where", kept, scores, r.full_like(scores, -math.inf))
    for m in mask:
        if r.type(m).dtype is dtypes.bool_:
            scores = r("where", m, scores, r.full_like(scores, -math.inf))
        else:
            scores = r("add", scores, r.cast(m, work))
    weights = _masked_softmax(r, scores) if mask else r("softmax", scores, dim=rank - 1)
    return r.cast(r("matmul", weights, v), dtype)


# Samples


def _softmax_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, dtype=dtypes.float64)
    yield Sample((x,), {"dim": 1})
    yield Sample((x,), {"dim": 0})
    yield Sample((sampling.strided(sampling.normal(2, 3, 2)),), {"dim": 1})
    for dtype in (dtypes.float16, dtypes.bfloat16):
        yield Sample((8 * sampling.normal(2, 5, dtype=dtype),), {"dim": 1})
    special = np.array([[np.inf, 1, 2], [-np.inf, 0, 1], [np.nan, 0, 0], [1e4, -1e4, 0]])
    yield Sample((special.astype(np.float32),), {"dim": 1}, differentiable=False)
    yield Sample((np.full((2, 2), -np.inf, np.float32),), {"dim": 1}, differentiable=False)
    yield Sample((np.zeros((0, 3), np.float32),), {"dim": 1})
    yield Sample((np.zeros((3, 0), np.float32),), {"dim": 1})
    yield Sample((np.zeros((2, 1), np.float64),), {"dim": 1})


def _attention_samples() -> Iterable[Sample]:
    def operands(dtype: dtypes.DType, *batch: int) -> tuple[sampling.Array, ...]:
        q, k, v = (
            sampling.normal(*batch, *shape, dtype=dtype, seed=seed)
            for seed, shape in enumerate([(3, 4), (5, 4), (5, 2)])
        )
        return q, k, v

    yield Sample(operands(dtypes.float64, 2), {"causal": False, "scale": None})
    yield Sample(operands(dtypes.float64), {"causal": True, "scale": 0.7})
    yield Sample(operands(dtypes.float16, 1, 2), {"causal": True, "scale": None})
    q, k, v = operands(dtypes.float32, 2)
    yield Sample((sampling.strided(q), k, v), {"causal": False, "scale": None})
    bias = sampling.normal(2, 3, 5, dtype=dtypes.float64)
    yield Sample((*operands(dtypes.float64, 2), bias), {"causal": False, "scale": None})
    seen = bias > -0.5
    seen[0, 1] = False
    yield Sample((q, k, v, seen), {"causal": False, "scale": None})
    yield Sample((q[:0], k[:0], v[:0]), {"causal": False, "scale": None})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="softmax",
        doc="exp(x) / sum(exp(x)) along dim",
        operands=("x",),
        attrs=SoftmaxAttrs,
        infer=_infer_softmax,
        reference=_softmax,
        rule=Decompose(_softmax_rule),
        vjp=Vjp(("out",), _softmax_vjp),
        samples=_softmax_samples,
    ),
    OpDef(
        name="log_softmax",
        doc="x - log(sum(exp(x))) along dim",
        operands=("x",),
        attrs=SoftmaxAttrs,
        infer=_infer_log_softmax,
        reference=_log_softmax,
        rule=Decompose(_log_softmax_rule),
        vjp=Vjp(("out",), _log_softmax_vjp),
        samples=_softmax_samples,
    ),
    OpDef(
        name="scaled_dot_product_attention",
        doc="softmax(q @ k.T * scale + mask) @ v",
        operands=("q", "k", "v", "*mask"),
        attrs=AttentionAttrs,
        infer=_infer_attention,
        rule=Decompose(_attention_rule),
        vjp=None,
        samples=_attention_samples,
        error=16.0,
    ),
)
