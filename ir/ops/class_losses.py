"""Losses over classes: negative log-likelihood and cross entropy.

Classes lie along dimension 1 of x[n, c, *d], or dimension 0 of x[c]; a target of class numbers has
the shape of x without that dimension.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.op import Decompose, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.indexing import check_range
from smelt.ir.ops.nn import log_softmax_array, widen
from smelt.ir.types import Shape, TensorType

Array = Any
Reduction = Literal["none", "mean", "sum"]


@dataclass(frozen=True, slots=True)
class NllLossAttrs:
    """Attributes of `nll_loss`: targets equal to ignore_index count for nothing."""

    ignore_index: int = -100
    reduction: Reduction = "mean"


@dataclass(frozen=True, slots=True)
class CrossEntropyAttrs:
    """Attributes of `cross_entropy`."""

    ignore_index: int = -100
    reduction: Reduction = "mean"
    label_smoothing: float = 0.0


@dataclass(frozen=True, slots=True)
class SoftCrossEntropyAttrs:
    """Attributes of `soft_cross_entropy`, whose targets are probabilities of the classes."""

    reduction: Reduction = "mean"
    label_smoothing: float = 0.0


def reduced(r: Rules, reduction: str, loss: Operand) -> Operand:
    """Return the loss of all elements, their mean or their sum."""
    dims = tuple(range(r.type(loss).rank))
    if reduction == "none" or not dims:
        return loss
    return r("mean" if reduction == "mean" else "sum", loss, dims=dims)


def _class_dim(x: TensorType) -> int:
    return 0 if x.rank == 1 else 1


def _without(shape: Shape, dim: int) -> Shape:
    return shape[:dim] + shape[dim + 1 :]


def _check(
    op: str, reduction: str, x: TensorType, target: TensorType, weight: tuple[TensorType, ...]
) -> Shape:
    """Check the operands and return the shape of the loss of all elements."""
    expect.floating(op, x=x)
    expect.at_least_rank(op, 1, x=x)
    dim = _class_dim(x)
    expect.argument(op, len(weight) <= 1, f"takes one weight, not {len(weight)}")
    for w in weight:
        expect.same_dtype(op, x=x, weight=w)
        expect.of_shape(op, (x.shape[dim],), weight=w)
    expect.reduction(op, reduction)
    return _without(x.shape, dim)


def _infer_nll(
    attrs: NllLossAttrs, x: TensorType, target: TensorType, *weight: TensorType
) -> tuple[TensorType, ...]:
    return _infer_indexed("nll_loss", attrs.reduction, x, target, weight)


def _infer_cross_entropy(
    attrs: CrossEntropyAttrs, x: TensorType, target: TensorType, *weight: TensorType
) -> tuple[TensorType, ...]:
    _check_smoothing("cross_entropy", attrs.label_smoothing)
    return _infer_indexed("cross_entropy", attrs.reduction, x, target, weight)


def _check_smoothing(op: str, amount: float) -> None:
    expect.argument(op, 0.0 <= amount <= 1.0, f"label_smoothing must be in [0, 1], but is {amount}")


def _infer_indexed(
    op: str, reduction: str, x: TensorType, target: TensorType, weight: tuple[TensorType, ...]
) -> tuple[TensorType, ...]:
    shape = _check(op, reduction, x, target, weight)
    expect.indices(op, target=target)
    expect.of_shape(op, shape, target=target)
    return (TensorType(x.dtype, shape if reduction == "none" else ()),)


def _infer_soft(
    attrs: SoftCrossEntropyAttrs, x: TensorType, target: TensorType, *weight: TensorType
) -> tuple[TensorType, ...]:
    op = "soft_cross_entropy"
    shape = _check(op, attrs.reduction, x, target, weight)
    _check_smoothing(op, attrs.label_smoothing)
    expect.same_type(op, x=x, target=target)
    return (TensorType(x.dtype, shape if attrs.reduction == "none" else ()),)


# Decompositions


@dataclass(frozen=True)
class _Targets:
    """The targets of a loss in graph form.

    Attributes:
        valid: bool, whether a target counts.
        safe: the targets, 0 where they do not count.
        weights: what each target weighs, 0 where it does not count; in the dtype of the work.
    """

    valid: Operand
    safe: Operand
    weights: Operand


def _targets(
    r: Rules, target: Operand, ignore_index: int, weight: tuple[Operand, ...], dtype: DType
) -> _Targets:
    ignored = r.full_like(target, ignore_index)
    valid = r("ne", target, ignored)
    safe = r("where", valid, target, r.full_like(target, 0))
    if not weight:
        return _Targets(valid, safe, r.cast(valid, dtype))
    each = r("index", r.cast(weight[0], dtype), safe, dims=(0,))
    return _Targets(valid, safe, r("where", valid, each, r.full_like(each, 0.0)))


def _picked(r: Rules, logp: Operand, targets: _Targets, dim: int) -> Operand:
    shape = r.type(targets.safe).shape
    index = r.unsqueeze(targets.safe, (dim,))
    return r.reshape(r("gather", logp, index, dim=dim), shape)


def _finish(r: Rules, reduction: str, loss: Operand, weights: Operand) -> Operand:
    dims = tuple(range(r.type(loss).rank))
    if reduction == "none":
        return loss
    total = r.sum(loss, dims)
    return total if reduction == "sum" else r("div", total, r.sum(weights, dims))


def _nll(r: Rules, logp: Operand, targets: _Targets, dim: int) -> Operand:
    """Return the loss of all elements."""
    picked = r("mul", r("neg", _picked(r, logp, targets, dim)), targets.weights)
    return r("where", targets.valid, picked, r.full_like(picked, 0.0))


def _nll_rule(
    r: Rules, attrs: NllLossAttrs, x: Operand, target: Operand, *weight: Operand
) -> Operand:
    type = r.type(x)
    work = type.dtype.accumulator
    targets = _targets(r, target, attrs.ignore_index, weight, work)
    loss = _nll(r, r.cast(x, work), targets, _class_dim(type))
    return r.cast(_finish(r, attrs.reduction, loss, targets.weights), type.dtype)


def _cross_entropy_rule(
    r: Rules, attrs: CrossEntropyAttrs, x: Operand, target: Operand, *weight: Operand
) -> Operand:
    type = r.type(x)
    work, dim = type.dtype.accumulator, _class_dim(type)
    logp = r("log_softmax", r.cast(x, work), dim=dim)
    targets = _targets(r, target, attrs.ignore_index, weight, work)
    loss = _nll(r, logp, targets, dim)
    if attrs.label_smoothing > 0.0:
        spread = _weigh_classes(r, logp, weight, dim)
        smooth = r("neg", r.sum(spread, (dim,)))
        smooth = r("where", targets.valid, smooth, r.full_like(smooth, 0.0))
        smooth = _shared(r, smooth, attrs.label_smoothing, type)
        loss = r("add", r.scale(loss, 1.0 - attrs.label_smoothing), smooth)
    return r.cast(_finish(r, attrs.reduction, loss, targets.weights), type.dtype)


def _shared(r: Rules, value: Operand, amount: float, x: TensorType) -> Operand:
    """Return `value * amount / c`, with c the number of classes of x."""
    count, type = x.shape[_class_dim(x)], r.type(value)
    if isinstance(count, int):
        return r.scale(value, amount / max(count, 1))
    size = r.cast(r("dim_value", dim=count), type.dtype)
    return r("div", r.scale(value, amount), r.expand(size, type.shape))


def _over_classes(r: Rules, w: Operand, like: TensorType, dim: int) -> Operand:
    """Return one number a class, spread over the shape of the logits, in their dtype."""
    others = tuple(d for d in range(like.rank) if d != dim)
    return r.spread(r.cast(w, like.dtype), others, like.shape)


def _weigh_classes(r: Rules, logp: Operand, weight: tuple[Operand, ...], dim: int) -> Operand:
    for w in weight:
        logp = r("mul", logp, _over_classes(r, w, r.type(logp), dim))
    return logp


def _soft_rule(
    r: Rules, attrs: SoftCrossEntropyAttrs, x: Operand, target: Operand, *weight: Operand
) -> Operand:
    type = r.type(x)
    work, dim = type.dtype.accumulator, _class_dim(type)
    logp = _weigh_classes(r, r("log_softmax", r.cast(x, work), dim=dim), weight, dim)
    target = r.cast(target, work)
    if attrs.label_smoothing > 0.0:
        smoothed = r.scale(target, 1.0 - attrs.label_smoothing)
        even = _shared(r, r.full_like(target, 1.0), attrs.label_smoothing, type)
        target = r("add", smoothed, even)
    loss = r("neg", r.sum(r("mul", logp, target), (dim,)))
    return r.cast(reduced(r, attrs.reduction, loss), type.dtype)


# Derivatives


def _element_cotangent(r: Rules, reduction: str, g: Operand, targets: _Targets) -> Operand:
    """Return the cotangent of each element's loss."""
    type = r.type(targets.weights)
    g = r.cast(g, type.dtype)
    if reduction == "none":
        return g
    if reduction == "mean":
        g = r("div", g, r.sum(targets.weights, tuple(range(type.rank))))
    return r.expand(g, type.shape)


def _hit(r: Rules, targets: _Targets, shape: Shape, dim: int) -> Operand:
    """Return whether each class is the target, with the shape of the logits."""
    number = r("iota", shape=shape, dim=dim, dtype=dtypes.int64)
    return r("eq", number, r.spread(targets.safe, (dim,), shape))


def _class_cotangent(r: Rules, s: Saved, g: Operand, smoothing: float) -> tuple[Operand, int]:
    """Return the cotangent of the logarithms of the probabilities, and the class dimension."""
    x = s.input_types[0]
    work, dim = x.dtype.accumulator, _class_dim(x)
    targets = _targets(r, s["target"], s.attrs.ignore_index, s["weight"], work)
    g = r("neg", _element_cotangent(r, s.attrs.reduction, g, targets))
    g = r("where", targets.valid, g, r.full_like(g, 0.0))
    aimed = r("mul", g, targets.weights)
    if smoothing > 0.0:
        aimed = r.scale(aimed, 1.0 - smoothing)
    aimed = r.spread(aimed, (dim,), x.shape)
    result = r("where", _hit(r, targets, x.shape, dim), aimed, r.full_like(aimed, 0.0))
    if smoothing > 0.0:
        share = r.spread(_shared(r, g, smoothing, x), (dim,), x.shape)
        result = r("add", result, _weigh_classes(r, share, s["weight"], dim))
    return result, dim


def _none(s: Saved) -> tuple[None, ...]:
    return (None,) * (len(s.needs) - 1)


def _nll_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = -g * weight[target] at the target, 0 elsewhere."""
    cotangent, _ = _class_cotangent(r, s, g, 0.0)
    return (r.cast(cotangent, s.input_types[0].dtype), *_none(s))


def _cross_entropy_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: with gp the cotangent of log_softmax(x), gx = gp - softmax(x) * sum(gp)."""
    x = s.input_types[0]
    cotangent, dim = _class_cotangent(r, s, g, s.attrs.label_smoothing)
    chance = r("softmax", r.cast(s["x"], x.dtype.accumulator), dim=dim)
    total = r.spread(r.sum(cotangent, (dim,)), (dim,), x.shape)
    return (r.cast(r("sub", cotangent, r("mul", chance, total)), x.dtype), *_none(s))


# References


def _nll_array(
    xp: Any, attrs: Any, logp: Array, target: Array, weight: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    """Return the loss of all elements, their weights, and which of them count."""
    dim = 0 if logp.ndim == 1 else 1
    valid = target != attrs.ignore_index
    safe = xp.where(valid, target, 0)
    count = logp.shape[dim]
    check_range(safe, count)
    if count == 0:
        return xp.zeros(target.shape, logp.dtype), xp.zeros(target.shape, logp.dtype), valid
    picked = xp.take_along_axis(logp, xp.expand_dims(safe, dim), axis=dim)
    each = widen(weight[0])[safe] if weight else xp.ones(target.shape, logp.dtype)
    weights = xp.where(valid, each, logp.dtype.type(0))
    loss = -picked.reshape(target.shape) * weights
    return xp.where(valid, loss, logp.dtype.type(0)), weights, valid


def _finish_array(xp: Any, attrs: Any, loss: Array, weights: Array, dtype: Any) -> Array:
    match attrs.reduction:
        case "none":
            result = loss
        case "sum":
            result = loss.sum()
        case _:
            result = loss.sum() / weights.sum()
    return xp.asarray(result).astype(dtype, copy=False)


@np.errstate(all="ignore")
def _nll_reference(xp: Any, attrs: NllLossAttrs, x: Array, target: Array, *weight: Array) -> Array:
    loss, weights, _ = _nll_array(xp, attrs, widen(x), target, weight)
    return _finish_array(xp, attrs, loss, weights, x.dtype)


@np.errstate(all="ignore")
def _cross_entropy_reference(
    xp: Any, attrs: CrossEntropyAttrs, x: Array, target: Array, *weight: Array
) -> Array:
    dim = 0 if x.ndim == 1 else 1
    logp = log_softmax_array(xp, x, dim)
    loss, weights, valid = _nll_array(xp, attrs, logp, target, weight)
    if attrs.label_smoothing > 0.0:
        for w in weight:
            logp = logp * widen(w).reshape(-1, *(1,) * (x.ndim - dim - 1))
        smooth = xp.where(valid, -logp.sum(axis=dim), logp.dtype.type(0))
        share = logp.dtype.type(attrs.label_smoothing / x.shape[dim])
        loss = loss * logp.dtype.type(1.0 - attrs.label_smoothing) + smooth * share
    return _finish_array(xp, attrs, loss, weights, x.dtype)


# Samples


def _indexed_samples(*attrs: dict[str, Any]) -> Iterable[Sample]:
    target = np.array([2, 0, 3, 1])
    ignored = np.array([2, -100, 3, 1])
    weight = np.array([0.5, 1.0, 2.0, 0.25])
    x = sampling.normal(4, 4, dtype=dtypes.float64)
    for extra in attrs:
        for reduction in ("none", "mean", "sum"):
            yield Sample((x, target), {"reduction": reduction, **extra})
            yield Sample((x, ignored, weight), {"reduction": reduction, **extra})
    image = sampling.normal(2, 3, 2, 2, dtype=dtypes.float64)
    classes = np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]])
    yield Sample((image, classes), {"ignore_index": 1})
    yield Sample((x[0], np.asarray(3)), {})
    yield Sample((sampling.normal(3, 5, dtype=dtypes.float16), np.array([4, 0, 1])), {})
    strided = sampling.strided(sampling.normal(3, 5))
    yield Sample((strided, np.array([4, 0, 1, 0, 2, 0])[::2]), {})
    yield Sample((np.zeros((0, 3), np.float32), np.zeros(0, np.int64)), {"reduction": "sum"})


def _cross_entropy_samples() -> Iterable[Sample]:
    yield from _indexed_samples({}, {"label_smoothing": 0.1})
    far = np.array([[1e4, -1e4, 0.0]])
    yield Sample((far, np.array([1])), {})


def _soft_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, dtype=dtypes.float64)
    target = sampling.uniform(0.0, 0.5, 3, 4, dtype=dtypes.float64)
    weight = np.array([0.5, 1.0, 2.0, 0.25])
    for reduction in ("none", "mean", "sum"):
        yield Sample((x, target), {"reduction": reduction})
    yield Sample((x, target, weight), {"label_smoothing": 0.2})
    yield Sample((x[0], target[0]), {})
    yield Sample((x.astype(np.float16), target.astype(np.float16)), {})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="nll_loss",
        doc="-weight[target] * x[target] over classes, reduced; the mean is over the weights",
        operands=("x", "target", "*weight"),
        attrs=NllLossAttrs,
        infer=_infer_nll,
        reference=_nll_reference,
        rule=Decompose(_nll_rule),
        vjp=Vjp(("target", "weight"), _nll_vjp),
        samples=lambda: _indexed_samples({}),
    ),
    OpDef(
        name="cross_entropy",
        doc="nll_loss of log_softmax(x), the targets smoothed over all classes",
        operands=("x", "target", "*weight"),
        attrs=CrossEntropyAttrs,
        infer=_infer_cross_entropy,
        reference=_cross_entropy_reference,
        rule=Decompose(_cross_entropy_rule),
        vjp=Vjp(("x", "target", "weight"), _cross_entropy_vjp),
        samples=_cross_entropy_samples,
    ),
    OpDef(
        name="soft_cross_entropy",
        doc="-sum(target * weight * log_softmax(x)) over classes, reduced",
        operands=("x", "target", "*weight"),
        attrs=SoftCrossEntropyAttrs,
        infer=_infer_soft,
        rule=Decompose(_soft_rule),
        vjp=None,
        samples=_soft_samples,
    ),
)
