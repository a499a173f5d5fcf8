"""Elementwise composites: activations and the small functions that people write all day.

Half types compute in float32 throughout and round once. References are written for eager speed;
tests hold each to its decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from smelt.ir import dtypes, scalar_reference
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError
from smelt.ir.op import Decompose, NoAttrs, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import FLOAT, REAL, Kinds
from smelt.ir.types import TensorType

Array = Any
Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class ClampAttrs:
    """The bounds; None: unbounded."""

    low: float | None
    high: float | None


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


def _float(rule: Callable[..., Operand]) -> Decompose:
    """Return the decomposition `rule` with half operands in float32 and the result rounded."""

    def wide(r: Rules, attrs: Any, *xs: Operand) -> Operand:
        narrow = r.type(xs[0]).dtype
        if not narrow.is_half:
            return rule(r, attrs, *xs)
        return r.cast(rule(r, attrs, *(r.cast(x, dtypes.float32) for x in xs)), narrow)

    return Decompose(wide)


def _array(rule: Callable[..., Array]) -> Callable[..., Array]:
    """Return the reference that fills a result: `rule(xp, attrs, out, *xs)`, halves in float32."""

    def reference(xp: Any, attrs: Any, *xs: Array) -> Array:
        first = xs[0]
        with np.errstate(all="ignore"):
            if pointwise.is_half(first):
                out = xp.empty(first.shape, np.float32)
                rule(xp, attrs, out, *(x.astype(np.float32) for x in xs))
                return out.astype(first.dtype)
            out = xp.empty(first.shape, first.dtype)
            rule(xp, attrs, out, *xs)
            return out

    return reference


def _vjp(*saves: str) -> Callable[[Callable[..., Operand]], Vjp]:
    """Make a vjp of `rule(r, attrs, g, *saved)`, which gives the cotangent of the one operand."""

    def make(rule: Callable[..., Operand]) -> Vjp:
        @pointwise.widened
        def wrapped(r: Rules, s: Saved, g: Operand) -> Gradients:
            return (rule(r, s.attrs, g, *(s[name] for name in saves)),)

        return Vjp(saves, wrapped)

    return make


@_float
def _reciprocal(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("div", r.full_like(x, 1.0), x)


@_array
def _reciprocal_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.divide(x.dtype.type(1), x, out=out)


@_vjp("out")
def _reciprocal_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = 1 / x;  backward gx = -g * out²."""
    return r("neg", r("mul", g, r("mul", out, out)))


@_float
def _rsqrt(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("div", r.full_like(x, 1.0), r("sqrt", x))


@_array
def _rsqrt_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.sqrt(x, out=out)
    xp.divide(x.dtype.type(1), out, out=out)


@_vjp("out")
def _rsqrt_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = x^(-1/2);  backward gx = -g * out³ / 2."""
    return r("mul", r.scale(g, -0.5), r("mul", out, r("mul", out, out)))


@_float
def _square(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("mul", x, x)


def _square_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    with np.errstate(all="ignore"):
        if pointwise.is_half(x):
            wide = x.astype(np.float32)
            return xp.asarray(wide * wide).astype(x.dtype, order="C")
        return xp.multiply(x, x, out=xp.empty(x.shape, x.dtype))


@_vjp("x")
def _square_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x²;  backward gx = 2 g x."""
    return r("mul", g, r.scale(x, 2.0))


@_float
def _sigmoid(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    one = r.full_like(x, 1.0)
    return r("div", one, r("add", one, r("exp", r("neg", x))))


@_array
def _sigmoid_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    one = x.dtype.type(1)
    xp.negative(x, out=out)
    xp.exp(out, out=out)
    xp.add(out, one, out=out)
    xp.divide(one, out, out=out)


@_vjp("out")
def _sigmoid_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = 1 / (1 + exp(-x));  backward gx = g * out * (1 - out)."""
    return r("mul", g, r("mul", out, r("sub", r.full_like(out, 1.0), out)))


def _isinf(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("eq", r("abs", x), r.full_like(x, math.inf))


def _isinf_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    return xp.isinf(x, out=xp.empty(x.shape, np.bool_))


def _logical_not(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("eq", x, r.full_like(x, 0))


def _logical_not_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    return xp.logical_not(x, out=xp.empty(x.shape, np.bool_))


def _relu(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("maximum", x, r.full_like(x, 0))


def _relu_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    return xp.maximum(x, x.dtype.type(0), out=xp.empty(x.shape, x.dtype))


def _relu_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = max(x, 0);  backward gx = g where out > 0, else 0 (at 0 too)."""
    out = s["out"]
    zero = r.full_like(out, 0.0)
    return (r("where", r("le", out, zero), zero, g),)


def _clamp_infer(attrs: ClampAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    found = inference.pointwise("clamp", ("x",), REAL)(attrs, *types)
    if attrs.low is None and attrs.high is None:
        raise ArgumentError("clamp: at least one of low and high must be given")
    return found


def _bound(value: float, dtype: DType) -> float | int:
    return value if dtype.is_floating_point else int(value)


def _clamp(r: Rules, attrs: ClampAttrs, x: Operand) -> Operand:
    dtype = r.type(x).dtype
    if attrs.low is not None:
        x = r("maximum", x, r.full_like(x, _bound(attrs.low, dtype)))
    if attrs.high is not None:
        x = r("minimum", x, r.full_like(x, _bound(attrs.high, dtype)))
    return x


def _clamp_reference(xp: Any, attrs: ClampAttrs, x: Array) -> Array:
    out = xp.empty(x.shape, x.dtype)
    dtype = dtypes.of_numpy(x.dtype)
    with np.errstate(all="ignore"):
        if attrs.low is not None:
            xp.maximum(x, x.dtype.type(_bound(attrs.low, dtype)), out=out)
            x = out
        if attrs.high is not None:
            xp.minimum(x, x.dtype.type(_bound(attrs.high, dtype)), out=out)
    return out


def _clamp_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x within [low, high];  backward gx = g where low <= x <= high, else 0."""
    x, attrs = s["x"], s.attrs
    zero = r.full_like(g, 0.0)
    if attrs.low is not None:
        g = r("where", r("lt", x, r.full_like(x, attrs.low)), zero, g)
    if attrs.high is not None:
        g = r("where", r("gt", x, r.full_like(x, attrs.high)), zero, g)
    return (g,)


def _log_sigmoid_of(r: Rules, x: Operand) -> Operand:
    low = r("minimum", x, r.full_like(x, 0.0))
    return r("sub", low, r("log1p", r("exp", r("neg", r("abs", x)))))


@_float
def _log_sigmoid(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return _log_sigmoid_of(r, x)


@_array
def _log_sigmoid_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.abs(x, out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.log1p(out, out=out)
    xp.subtract(xp.minimum(x, x.dtype.type(0)), out, out=out)


@_vjp("x")
def _log_sigmoid_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = log σ(x);  backward gx = g * σ(-x)."""
    return r("mul", g, r("sigmoid", r("neg", x)))


@_float
def _softplus(r: Rules, attrs: SoftplusAttrs, x: Operand) -> Operand:
    scaled = r.scale(x, attrs.beta)
    soft = r.scale(r("log1p", r("exp", scaled)), 1.0 / attrs.beta)
    return r("where", r("gt", scaled, r.full_like(x, attrs.threshold)), x, soft)


@_array
def _softplus_array(xp: Any, attrs: SoftplusAttrs, out: Array, x: Array) -> None:
    number = x.dtype.type
    scaled = xp.multiply(x, number(attrs.beta))
    xp.exp(scaled, out=out)
    xp.log1p(out, out=out)
    xp.multiply(out, number(1.0 / attrs.beta), out=out)
    xp.copyto(out, x, where=scaled > number(attrs.threshold))


@_vjp("x")
def _softplus_vjp(r: Rules, attrs: SoftplusAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = log(1 + exp(βx)) / β;  backward gx = g * σ(βx), g above the threshold."""
    scaled = r.scale(x, attrs.beta)
    linear = r("gt", scaled, r.full_like(x, attrs.threshold))
    return r("where", linear, g, r("mul", g, r("sigmoid", scaled)))


@_float
def _silu(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("mul", x, r("sigmoid", x))


@_array
def _silu_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    one = x.dtype.type(1)
    xp.negative(x, out=out)
    xp.exp(out, out=out)
    xp.add(out, one, out=out)
    xp.divide(one, out, out=out)
    xp.multiply(x, out, out=out)


@_vjp("x")
def _silu_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x σ(x);  backward gx = g * σ(x) * (1 + x * (1 - σ(x)))."""
    gate = r("sigmoid", x)
    inner = r("mul", x, r("sub", r.full_like(x, 1.0), gate))
    return r("mul", g, r("mul", gate, r.shift(inner, 1.0)))


@_float
def _leaky_relu(r: Rules, attrs: SlopeAttrs, x: Operand) -> Operand:
    return r("where", r("gt", x, r.full_like(x, 0.0)), x, r.scale(x, attrs.slope))


@_array
def _leaky_relu_array(xp: Any, attrs: SlopeAttrs, out: Array, x: Array) -> None:
    xp.multiply(x, x.dtype.type(attrs.slope), out=out)
    xp.copyto(out, x, where=x > 0)


@_vjp("x")
def _leaky_relu_vjp(r: Rules, attrs: SlopeAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x where x > 0, else slope x;  backward gx = g, or slope g."""
    return r("where", r("gt", x, r.full_like(x, 0.0)), g, r.scale(g, attrs.slope))


@_float
def _elu(r: Rules, attrs: AlphaAttrs, x: Operand) -> Operand:
    zero = r.full_like(x, 0.0)
    below = r.scale(r("expm1", r("minimum", x, zero)), attrs.alpha)
    return r("where", r("gt", x, zero), x, below)


@_array
def _elu_array(xp: Any, attrs: AlphaAttrs, out: Array, x: Array) -> None:
    xp.minimum(x, x.dtype.type(0), out=out)
    xp.expm1(out, out=out)
    xp.multiply(out, x.dtype.type(attrs.alpha), out=out)
    xp.copyto(out, x, where=x > 0)


@_vjp("x")
def _elu_vjp(r: Rules, attrs: AlphaAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x where x > 0, else α (eˣ - 1);  backward gx = g, or g α eˣ."""
    zero = r.full_like(x, 0.0)
    below = r("mul", g, r.scale(r("exp", r("minimum", x, zero)), attrs.alpha))
    return r("where", r("gt", x, zero), g, below)


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


@_float
def _gelu(r: Rules, attrs: GeluAttrs, x: Operand) -> Operand:
    if attrs.approximate == "none":
        return r("mul", x, _normal_cdf(r, x))
    return r("mul", r.scale(x, 0.5), r.shift(_gelu_tanh(r, x), 1.0))


@_array
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


@_vjp("x")
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


@_float
def _lerp(r: Rules, attrs: NoAttrs, a: Operand, b: Operand, w: Operand) -> Operand:
    return r("add", a, r("mul", w, r("sub", b, a)))


@_array
def _lerp_array(xp: Any, attrs: NoAttrs, out: Array, a: Array, b: Array, w: Array) -> None:
    xp.subtract(b, a, out=out)
    xp.multiply(out, w, out=out)
    xp.add(out, a, out=out)


def _samples(kinds: Kinds, *attrs: dict[str, Any]) -> Callable[[], Iterator[Sample]]:
    choices = attrs or ({},)

    def samples() -> Iterator[Sample]:
        for chosen in choices:
            for dtype in (dtypes.bool_, dtypes.int32, *dtypes.FLOATS):
                if dtype.kind not in kinds:
                    continue
                # Away from 0 and 1, where the pieces of most of these functions meet.
                x = sampling.uniform(0.1, 0.9, 2, 3, dtype=dtypes.float64, seed=3)
                signs = np.array([[1.0, -1.0, -2.0], [2.0, -1.0, 3.0]])
                found = np.rint(x * signs * 4) if not dtype.is_floating_point else x * signs
                yield Sample((found.astype(dtype.numpy),), chosen)
            x = sampling.normal(2, 3, 2, seed=4)
            yield Sample((sampling.strided(x),), chosen)
            yield Sample((x[0, 0, 0, ...].copy(),), chosen)
            yield Sample((x[:0],), chosen)
            yield Sample((sampling.special(),), chosen, differentiable=False)
            wide = np.array([-90.0, -30.0, -6.0, 6.0, 19.9, 20.1, 30.0, 90.0])
            yield Sample((wide,), chosen, differentiable=False)

    return samples


def _positive_samples() -> Iterator[Sample]:
    for dtype in dtypes.FLOATS:
        x = sampling.uniform(0.5, 3.0, 2, 3, dtype=dtype, seed=5)
        yield Sample((x,), {})
    yield Sample((sampling.strided(sampling.uniform(0.5, 3.0, 2, 3)),), {})
    yield Sample((np.array(4.0),), {})
    yield Sample((np.zeros((0, 2), np.float32),), {})
    yield Sample((sampling.special(),), {}, differentiable=False)


def _lerp_samples() -> Iterator[Sample]:
    for dtype in dtypes.FLOATS:
        yield Sample(tuple(sampling.normal(2, 3, dtype=dtype, seed=k) for k in range(3)), {})
    a = sampling.normal(2, 3)
    yield Sample((sampling.strided(a), a, a), {})
    yield Sample((a[:0], a[:0], a[:0]), {})


def _composite(
    name: str,
    doc: str,
    rule: Decompose,
    reference: Callable[..., Array],
    vjp: Vjp | NoVjp,
    kinds: Kinds = FLOAT,
    **fields: Any,
) -> OpDef:
    tests = isinstance(vjp, NoVjp)
    defaults: dict[str, Any] = {
        "infer": inference.pointwise(name, ("x",), kinds, dtypes.bool_ if tests else None),
        "samples": _samples(kinds),
        "error": 8.0,
    }
    return OpDef(name, doc, ("x",), rule=rule, reference=reference, vjp=vjp, **(defaults | fields))


_BOOL = NoVjp("its result is bool")

OPS: tuple[OpDef, ...] = (
    _composite(
        "reciprocal",
        "1 / x",
        _reciprocal,
        _reciprocal_array,
        _reciprocal_vjp,
        samples=_positive_samples,
    ),
    _composite("rsqrt", "1 / √x", _rsqrt, _rsqrt_array, _rsqrt_vjp, samples=_positive_samples),
    _composite("square", "x²", _square, _square_reference, _square_vjp, REAL),
    _composite("sigmoid", "σ(x) = 1 / (1 + exp(-x))", _sigmoid, _sigmoid_array, _sigmoid_vjp),
    _composite("isinf", "whether x is infinite", Decompose(_isinf), _isinf_reference, _BOOL),
    _composite(
        "logical_not",
        "whether x is 0 or False",
        Decompose(_logical_not),
        _logical_not_reference,
        _BOOL,
        inference.ANY,
    ),
    _composite(
        "relu", "max(x, 0)", Decompose(_relu), _relu_reference, Vjp(("out",), _relu_vjp), REAL
    ),
    _composite(
        "clamp",
        "min(max(x, low), high)",
        Decompose(_clamp),
        _clamp_reference,
        Vjp(("x",), _clamp_vjp),
        REAL,
        infer=_clamp_infer,
        attrs=ClampAttrs,
        samples=_samples(
            REAL,
            {"low": -1.0, "high": 1.0},
            {"low": None, "high": 0.0},
            {"low": 0.0, "high": None},
        ),
    ),
    _composite(
        "log_sigmoid", "log σ(x)", _log_sigmoid, _log_sigmoid_array, _log_sigmoid_vjp, error=16.0
    ),
    _composite(
        "softplus",
        "log(1 + exp(beta x)) / beta; x where beta x > threshold",
        _softplus,
        _softplus_array,
        _softplus_vjp,
        attrs=SoftplusAttrs,
        samples=_samples(FLOAT, {}, {"beta": 2.0, "threshold": 5.0}),
        error=16.0,
    ),
    _composite("silu", "x σ(x)", _silu, _silu_array, _silu_vjp),
    _composite(
        "leaky_relu",
        "x where x > 0, else slope x",
        _leaky_relu,
        _leaky_relu_array,
        _leaky_relu_vjp,
        attrs=SlopeAttrs,
        samples=_samples(FLOAT, {}, {"slope": 0.2}),
    ),
    _composite(
        "elu",
        "x where x > 0, else alpha (eˣ - 1)",
        _elu,
        _elu_array,
        _elu_vjp,
        attrs=AlphaAttrs,
        samples=_samples(FLOAT, {}, {"alpha": 0.5}),
    ),
    _composite(
        "gelu",
        "x Φ(x), Φ the distribution function of the normal distribution",
        _gelu,
        _gelu_array,
        _gelu_vjp,
        infer=_gelu_infer,
        attrs=GeluAttrs,
        samples=_samples(FLOAT, {}, {"approximate": "tanh"}),
        error=16.0,
    ),
    OpDef(
        "lerp",
        "a + w (b - a)",
        ("a", "b", "w"),
        infer=inference.pointwise("lerp", ("a", "b", "w"), FLOAT),
        rule=_lerp,
        vjp=None,
        samples=_lerp_samples,
        reference=_lerp_array,
    ),
)
