"""Optimiser steps: one composite for each parameter's update, as PyTorch's formulas.

The scalars (learning rate, decay, ...) are 0-d operands of any float dtype, so that a scheduler
changes them without a new program. What depends on scalars alone is computed in float64, as
Python would, and rounded to the dtype of the work, float32 for the half types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.op import Decompose, NoVjp, OpDef, Operand, Rules, Sample
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.nn import widen
from smelt.ir.types import TensorType

Array = Any

_NO_VJP = NoVjp("an optimiser's step is not differentiated through", zero=False)


@dataclass(frozen=True, slots=True)
class PlainSgdAttrs:
    """Attributes of `sgd_plain_step`: whether the objective is maximised."""

    maximize: bool = False


@dataclass(frozen=True, slots=True)
class SgdAttrs:
    """Attributes of `sgd_step`."""

    nesterov: bool = False
    maximize: bool = False


@dataclass(frozen=True, slots=True)
class AdamAttrs:
    """Attributes of `adam_step`; decoupled weight decay is AdamW's."""

    amsgrad: bool = False
    decoupled: bool = False
    maximize: bool = False


def _check(op: str, p: TensorType, others: dict[str, TensorType], **scalars: TensorType) -> None:
    expect.floating(op, p=p, **scalars)
    expect.same_type(op, p=p, **others)
    expect.of_shape(op, (), **scalars)


def _numbered(name: str, types: tuple[TensorType, ...]) -> dict[str, TensorType]:
    return {f"{name}{k}": type for k, type in enumerate(types)}


def _infer_plain(
    attrs: PlainSgdAttrs, p: TensorType, g: TensorType, lr: TensorType, weight_decay: TensorType
) -> tuple[TensorType, ...]:
    _check("sgd_plain_step", p, {"g": g}, lr=lr, weight_decay=weight_decay)
    return (p,)


def _infer_sgd(
    attrs: SgdAttrs,
    p: TensorType,
    g: TensorType,
    lr: TensorType,
    momentum: TensorType,
    dampening: TensorType,
    weight_decay: TensorType,
    *buffer: TensorType,
) -> tuple[TensorType, ...]:
    op = "sgd_step"
    others = {"g": g, **_numbered("buffer", buffer)}
    scalars = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
    _check(op, p, others, lr=lr, **scalars)
    expect.argument(op, len(buffer) <= 1, f"takes one buffer, not {len(buffer)}")
    return p, p


def _infer_adam(
    attrs: AdamAttrs,
    p: TensorType,
    g: TensorType,
    m: TensorType,
    v: TensorType,
    step: TensorType,
    lr: TensorType,
    beta1: TensorType,
    beta2: TensorType,
    eps: TensorType,
    weight_decay: TensorType,
    *vmax: TensorType,
) -> tuple[TensorType, ...]:
    op = "adam_step"
    others = {"g": g, "m": m, "v": v, **_numbered("vmax", vmax)}
    scalars = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    _check(op, p, others, step=step, lr=lr, **scalars)
    wanted = int(attrs.amsgrad)
    expect.argument(op, len(vmax) == wanted, f"takes {wanted} vmax operands, not {len(vmax)}")
    return (p, p, p, step, *vmax)


# Decompositions


@dataclass(frozen=True)
class _Work:
    """Applies ops in the dtype of the work, with scalars spread over the parameter's shape."""

    r: Rules
    type: TensorType

    def __call__(self, op: str, *operands: Operand) -> Operand:
        """Apply an elementwise op to operands of the parameter's shape."""
        return self.r(op, *operands)

    def wide(self, x: Operand) -> Operand:
        """Return a tensor in the dtype of the work."""
        return self.r.cast(x, self.type.dtype)

    def spread(self, scalar: Operand) -> Operand:
        """Return a scalar spread over the parameter's shape, in the dtype of the work."""
        return self.r.expand(self.r.cast(scalar, self.type.dtype), self.type.shape)

    def times(self, x: Operand, scalar: Operand) -> Operand:
        """Return a tensor times a scalar."""
        return self.r("mul", x, self.spread(scalar))

    def gradient(self, p: Operand, g: Operand, weight_decay: Operand, maximize: bool) -> Operand:
        """Return the gradient of what is minimised, decay of the weights included."""
        g = self.r("neg", g) if maximize else g
        return self.r("add", g, self.times(p, weight_decay))


def _work(r: Rules, p: Operand) -> _Work:
    return _Work(r, r.type(p).with_dtype(r.type(p).dtype.accumulator))


def _double(r: Rules, *scalars: Operand) -> tuple[Operand, ...]:
    return tuple(r.cast(x, dtypes.float64) for x in scalars)


def _one_minus(r: Rules, x: Operand) -> Operand:
    return r("sub", r.full_like(x, 1.0), x)


def _plain_rule(
    r: Rules, attrs: PlainSgdAttrs, p: Operand, g: Operand, lr: Operand, weight_decay: Operand
) -> Operand:
    work, dtype = _work(r, p), r.type(p).dtype
    p, g = work.wide(p), work.wide(g)
    g = work.gradient(p, g, weight_decay, attrs.maximize)
    return r.cast(work("sub", p, work.times(g, lr)), dtype)


def _sgd_rule(
    r: Rules,
    attrs: SgdAttrs,
    p: Operand,
    g: Operand,
    lr: Operand,
    momentum: Operand,
    dampening: Operand,
    weight_decay: Operand,
    *buffer: Operand,
) -> tuple[Operand, ...]:
    work, dtype = _work(r, p), r.type(p).dtype
    p, g = work.wide(p), work.wide(g)
    g = work.gradient(p, g, weight_decay, attrs.maximize)
    new = g
    for old in buffer:
        (damping,) = _double(r, dampening)
        fresh = work.times(g, _one_minus(r, damping))
        new = work("add", work.times(work.wide(old), momentum), fresh)
    direction = work("add", g, work.times(new, momentum)) if attrs.nesterov else new
    stepped = work("sub", p, work.times(direction, lr))
    return r.cast(stepped, dtype), r.cast(new, dtype)


def _adam_rule(
    r: Rules,
    attrs: AdamAttrs,
    p: Operand,
    g: Operand,
    m: Operand,
    v: Operand,
    step: Operand,
    lr: Operand,
    beta1: Operand,
    beta2: Operand,
    eps: Operand,
    weight_decay: Operand,
    *vmax: Operand,
) -> tuple[Operand, ...]:
    work, dtype = _work(r, p), r.type(p).dtype
    step = r.shift(step, 1.0)
    count, lr, beta1, beta2, decay = _double(r, step, lr, beta1, beta2, weight_decay)
    correction1 = _one_minus(r, r("pow", beta1, count))
    correction2 = _one_minus(r, r("pow", beta2, count))
    p, g, m, v = (work.wide(x) for x in (p, g, m, v))
    if attrs.decoupled:
        g = r("neg", g) if attrs.maximize else g
        p = work.times(p, _one_minus(r, r("mul", lr, decay)))
    else:
        g = work.gradient(p, g, decay, attrs.maximize)
    m = work("add", m, work.times(work("sub", g, m), _one_minus(r, beta1)))
    square = work("mul", work.times(g, _one_minus(r, beta2)), g)
    v = work("add", work.times(v, beta2), square)
    highest = tuple(work("maximum", work.wide(x), v) for x in vmax)
    root = work("sqrt", highest[0] if highest else v)
    scaled = work("div", root, work.spread(r("sqrt", correction2)))
    denominator = work("add", scaled, work.spread(eps))
    ratio = work("div", work.times(m, r("div", lr, correction1)), denominator)
    results = (work("sub", p, ratio), m, v)
    new = tuple(r.cast(x, dtype) for x in (*results, *highest))
    return (*new[:3], step, *new[3:])


# References


def _gradient(xp: Any, p: Array, g: Array, weight_decay: Any, maximize: bool) -> Array:
    """Return the gradient of what is minimised; a fresh array."""
    total = xp.multiply(p, p.dtype.type(weight_decay), order="C")
    if maximize:
        total -= g
    else:
        total += g
    return total


def _stepped(xp: Any, p: Array, direction: Array, lr: Any, dtype: Any) -> Array:
    out = xp.multiply(direction, p.dtype.type(lr), order="C")
    xp.subtract(p, out, out=out)
    return out.astype(dtype, copy=False)


@np.errstate(all="ignore")
def _plain(
    xp: Any, attrs: PlainSgdAttrs, p: Array, g: Array, lr: Array, weight_decay: Array
) -> Array:
    dtype, shape = p.dtype, p.shape
    p, g = widen(_flat(p)), widen(_flat(g))
    g = _gradient(xp, p, g, weight_decay, attrs.maximize)
    return _stepped(xp, p, g, lr, dtype).reshape(shape)


@np.errstate(all="ignore")
def _sgd(
    xp: Any,
    attrs: SgdAttrs,
    p: Array,
    g: Array,
    lr: Array,
    momentum: Array,
    dampening: Array,
    weight_decay: Array,
    *buffer: Array,
) -> tuple[Array, ...]:
    dtype, shape = p.dtype, p.shape
    p, g = widen(_flat(p)), widen(_flat(g))
    number = p.dtype.type
    g = _gradient(xp, p, g, weight_decay, attrs.maximize)
    new = g
    for old in buffer:
        new = xp.multiply(widen(_flat(old)), number(momentum), order="C")
        damping = 1.0 - float(dampening)
        new += g if damping == 1.0 else g * number(damping)
    direction = new
    if attrs.nesterov:
        direction = new * number(momentum)
        direction += g
    stepped = _stepped(xp, p, direction, lr, dtype)
    return stepped.reshape(shape), new.astype(dtype, copy=False).reshape(shape)


@np.errstate(all="ignore")
def _adam(
    xp: Any,
    attrs: AdamAttrs,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: Array,
    *scalars: Array,
) -> tuple[Array, ...]:
    dtype, shape = p.dtype, p.shape
    lr, beta1, beta2, eps, decay = (float(x) for x in scalars[:5])
    p, g, m, v, *vmax = (widen(_flat(x)) for x in (p, g, m, v, *scalars[5:]))
    number = p.dtype.type
    step = xp.asarray(step + step.dtype.type(1))
    count = float(step)
    correction1, correction2 = 1.0 - beta1**count, 1.0 - beta2**count
    if attrs.decoupled:
        g = -g if attrs.maximize else g
        p = p * number(1.0 - lr * decay)
    else:
        g = _gradient(xp, p, g, decay, attrs.maximize)
    new_m = xp.subtract(g, m)
    new_m *= number(1.0 - beta1)
    new_m += m
    square = g * number(1.0 - beta2)
    square *= g
    new_v = v * number(beta2)
    new_v += square
    highest = tuple(xp.maximum(x, new_v) for x in vmax)
    denominator = xp.sqrt(highest[0] if highest else new_v)
    denominator /= number(correction2**0.5)
    denominator += number(eps)
    ratio = new_m * number(lr / correction1)
    ratio /= denominator
    results = (p - ratio, new_m, new_v, *highest)
    new = tuple(x.astype(dtype, copy=False).reshape(shape) for x in results)
    return (*new[:3], step, *new[3:])


def _flat(x: Array) -> Array:
    """Return an array as one row, so that a 0-d one stays an array under arithmetic."""
    return x.reshape(-1)


# Samples


def _scalar(value: float, dtype: DType = dtypes.float64) -> sampling.Array:
    return np.asarray(value, dtype.numpy)


def _plain_samples() -> Iterable[Sample]:
    for p, g in _parameters():
        yield Sample((p, g, _scalar(0.1), _scalar(0.01)), {}, differentiable=False)
    p, g = next(iter(_parameters()))
    yield Sample((p, g, _scalar(0.1, dtypes.float32), _scalar(0.0)), {"maximize": True})


def _parameters() -> Iterable[tuple[sampling.Array, sampling.Array]]:
    for dtype in (dtypes.float32, dtypes.float64, dtypes.bfloat16):
        yield sampling.normal(2, 3, dtype=dtype), sampling.normal(2, 3, dtype=dtype, seed=1)
    yield sampling.normal(3, 2).T, sampling.strided(sampling.normal(2, 3, seed=1))
    yield sampling.normal(), sampling.normal(seed=1)
    yield sampling.normal(0, 2), sampling.normal(0, 2)


def _sgd_samples() -> Iterable[Sample]:
    scalars = tuple(_scalar(x) for x in (0.1, 0.9, 0.1, 0.01))
    for k, (p, g) in enumerate(_parameters()):
        attrs = {"nesterov": k % 2 == 1, "maximize": k == 1}
        yield Sample((p, g, *scalars), attrs, differentiable=False)
        yield Sample((p, g, *scalars, g * p.dtype.type(0.5)), attrs, differentiable=False)


def _adam_samples() -> Iterable[Sample]:
    scalars = tuple(_scalar(x) for x in (0.01, 0.9, 0.999, 1e-8, 0.02))
    for k, (p, g) in enumerate(_parameters()):
        m, v = g * p.dtype.type(0.5), np.asarray(abs(g) * p.dtype.type(0.25))
        step = _scalar(float(k), dtypes.float32)
        amsgrad = k % 2 == 0
        attrs = {"amsgrad": amsgrad, "decoupled": k % 3 == 0, "maximize": k == 1}
        vmax = (np.asarray(v * p.dtype.type(1.5)),) if amsgrad else ()
        operands = (p, g, np.asarray(m), v, step, *scalars, *vmax)
        yield Sample(operands, attrs, differentiable=False)


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="sgd_plain_step",
        doc="p - lr * (g + weight_decay * p)",
        operands=("p", "g", "lr", "weight_decay"),
        attrs=PlainSgdAttrs,
        infer=_infer_plain,
        reference=_plain,
        rule=Decompose(_plain_rule),
        vjp=_NO_VJP,
        samples=_plain_samples,
    ),
    OpDef(
        name="sgd_step",
        doc="buffer = momentum * buffer + (1 - dampening) * g, p - lr * buffer",
        operands=("p", "g", "lr", "momentum", "dampening", "weight_decay", "*buffer"),
        results=("param", "buffer"),
        attrs=SgdAttrs,
        infer=_infer_sgd,
        reference=_sgd,
        rule=Decompose(_sgd_rule),
        vjp=_NO_VJP,
        samples=_sgd_samples,
    ),
    OpDef(
        name="adam_step",
        doc="p - lr * m_corrected / (sqrt(v_corrected) + eps), moments m and v averaged by beta",
        operands=(
            "p", "g", "m", "v", "step", "lr", "beta1", "beta2", "eps", "weight_decay", "*vmax",
        ),
        results=("param", "m", "v", "step", "*vmax"),
        attrs=AdamAttrs,
        infer=_infer_adam,
        reference=_adam,
        rule=Decompose(_adam_rule),
        vjp=_NO_VJP,
        samples=_adam_samples,
    ),
)  # fmt: skip
