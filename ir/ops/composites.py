"""Elementwise composites of arithmetic, and what all elementwise composites share.

Half types compute in float32 throughout and round once. References are written for eager speed;
tests hold each to its decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
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


def in_float(rule: Callable[..., Operand]) -> Decompose:
    """Return the decomposition `rule` with half operands in float32 and the result rounded."""

    def wide(r: Rules, attrs: Any, *xs: Operand) -> Operand:
        narrow = r.type(xs[0]).dtype
        if not narrow.is_half:
            return rule(r, attrs, *xs)
        return r.cast(rule(r, attrs, *(r.cast(x, dtypes.float32) for x in xs)), narrow)

    return Decompose(wide)


def filled(rule: Callable[..., Array]) -> Callable[..., Array]:
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


def unary_vjp(*saves: str) -> Callable[[Callable[..., Operand]], Vjp]:
    """Make a vjp of `rule(r, attrs, g, *saved)`, which gives the cotangent of the one operand."""

    def make(rule: Callable[..., Operand]) -> Vjp:
        @pointwise.widened
        def wrapped(r: Rules, s: Saved, g: Operand) -> Gradients:
            return (rule(r, s.attrs, g, *(s[name] for name in saves)),)

        return Vjp(saves, wrapped)

    return make


@in_float
def _reciprocal(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("div", r.full_like(x, 1.0), x)


@filled
def _reciprocal_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.divide(x.dtype.type(1), x, out=out)


@unary_vjp("out")
def _reciprocal_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = 1 / x;  backward gx = -g * out²."""
    return r("neg", r("mul", g, r("mul", out, out)))


@in_float
def _rsqrt(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("div", r.full_like(x, 1.0), r("sqrt", x))


@filled
def _rsqrt_array(xp: Any, attrs: NoAttrs, out: Array, x: Array) -> None:
    xp.sqrt(x, out=out)
    xp.divide(x.dtype.type(1), out, out=out)


@unary_vjp("out")
def _rsqrt_vjp(r: Rules, attrs: NoAttrs, g: Operand, out: Operand) -> Operand:
    """Forward out = x^(-1/2);  backward gx = -g * out³ / 2."""
    return r("mul", r.scale(g, -0.5), r("mul", out, r("mul", out, out)))


@in_float
def _square(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("mul", x, x)


def _square_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    with np.errstate(all="ignore"):
        if pointwise.is_half(x):
            wide = x.astype(np.float32)
            return xp.asarray(wide * wide).astype(x.dtype, order="C")
        return xp.multiply(x, x, out=xp.empty(x.shape, x.dtype))


@unary_vjp("x")
def _square_vjp(r: Rules, attrs: NoAttrs, g: Operand, x: Operand) -> Operand:
    """Forward out = x²;  backward gx = 2 g x."""
    return r("mul", g, r.scale(x, 2.0))


def _isinf(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("eq", r("abs", x), r.full_like(x, math.inf))


def _isinf_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    return xp.isinf(x, out=xp.empty(x.shape, np.bool_))


def _logical_not(r: Rules, attrs: NoAttrs, x: Operand) -> Operand:
    return r("eq", x, r.full_like(x, 0))


def _logical_not_reference(xp: Any, attrs: NoAttrs, x: Array) -> Array:
    return xp.logical_not(x, out=xp.empty(x.shape, np.bool_))


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
        g = r("where", r("ge", x, r.full_like(x, attrs.low)), g, zero)
    if attrs.high is not None:
        g = r("where", r("le", x, r.full_like(x, attrs.high)), g, zero)
    return (g,)


@in_float
def _lerp(r: Rules, attrs: NoAttrs, a: Operand, b: Operand, w: Operand) -> Operand:
    return r("add", a, r("mul", w, r("sub", b, a)))


@filled
def _lerp_array(xp: Any, attrs: NoAttrs, out: Array, a: Array, b: Array, w: Array) -> None:
    xp.subtract(b, a, out=out)
    xp.multiply(out, w, out=out)
    xp.add(out, a, out=out)


def samples(kinds: Kinds, *attrs: dict[str, Any]) -> Callable[[], Iterator[Sample]]:
    """Return samples of an op of one operand, once for each choice of attributes."""
    choices = attrs or ({},)

    def found() -> Iterator[Sample]:
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

    return found


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


def composite(
    name: str,
    doc: str,
    rule: Decompose,
    reference: Callable[..., Array],
    vjp: Vjp | NoVjp,
    kinds: Kinds = FLOAT,
    **fields: Any,
) -> OpDef:
    """Return a composite of one operand; its result is bool where it has no vjp."""
    tests = isinstance(vjp, NoVjp)
    defaults: dict[str, Any] = {
        "infer": inference.pointwise(name, ("x",), kinds, dtypes.bool_ if tests else None),
        "samples": samples(kinds),
        "error": 8.0,
    }
    return OpDef(name, doc, ("x",), rule=rule, reference=reference, vjp=vjp, **(defaults | fields))


_BOOL = NoVjp("its result is bool")


OPS: tuple[OpDef, ...] = (
    composite(
        "reciprocal",
        "1 / x",
        _reciprocal,
        _reciprocal_array,
        _reciprocal_vjp,
        samples=_positive_samples,
    ),
    composite("rsqrt", "1 / √x", _rsqrt, _rsqrt_array, _rsqrt_vjp, samples=_positive_samples),
    composite("square", "x²", _square, _square_reference, _square_vjp, REAL),
    composite("isinf", "whether x is infinite", Decompose(_isinf), _isinf_reference, _BOOL),
    composite(
        "logical_not",
        "whether x is 0 or False",
        Decompose(_logical_not),
        _logical_not_reference,
        _BOOL,
        inference.ANY,
    ),
    composite(
        "clamp",
        "min(max(x, low), high)",
        Decompose(_clamp),
        _clamp_reference,
        Vjp(("x",), _clamp_vjp),
        REAL,
        infer=_clamp_infer,
        attrs=ClampAttrs,
        samples=samples(
            REAL,
            {"low": -1.0, "high": 1.0},
            {"low": None, "high": 0.0},
            {"low": 0.0, "high": None},
        ),
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
