"""Activation functions: elementwise composites."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from smelt.ir import scalar_reference
from smelt.ir.errors import ArgumentError
from smelt.ir.op import Decompose, NoAttrs, OpDef, Operand, Rules, Saved, Vjp
from smelt.ir.ops import inference
from smelt.ir.ops.composites import composite, filled, in_float, samples, unary_vjp
from smelt.ir.ops.inference import FLOAT, REAL
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class SoftplusAttrs:
    """Sharpness, and the value of beta * x above which the result is x."""

    beta: float = 1.0
    threshold: float = 20.0


@dataclass(frozen=True, slots=True)
class SlopeAttrs:
    """The slope for negative operands."""

    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class AlphaAttrs:
    """The scale for negative operands."""

    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class GeluAttrs:
    """Which formula: with erf, or the approximation with tanh."""

    approximate: Literal["none", "tanh"] = "none"


@in_float
def _sigmoid(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    one = r.full_like(x, 1.0)
    return r("div", one, r("add", one, r("exp", r("neg", x))))


@filled
def _sigmoid_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    one = x.dtype.type(1)
    xp.negative(x, out=out)
    xp.exp(out, out=out)
    xp.add(out, one, out=out)
    xp.divide(one, out, out=out)


@unary_vjp("out")
def _sigmoid_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = 1 / (1 + exp(-x));  backward gx = g * out * (1 - out)."""
    return r("mul", g, r("mul", out, r("sub", r.full_like(out, 1.0), out)))


def _relu(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("maximum", x, r.full_like(x, 0))


def _relu_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    out = xp.empty(x.shape, x.dtype)
    out.fill(0)
    # NumPy takes the maximum of two arrays with vector instructions, but not that with a scalar.
    return xp.maximum(x, out, out=out)


def _relu_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = max(x, 0);  backward gx = g where out > 0, else 0 (at 0 too)."""
    out = s["out"]
    zero = r.full_like(out, 0.0)
    return (r("where", r("le", out, zero), zero, g),)


def _log_sigmoid_of(r: Rules, x: Operand) -> Operand:
    low = r("minimum", x, r.full_like(x, 0.0))
    return r("sub", low, r("log1p", r("exp", r("neg", r("abs", x)))))


@in_float
def _log_sigmoid(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return _log_sigmoid_of(r, x)


@filled
def _log_sigmoid_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.abs(x, out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.log1p(out, out=out)
    xp.subtract(xp.minimum(x, x.dtype.type(0)), out, out=out)


@unary_vjp("x")
def _log_sigmoid_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = log σ(x);  backward gx = g * σ(-x)."""
    return r("mul", g, r("sigmoid", r("neg", x)))


@in_float
def _softplus(r: Rules, attrs: SoftplusAttrs, x: Operand) -> Operand:
    scaled = r.scale(x, attrs.beta)
    soft = r.scale(r("log1p", r("exp", scaled)), 1.0 / attrs.beta)
    return r("where", r("gt", scaled, r.full_like(x, attrs.threshold)), x, soft)


@filled
def _softplus_array(xp: Any, attrs: SoftplusAttrs, out: Array, x: Array) -> None:
    number = x.dtype.type
    scaled = xp.multiply(x, number(attrs.beta))
    xp.exp(scaled, out=out)
    xp.log1p(out, out=out)
    xp.multiply(out, number(1.0 / attrs.beta), out=out)
    xp.copyto(out, x, where=scaled > number(attrs.threshold))


@unary_vjp("x")
def _softplus_vjp(r: Rules, attrs: SoftplusAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = log(1 + exp(βx)) / β;  backward gx = g * σ(βx), g above the threshold."""
    scaled = r.scale(x, attrs.beta)
    linear = r("gt", scaled, r.full_like(x, attrs.threshold))
    return r("where", linear, g, r("mul", g, r("sigmoid", scaled)))


@in_float
def _silu(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("mul", x, r("sigmoid", x))


@filled
def _silu_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    one = x.dtype.type(1)
    xp.negative(x, out=out)
    xp.exp(out, out=out)
    xp.add(out, one, out=out)
    xp.divide(one, out, out=out)
    xp.multiply(x, out, out=out)


@unary_vjp("x")
def _silu_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x σ(x);  backward gx = g * σ(x) * (1 + x * (1 - σ(x)))."""
    gate = r("sigmoid", x)
    inner = r("mul", x, r("sub", r.full_like(x, 1.0), gate))
    return r("mul", g, r("mul", gate, r.shift(inner, 1.0)))


@in_float
def _leaky_relu(r: Rules, attrs: SlopeAttrs, x: Operand) -> Operand:
    return r("where", r("gt", x, r.full_like(x, 0.0)), x, r.scale(x, attrs.slope))


@filled
def _leaky_relu_array(xp: Any, attrs: SlopeAttrs, out: Array, x: Array) -> None:
    xp.multiply(x, x.dtype.type(attrs.slope), out=out)
    xp.copyto(out, x, where=x > 0)


@unary_vjp("x")
def _leaky_relu_vjp(r: Rules, attrs: SlopeAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x where x > 0, else slope x;  backward gx = g, or slope g."""
    return r("where", r("gt", x, r.full_like(x, 0.0)), g, r.scale(g, attrs.slope))


@in_float
def _elu(r: Rules, attrs: AlphaAttrs, x: Operand) -> Operand:
    zero = r.full_like(x, 0.0)
    below = r.scale(r("expm1", r("minimum", x, zero)), attrs.alpha)
    return r("where", r("gt", x, zero), x, below)


@filled
def _elu_array(xp: Any, attrs: AlphaAttrs, out: Array, x: Array) -> None:
    xp.minimum(x, x.dtype.type(0), out=out)
    xp.expm1(out, out=out)
    xp.multiply(out, x.dtype.type(attrs.alpha), out=out)
    xp.copyto(out, x, where=x > 0)


@unary_vjp("x")
def _elu_vjp(r: Rules, attrs: AlphaAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x where x > 0, else α (eˣ - 1);  backward gx = g, or g α eˣ."""
    zero = r.full_like(x, 0.0)
    below = r("mul", g, r.scale(r("exp", r("minimum", x, zero)), attrs.alpha))
    return r("where", r("le", x, zero), below, g)


_SQRT_HALF = math.sqrt(0.5)


_TANH_SCALE = math.sqrt(2.0 / math.pi)


_TANH_CUBE = 0.044715


def _gelu_infer(attrs: GeluAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if attrs.approximate not in ("none", "tanh"):
        raise ArgumentError(
            f"gelu: approximate must be 'none' or 'tanh', but is {attrs.approximate!r}"
        )
    return inference.pointwise("gelu", ("x",), FLOAT)(attrs, *types)


def _normal_cdf(r: Rules, x: Operand) -> Operand:
    """Return Φ(x) = (1 + erf(x / √2)) / 2."""
    return r.scale(r.shift(r("erf", r.scale(x, _SQRT_HALF)), 1.0), 0.5)


def _gelu_tanh(r: Rules, x: Operand) -> Operand:
    """Return tanh(√(2/π) (x + 0.044715 x³))."""
    square = r("mul", x, x)
    inner = r("mul", x, r.shift(r.scale(square, _TANH_SCALE * _TANH_CUBE), _TANH_SCALE))
    return r("tanh", inner)


@in_float
def _gelu(r: Rules, attrs: GeluAttrs, x: Operand) -> Operand:
    if attrs.approximate == "none":
        return r("mul", x, _normal_cdf(r, x))
    return r("mul", r.scale(x, 0.5), r.shift(_gelu_tanh(r, x), 1.0))


@filled
def _gelu_array(xp: Any, attrs: GeluAttrs, out: Array, x: Array) -> None:
    number = x.dtype.type
    if attrs.approximate == "none":
        xp.multiply(x, number(_SQRT_HALF), out=out)
        out[...] = scalar_reference.FUNCTIONS["erf"](out)
    else:
        xp.multiply(x, x, out=out)
        xp.multiply(out, number(_TANH_SCALE * _TANH_CUBE), out=out)
        xp.add(out, number(_TANH_SCALE), out=out)
        xp.multiply(out, x, out=out)
        xp.tanh(out, out=out)
    xp.add(out, number(1), out=out)
    xp.multiply(out, number(0.5), out=out)
    xp.multiply(out, x, out=out)


@unary_vjp("x")
def _gelu_vjp(r: Rules, attrs: GeluAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x Φ(x);  backward gx = g * (Φ(x) + x φ(x)).

    With tanh: out = x (1 + t) / 2, gx = g * ((1 + t) / 2 + x (1 - t²) u' / 2), where u' is the
    derivative of tanh's operand.
    """
    square = r("mul", x, x)
    if attrs.approximate == "none":
        density = r.scale(r("exp", r.scale(square, -0.5)), 1.0 / math.sqrt(2.0 * math.pi))
        return r("mul", g, r("add", _normal_cdf(r, x), r("mul", x, density)))
    t = _gelu_tanh(r, x)
    inner = r.shift(r.scale(square, 3.0 * _TANH_SCALE * _TANH_CUBE), _TANH_SCALE)
    steep = r("mul", r("sub", r.full_like(t, 1.0), r("mul", t, t)), inner)
    return r("mul", g, r.scale(r("add", r.shift(t, 1.0), r("mul", x, steep)), 0.5))


OPS: tuple[OpDef, ...] = (
    composite("sigmoid", "σ(x) = 1 / (1 + exp(-x))", _sigmoid, _sigmoid_array, _sigmoid_vjp),
    composite(
        "relu", "max(x, 0)", Decompose(_relu), _relu_reference, Vjp(("out",), _relu_vjp), REAL
    ),
    composite(
        "log_sigmoid", "log σ(x)", _log_sigmoid, _log_sigmoid_array, _log_sigmoid_vjp, error=16.0
    ),
    composite(
        "softplus",
        "log(1 + exp(beta x)) / beta; x where beta x > threshold",
        _softplus,
        _softplus_array,
        _softplus_vjp,
        attrs=SoftplusAttrs,
        samples=samples(FLOAT, {}, {"beta": 2.0, "threshold": 5.0}),
        error=16.0,
    ),
    composite("silu", "x σ(x)", _silu, _silu_array, _silu_vjp),
    composite(
        "leaky_relu",
        "x where x > 0, else slope x",
        _leaky_relu,
        _leaky_relu_array,
        _leaky_relu_vjp,
        attrs=SlopeAttrs,
        samples=samples(FLOAT, {}, {"slope": 0.2}),
    ),
    composite(
        "elu",
        "x where x > 0, else alpha (eˣ - 1)",
        _elu,
        _elu_array,
        _elu_vjp,
        attrs=AlphaAttrs,
        samples=samples(FLOAT, {}, {"alpha": 0.5}),
    ),
    composite(
        "gelu",
        "x Φ(x), Φ the distribution function of the normal distribution",
        _gelu,
        _gelu_array,
        _gelu_vjp,
        infer=_gelu_infer,
        attrs=GeluAttrs,
        samples=samples(FLOAT, {}, {"approximate": "tanh"}),
        error=16.0,
    ),
)
