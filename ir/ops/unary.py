"""Elementwise primitives of one operand: rounding, tests, and the elementary functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import Kind
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import BITS, FLOAT, REAL, Kinds

Derivative = Callable[[Rules, Operand, Operand], Operand]
Range = tuple[float, float]


def _of_operand(derivative: Derivative) -> Vjp:
    """Return the vjp y = f(x);  gx = derivative(g, x)."""

    @pointwise.widened
    def rule(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
        return (derivative(r, g, s["x"]),)

    return Vjp(("x",), rule)


def _of_result(derivative: Derivative) -> Vjp:
    """Return the vjp y = f(x);  gx = derivative(g, y)."""

    @pointwise.widened
    def rule(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
        return (derivative(r, g, s["out"]),)

    return Vjp(("out",), rule)


def _of_nothing(derivative: Callable[[Rules, Operand], Operand]) -> Vjp:
    """Return the vjp y = f(x);  gx = derivative(g)."""

    def rule(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
        return (derivative(r, g),)

    return Vjp((), rule)


def _square(r: Rules, x: Operand) -> Operand:
    return r("mul", x, x)


def _one_minus(r: Rules, x: Operand) -> Operand:
    return r("sub", r.full_like(x, 1.0), x)


def _gauss(factor: float) -> Derivative:
    """Return g, x -> factor * g * exp(-x²)."""

    def derivative(r: Rules, g: Operand, x: Operand) -> Operand:
        return r("mul", g, r.scale(r("exp", r("neg", _square(r, x))), factor))

    return derivative


def _over_root(sign: float, shift: float, square: float) -> Derivative:
    """Return g, x -> sign * g / sqrt(shift + square * x²)."""

    def derivative(r: Rules, g: Operand, x: Operand) -> Operand:
        inner = _square(r, x)
        inner = r("neg", inner) if square < 0 else inner
        quotient = r("div", g, r("sqrt", r.shift(inner, shift)))
        return r("neg", quotient) if sign < 0 else quotient

    return derivative


_ZERO = Vjp((), pointwise.zero_gradient)
_NEG = _of_nothing(lambda r, g: r("neg", g))
_ABS = _of_operand(lambda r, g, x: r("mul", g, r("sign", x)))

_SQRT = _of_result(lambda r, g, y: r("div", g, r.scale(y, 2.0)))
_EXP = _of_result(lambda r, g, y: r("mul", g, y))
_EXPM1 = _of_result(lambda r, g, y: r("mul", g, r.shift(y, 1.0)))
_EXP2 = _of_result(lambda r, g, y: r("mul", g, r.scale(y, math.log(2.0))))
_LOG = _of_operand(lambda r, g, x: r("div", g, x))
_LOG2 = _of_operand(lambda r, g, x: r("div", g, r.scale(x, math.log(2.0))))
_LOG10 = _of_operand(lambda r, g, x: r("div", g, r.scale(x, math.log(10.0))))
_LOG1P = _of_operand(lambda r, g, x: r("div", g, r.shift(x, 1.0)))
_SIN = _of_operand(lambda r, g, x: r("mul", g, r("cos", x)))
_COS = _of_operand(lambda r, g, x: r("neg", r("mul", g, r("sin", x))))
_TAN = _of_result(lambda r, g, y: r("mul", g, r.shift(_square(r, y), 1.0)))
_ASIN = _of_operand(_over_root(1.0, 1.0, -1.0))
_ACOS = _of_operand(_over_root(-1.0, 1.0, -1.0))
_ATAN = _of_operand(lambda r, g, x: r("div", g, r.shift(_square(r, x), 1.0)))
_SINH = _of_operand(lambda r, g, x: r("mul", g, r("cosh", x)))
_COSH = _of_operand(lambda r, g, x: r("mul", g, r("sinh", x)))
_TANH = _of_result(lambda r, g, y: r("mul", g, _one_minus(r, _square(r, y))))
_ASINH = _of_operand(_over_root(1.0, 1.0, 1.0))
_ACOSH = _of_operand(_over_root(1.0, -1.0, 1.0))
_ATANH = _of_operand(lambda r, g, x: r("div", g, _one_minus(r, _square(r, x))))
_ERF = _of_operand(_gauss(2.0 / math.sqrt(math.pi)))
_ERFC = _of_operand(_gauss(-2.0 / math.sqrt(math.pi)))


def _samples(kinds: Kinds, within: Range, smooth: bool) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        for dtype in (*dtypes.ALL[:9], *dtypes.FLOATS):
            if dtype.kind not in kinds:
                continue
            if dtype.is_floating_point:
                x = sampling.uniform(*within, 2, 3, dtype=dtype, seed=1)
                yield Sample((sampling.special(dtype),), {}, differentiable=False)
                # Longer than a vector, with a remainder.
                long = sampling.uniform(*within, 75, dtype=dtype, seed=2)
                yield Sample((long,), {}, differentiable=False)
            else:
                x = sampling.normal(2, 3, dtype=dtype, seed=1)
            yield Sample((x,), {}, differentiable=smooth)
            if dtype in (dtypes.float32, dtypes.int32, dtypes.bool_):
                yield Sample((x[1, 1, ...].copy(),), {}, differentiable=smooth)
                yield Sample((x[:0],), {}, differentiable=smooth)
                yield Sample((sampling.strided(x),), {}, differentiable=smooth)
            if dtype.kind is Kind.INT:
                ends = np.iinfo(dtype.numpy)
                yield Sample((np.array([ends.min, ends.max, 0], dtype.numpy),), {})

    return samples


def _unary(
    name: str,
    doc: str,
    kinds: Kinds,
    vjp: Vjp | NoVjp,
    operation: str = "",
    *,
    within: Range = (-2.0, 2.0),
    error: float = 8.0,
    smooth: bool = True,
) -> OpDef:
    operation = operation or name
    tests = scalar.SCALAR_OPS[operation].typing is scalar.Typing.TEST
    result = dtypes.bool_ if tests else None
    return OpDef(
        name,
        doc,
        ("x",),
        infer=inference.pointwise(name, ("x",), kinds, result),
        rule=Lower(pointwise.definition(operation)),
        vjp=vjp,
        samples=_samples(kinds, within, smooth),
        reference=pointwise.reference(operation, None if result is None else result.numpy),
        error=error,
    )


def _bool(doc: str) -> dict[str, Any]:
    return {"doc": doc, "kinds": FLOAT, "vjp": NoVjp("its result is bool")}


OPS: tuple[OpDef, ...] = (
    _unary("neg", "-x", REAL, _NEG),
    _unary("abs", "|x|", REAL, _ABS),
    _unary("sign", "-1, 0 or 1; NaN of NaN", REAL, _ZERO),
    _unary("bitwise_not", "complement of x, bit by bit", BITS, NoVjp("of integers"), "not"),
    _unary("floor", "x rounded down", FLOAT, _ZERO),
    _unary("ceil", "x rounded up", FLOAT, _ZERO),
    _unary("trunc", "x rounded towards 0", FLOAT, _ZERO),
    _unary("round", "x rounded to nearest, ties to even", FLOAT, _ZERO),
    _unary("isnan", **_bool("whether x is NaN")),
    _unary("isfinite", **_bool("whether x is neither NaN nor infinite")),
    _unary("sqrt", "√x", FLOAT, _SQRT, within=(0.5, 4.0)),
    _unary("exp", "eˣ", FLOAT, _EXP),
    _unary("expm1", "eˣ - 1", FLOAT, _EXPM1),
    _unary("exp2", "2ˣ", FLOAT, _EXP2),
    _unary("log", "natural logarithm of x", FLOAT, _LOG, within=(0.5, 4.0)),
    _unary("log2", "base-2 logarithm of x", FLOAT, _LOG2, within=(0.5, 4.0)),
    _unary("log10", "base-10 logarithm of x", FLOAT, _LOG10, within=(0.5, 4.0)),
    _unary("log1p", "log(1 + x)", FLOAT, _LOG1P, within=(-0.5, 3.0)),
    _unary("sin", "sine of x", FLOAT, _SIN),
    _unary("cos", "cosine of x", FLOAT, _COS),
    _unary("tan", "tangent of x", FLOAT, _TAN, within=(-1.2, 1.2)),
    _unary("asin", "arc sine of x", FLOAT, _ASIN, within=(-0.9, 0.9)),
    _unary("acos", "arc cosine of x", FLOAT, _ACOS, within=(-0.9, 0.9)),
    _unary("atan", "arc tangent of x", FLOAT, _ATAN),
    _unary("sinh", "hyperbolic sine of x", FLOAT, _SINH),
    _unary("cosh", "hyperbolic cosine of x", FLOAT, _COSH),
    _unary("tanh", "hyperbolic tangent of x", FLOAT, _TANH),
    _unary("asinh", "inverse hyperbolic sine of x", FLOAT, _ASINH),
    _unary("acosh", "inverse hyperbolic cosine of x", FLOAT, _ACOSH, within=(1.2, 4.0)),
    _unary("atanh", "inverse hyperbolic tangent of x", FLOAT, _ATANH, within=(-0.9, 0.9)),
    _unary("erf", "2/√π ∫₀ˣ exp(-t²) dt", FLOAT, _ERF),
    _unary("erfc", "1 - erf(x), accurate where erf(x) is near 1", FLOAT, _ERFC),
)
