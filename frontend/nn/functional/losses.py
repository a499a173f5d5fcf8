"""Losses."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from smelt.dispatch import apply
from smelt.functions.operands import expect_tensor, op, spread
from smelt.ir.errors import ArgumentError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def _reduction(reduction: str, *more: str) -> str:
    if reduction not in ("none", "mean", "sum", *more):
        raise ArgumentError(f"{reduction} is not a valid value for reduction")
    return reduction


def _pair(function: str, input: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    expect_tensor(input, function, "input")
    expect_tensor(target, function, "target")
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({list(target.shape)}) that is different to the input size "
            f"({list(input.shape)}): they are broadcast, which is rarely meant",
            UserWarning,
            stacklevel=4,
        )
    if target.dtype is not input.dtype:
        target = target.to(input.dtype)
    return spread(function, input, target)


def _loss(name: str, input: Tensor, target: Tensor, reduction: str, **attrs: Any) -> Tensor:
    loss = op(name)
    operands = _pair(name, input, target)
    return apply(loss, operands, loss.attrs(reduction=_reduction(reduction), **attrs))


def mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Return the squared differences, reduced."""
    if weight is None:
        return _loss("mse_loss", input, target, reduction)
    found = mse_loss(input, target, "none") * weight
    if reduction == "mean":
        return found.sum() / weight.expand_as(found).sum()
    return found.sum() if _reduction(reduction) == "sum" else found


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return the absolute differences, reduced."""
    return _loss("l1_loss", input, target, reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere, reduced."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _loss("smooth_l1_loss", input, target, reduction, beta=float(beta))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Return d^2 / 2 where |d| < delta, delta (|d| - delta / 2) elsewhere, reduced."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    return _loss("huber_loss", input, target, reduction, delta=float(delta))


def _expect_batch(function: str, input: Tensor, target: Tensor) -> None:
    expect_tensor(input, function, "input")
    expect_tensor(target, function, "target")
    sizes = input.shape[0] if input.dim() > 1 else 1, target.shape[0] if target.dim() else 1
    if sizes[0] != sizes[1]:
        raise ArgumentError(
            f"{function}: the batch of the input (shape {list(input.shape)}) and of the target "
            f"(shape {list(target.shape)}) differ in size"
        )


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits and classes.

    Args:
        input: logits [N, C, ...] or [C].
        target: classes (int64) [N, ...] or [], or probabilities of the input's shape.
        weight: weight of each class, [C].
        ignore_index: a class that does not count.
        reduction: "none", "mean" or "sum".
        label_smoothing: share of the target spread evenly over the classes.
    """
    expect_tensor(input, "cross_entropy", "input")
    expect_tensor(target, "cross_entropy", "target")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    extra = () if weight is None else (weight,)
    if target.dtype.is_floating_point:
        loss = op("soft_cross_entropy")
        attrs = loss.attrs(reduction=_reduction(reduction), label_smoothing=float(label_smoothing))
        return apply(loss, (input, target.to(input.dtype), *extra), attrs)
    _expect_batch("cross_entropy", input, target)
    loss = op("cross_entropy")
    attrs = loss.attrs(
        ignore_index=ignore_index,
        reduction=_reduction(reduction),
        label_smoothing=float(label_smoothing),
    )
    return apply(loss, (input, target, *extra), attrs)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return minus the log-probability of each target class, weighted and reduced."""
    _expect_batch("nll_loss", input, target)
    loss = op("nll_loss")
    attrs = loss.attrs(ignore_index=ignore_index, reduction=_reduction(reduction))
    extra = () if weight is None else (weight,)
    return apply(loss, (input, target, *extra), attrs)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the cross entropy of probabilities and targets in [0, 1], reduced."""
    if input.shape != target.shape:
        raise ValueError(
            f"Using a target size ({list(target.shape)}) that is different to the input size "
            f"({list(input.shape)}) is deprecated. Please ensure they have the same size."
        )
    if weight is None:
        return _loss("bce_loss", input, target, reduction)
    return _weighted(binary_cross_entropy(input, target, None, "none") * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the cross entropy of sigmoid(input) and targets in [0, 1], reduced."""
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({list(target.shape)}) must be the same as input size "
            f"({list(input.shape)})"
        )
    loss = op("bce_with_logits")
    first = reduction if weight is None else "none"
    operands = (input, target.to(input.dtype))
    if pos_weight is not None:
        operands = (*operands, pos_weight.expand_as(input))
    found = apply(loss, operands, loss.attrs(reduction=_reduction(first)))
    return found if weight is None else _weighted(found * weight, reduction)


def _weighted(found: Tensor, reduction: str) -> Tensor:
    match _reduction(reduction):
        case "mean":
            return found.mean()
        case "sum":
            return found.sum()
        case _:
            return found


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Return target * (log target - input), reduced; "batchmean" divides the sum by N."""
    loss = op("kl_div")
    attrs = loss.attrs(reduction=_reduction(reduction, "batchmean"), log_target=log_target)
    return apply(loss, _pair("kl_div", input, target), attrs)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of counts under Poisson rates, reduced."""
    found = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        found = found + stirling.masked_fill(target <= 1, 0.0)
    return _weighted(found, reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along dim."""
    product = (x1 * x2).sum(dim)
    lengths = x1.norm(2, dim).clamp(min=eps) * x2.norm(2, dim).clamp(min=eps)
    return product / lengths


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - cos for pairs that belong together (1), max(0, cos - margin) for others (-1)."""
    cosine = cosine_similarity(input1, input2, -1)
    alike = (1 - cosine).masked_fill(target != 1, 0.0)
    apart = (cosine - margin).clamp(min=0).masked_fill(target != -1, 0.0)
    return _weighted(alike + apart, reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return max(0, -target * (input1 - input2) + margin), reduced."""
    return _weighted((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Return the input where the target is 1, max(0, margin - input) where it is -1, reduced."""
    alike = input.masked_fill(target == -1, 0.0)
    apart = (margin - input).clamp(min=0).masked_fill(target == 1, 0.0)
    return _weighted(alike + apart, reduction)


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return log(1 + exp(-target * input)), reduced."""
    return _weighted((-target * input).exp().log1p(), reduction)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of x1 - x2 + eps along the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin), reduced."""
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _weighted((near - far + margin).clamp(min=0), reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of targets under normal distributions, reduced."""
    held = var.clamp(min=eps)
    held = var + (held - var).detach()
    found = 0.5 * (held.log() + (input - target) ** 2 / held)
    if full:
        found = found + 0.5 * math.log(2 * math.pi)
    return _weighted(found, reduction)
