"""Losses over two tensors of one type; those over classes are in `class_losses`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from smelt.ir import dtypes
from smelt.ir.op import Decompose, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.class_losses import Reduction, reduced
from smelt.ir.types import TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class LossAttrs:
    """Attributes of a loss without parameters."""

    reduction: Reduction = "mean"


@dataclass(frozen=True, slots=True)
class SmoothL1Attrs:
    """Attributes of `smooth_l1_loss`: quadratic below beta."""

    beta: float = 1.0
    reduction: Reduction = "mean"


@dataclass(frozen=True, slots=True)
class HuberAttrs:
    """Attributes of `huber_loss`: quadratic below delta."""

    delta: float = 1.0
    reduction: Reduction = "mean"


@dataclass(frozen=True, slots=True)
class KlDivAttrs:
    """Attributes of `kl_div`: whether the target is given as logarithms."""

    log_target: bool = False
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean"


def _scalar_type(attrs: Any, x: TensorType) -> TensorType:
    return x if attrs.reduction == "none" else TensorType(x.dtype, ())


def _infer(op: str, at_most: int = 0) -> Callable[..., tuple[TensorType, ...]]:
    """Return the inference of a loss on equal types, with up to `at_most` tensors of weights."""

    def infer(
        attrs: Any, x: TensorType, y: TensorType, *weights: TensorType
    ) -> tuple[TensorType, ...]:
        expect.floating(op, x=x, y=y)
        expect.same_type(op, x=x, y=y, **{f"weight{k}": w for k, w in enumerate(weights)})
        count = len(weights)
        expect.argument(op, count <= at_most, f"takes at most {at_most} weights, not {count}")
        if attrs.reduction != "batchmean" or op != "kl_div":
            expect.reduction(op, attrs.reduction)
        for name in ("beta", "delta"):
            value: float = getattr(attrs, name, 1.0)
            fits = value > 0 or (name == "beta" and value == 0)
            expect.argument(op, fits, f"{name} must be positive, not {value}")
        return (_scalar_type(attrs, x),)

    return infer


Elementwise = Callable[..., Operand]


def _loss(elementwise: Elementwise) -> Decompose:
    """Return the decomposition: `elementwise(r, attrs, *operands)` in wide dtype, reduced."""

    def rule(r: Rules, attrs: Any, *operands: Operand) -> Operand:
        dtype = r.type(operands[0]).dtype
        loss = elementwise(r, attrs, *(r.cast(x, dtype.accumulator) for x in operands))
        return r.cast(_reduce(r, attrs.reduction, loss), dtype)

    return Decompose(rule)


def _reduce(r: Rules, reduction: str, loss: Operand) -> Operand:
    if reduction != "batchmean":
        return reduced(r, reduction, loss)
    type = r.type(loss)
    total = r.sum(loss, tuple(range(type.rank)))
    rows = r("dim_value", dim=type.shape[0]) if type.rank else None
    return total if rows is None else r("div", total, r.cast(rows, type.dtype))


def _mse(r: Rules, attrs: LossAttrs, x: Operand, y: Operand) -> Operand:
    d = r("sub", x, y)
    return r("mul", d, d)


def _l1(r: Rules, attrs: LossAttrs, x: Operand, y: Operand) -> Operand:
    return r("abs", r("sub", x, y))


def _bent(r: Rules, x: Operand, y: Operand, bend: float, scale: float) -> Operand:
    """Return scale * (d*d/2 where |d| < bend, else bend*(|d| - bend/2)), with d = x - y."""
    d = r("sub", x, y)
    size = r("abs", d)
    square = r.scale(r("mul", d, d), 0.5 * scale)
    line = r.scale(r.shift(size, -0.5 * bend), bend * scale)
    return r("where", r("lt", size, r.full_like(size, bend)), square, line)


def _smooth_l1(r: Rules, attrs: SmoothL1Attrs, x: Operand, y: Operand) -> Operand:
    if attrs.beta == 0.0:
        return r("abs", r("sub", x, y))
    return _bent(r, x, y, attrs.beta, 1.0 / attrs.beta)


def _huber(r: Rules, attrs: HuberAttrs, x: Operand, y: Operand) -> Operand:
    return _bent(r, x, y, attrs.delta, 1.0)


def _kl_div(r: Rules, attrs: KlDivAttrs, x: Operand, y: Operand) -> Operand:
    if attrs.log_target:
        return r("mul", r("exp", y), r("sub", y, x))
    positive = r("gt", y, r.full_like(y, 0.0))
    one = r.full_like(y, 1.0)
    entropy = r("mul", y, r("log", r("where", positive, y, one)))
    return r("sub", entropy, r("mul", y, x))


def _bce(r: Rules, attrs: LossAttrs, x: Operand, y: Operand) -> Operand:
    lowest = r.full_like(x, -100.0)
    log_x = r("maximum", r("log", x), lowest)
    log_rest = r("maximum", r("log1p", r("neg", x)), lowest)
    rest = r("sub", y, r.full_like(y, 1.0))
    return r("sub", r("mul", rest, log_rest), r("mul", y, log_x))


def _bce_with_logits(
    r: Rules, attrs: LossAttrs, x: Operand, y: Operand, *positive_weight: Operand
) -> Operand:
    # log(1 + exp(-x)) without overflow.
    tail = r("log1p", r("exp", r("neg", r("abs", x))))
    zero = r.full_like(x, 0.0)
    log = r("add", tail, r("maximum", r("neg", x), zero))
    for w in positive_weight:
        factor = r.shift(r("mul", r.shift(w, -1.0), y), 1.0)
        log = r("mul", factor, log)
    return r("add", r("mul", r("sub", r.full_like(y, 1.0), y), x), log)


def _spread_cotangent(r: Rules, attrs: Any, g: Operand, x: Operand) -> Operand:
    """Return the cotangent of each element's loss, in the dtype of the work."""
    type = r.type(x)
    g = r.cast(g, type.dtype)
    if attrs.reduction == "none":
        return g
    if attrs.reduction == "mean":
        count = r.cast(r("dim_value", dim=type.size), type.dtype)
        g = r("div", g, count)
    return r.expand(g, type.shape)


def _bce_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = g * (x - y) / max(x * (1 - x), 1e-12), gy = g * (log(1 - x) - log(x))."""
    dtype = s.input_types[0].dtype
    x, y = (r.cast(s[n], dtype.accumulator) for n in ("x", "y"))
    g = _spread_cotangent(r, s.attrs, g, x)
    gx = gy = None
    if s.needs[0]:
        spread = r("mul", r("sub", r.full_like(x, 1.0), x), x)
        spread = r("maximum", spread, r.full_like(x, 1e-12))
        gx = r.cast(r("mul", g, r("div", r("sub", x, y), spread)), dtype)
    if s.needs[1]:
        # As in PyTorch, the bound on the logarithms does not count here.
        slope = r("sub", r("log1p", r("neg", x)), r("log", x))
        gy = r.cast(r("mul", g, slope), dtype)
    return gx, gy


def _bce_with_logits_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: with w = 1 + (p - 1) * y and u = sigmoid(-x), gx = g * (1 - y - w * u)."""
    dtype = s.input_types[0].dtype
    x, y, *weights = (r.cast(v, dtype.accumulator) for v in (s["x"], s["y"], *s["weights"]))
    g = _spread_cotangent(r, s.attrs, g, x)
    one = r.full_like(y, 1.0)
    log = r("neg", r("log_sigmoid", x)) if weights else None
    results: list[Operand | None] = [None] * len(s.needs)
    if s.needs[0]:
        slope = r("sigmoid", r("neg", x))
        for w in weights:
            slope = r("mul", slope, r.shift(r("mul", r.shift(w, -1.0), y), 1.0))
        results[0] = r.cast(r("mul", g, r("sub", r("sub", one, y), slope)), dtype)
    if s.needs[1]:
        gy = r("neg", x)
        for w in weights:
            gy = r("add", gy, r("mul", r.shift(w, -1.0), log))
        results[1] = r.cast(r("mul", g, gy), dtype)
    for k in range(len(weights)):
        if s.needs[2 + k]:
            results[2 + k] = r.cast(r("mul", g, r("mul", y, log)), dtype)
    return tuple(results)


# Samples


def _pairs(
    make: Callable[..., tuple[sampling.Array, ...]], *attrs: dict[str, Any]
) -> Callable[[], Iterable[Sample]]:
    """Return samples over dtypes, layouts and reductions; `make(shape, dtype)` gives operands."""

    def samples() -> Iterable[Sample]:
        for k, reduction in enumerate(("none", "mean", "sum")):
            for extra in attrs or ({},):
                dtype = dtypes.float64 if k else dtypes.float32
                yield Sample(make((3, 2), dtype), {"reduction": reduction, **extra})
        yield Sample(make((2, 2), dtypes.float16), {"reduction": "mean"})
        yield Sample(make((), dtypes.float64), {"reduction": "mean"})
        yield Sample(make((0, 2), dtypes.float32), {"reduction": "sum"})
        x, *others = make((2, 3), dtypes.float64)
        yield Sample((sampling.strided(x), *others), {"reduction": "mean"})

    return samples


def _any_numbers(shape: tuple[int, ...], dtype: dtypes.DType) -> tuple[sampling.Array, ...]:
    return tuple(sampling.normal(*shape, dtype=dtype, seed=seed) for seed in (0, 1))


def _probabilities(shape: tuple[int, ...], dtype: dtypes.DType) -> tuple[sampling.Array, ...]:
    return tuple(sampling.uniform(0.1, 0.9, *shape, dtype=dtype, seed=s) for s in (0, 1))


def _logits(shape: tuple[int, ...], dtype: dtypes.DType) -> tuple[sampling.Array, ...]:
    return (sampling.normal(*shape, dtype=dtype), _probabilities(shape, dtype)[1])


def _weighted_logits() -> Iterable[Sample]:
    yield from _pairs(_logits)()
    x, y = _logits((2, 3), dtypes.float64)
    weight = sampling.uniform(0.5, 2.0, 2, 3, dtype=dtypes.float64)
    yield Sample((x, y, weight), {"reduction": "mean"})
    extreme = np.array([-200.0, -20.0, 20.0, 200.0])
    yield Sample((extreme, np.array([0.0, 1.0, 0.0, 1.0])), {"reduction": "none"})


def _certain() -> Iterable[Sample]:
    yield from _pairs(_probabilities)()
    ends = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
    target = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
    yield Sample((ends, target), {"reduction": "none"}, differentiable=False)


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="mse_loss",
        doc="(x - y)**2, reduced",
        operands=("x", "y"),
        attrs=LossAttrs,
        infer=_infer("mse_loss"),
        rule=_loss(_mse),
        vjp=None,
        samples=_pairs(_any_numbers),
    ),
    OpDef(
        name="l1_loss",
        doc="|x - y|, reduced",
        operands=("x", "y"),
        attrs=LossAttrs,
        infer=_infer("l1_loss"),
        rule=_loss(_l1),
        vjp=None,
        samples=_pairs(_any_numbers),
    ),
    OpDef(
        name="smooth_l1_loss",
        doc="d**2 / (2 * beta) where d = |x - y| < beta, else d - beta / 2, reduced",
        operands=("x", "y"),
        attrs=SmoothL1Attrs,
        infer=_infer("smooth_l1_loss"),
        rule=_loss(_smooth_l1),
        vjp=None,
        samples=_pairs(_any_numbers, {"beta": 1.0}, {"beta": 0.3}, {"beta": 0.0}),
    ),
    OpDef(
        name="huber_loss",
        doc="d**2 / 2 where d = |x - y| < delta, else delta * (d - delta / 2), reduced",
        operands=("x", "y"),
        attrs=HuberAttrs,
        infer=_infer("huber_loss"),
        rule=_loss(_huber),
        vjp=None,
        samples=_pairs(_any_numbers, {"delta": 1.0}, {"delta": 0.4}),
    ),
    OpDef(
        name="kl_div",
        doc="y * (log(y) - x), reduced; x holds logarithms",
        operands=("x", "y"),
        attrs=KlDivAttrs,
        infer=_infer("kl_div"),
        rule=_loss(_kl_div),
        vjp=None,
        samples=_pairs(_probabilities, {}, {"log_target": True}),
    ),
    OpDef(
        name="bce_loss",
        doc="-(y * log(x) + (1 - y) * log(1 - x)), logarithms at least -100, reduced",
        operands=("x", "y"),
        attrs=LossAttrs,
        infer=_infer("bce_loss"),
        rule=_loss(_bce),
        vjp=Vjp(("x", "y"), _bce_vjp),
        samples=_certain,
    ),
    OpDef(
        name="bce_with_logits",
        doc="(1 - y) * x + (1 + (weight - 1) * y) * log(1 + exp(-x)), reduced",
        operands=("x", "y", "*weights"),
        attrs=LossAttrs,
        infer=_infer("bce_with_logits", 1),
        rule=_loss(_bce_with_logits),
        vjp=Vjp(("x", "y", "weights"), _bce_with_logits_vjp),
        samples=_weighted_logits,
    ),
)
