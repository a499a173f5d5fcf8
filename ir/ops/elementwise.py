"""Elementwise primitives of two and three operands.

An op's docstring is its formula; operands have equal shapes and dtypes. Division by zero of
integers raises; other arithmetic of integers wraps. `smelt.ir.scalar_reference` says what the
scalar operations mean in every corner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, scalar_reference
from smelt.ir.dtypes import Kind
from smelt.ir.errors import IntegerDivisionError
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import BITS, FLOAT, INTEGER, REAL, Kinds
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import INTEGER_DIVISION_BY_ZERO, DataCheck, Stage, elementwise
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


Rule = Callable[[Rules, Saved, Operand], Gradients]


def _add_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x + y;  backward gx = g, gy = g."""
    return g, g


def _sub_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x - y;  backward gx = g, gy = -g."""
    return g, (r("neg", g) if s.needs[1] else None)


def _mul_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x * y;  backward gx = g * y, gy = g * x."""
    return (
        r("mul", g, s["y"]) if s.needs[0] else None,
        r("mul", g, s["x"]) if s.needs[1] else None,
    )


@pointwise.widened
def _div_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x / y;  backward gx = g / y, gy = -(g / y) * (x / y)."""
    gx = r("div", g, s["y"])
    if not s.needs[1]:
        return gx, None
    return gx, r("neg", r("mul", gx, r("div", s["x"], s["y"])))


@pointwise.widened
def _mod_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x - y * floor(x / y);  backward gx = g, gy = -g * floor(x / y)."""
    if not s.needs[1]:
        return g, None
    return g, r("neg", r("mul", g, r("floordiv", s["x"], s["y"])))


@pointwise.widened
def _rem_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x - y * trunc(x / y);  backward gx = g, gy = -g * trunc(x / y)."""
    if not s.needs[1]:
        return g, None
    quotient = r("trunc", r("div", s["x"], s["y"]))
    return g, r("neg", r("mul", g, quotient))


def _extreme_vjp(worse: str) -> Rule:
    def rule(r: Rules, s: Saved, g: Operand) -> Gradients:
        """Forward out = max(x, y);  backward gx = g where x > y, g / 2 where equal, else 0."""
        x, y = s["x"], s["y"]
        half, zero = r.scale(g, 0.5), r.full_like(g, 0.0)
        tie = r("eq", x, y)

        def share(mine: Operand, other: Operand) -> Operand:
            return r("where", tie, half, r("where", r(worse, mine, other), zero, g))

        return (
            share(x, y) if s.needs[0] else None,
            share(y, x) if s.needs[1] else None,
        )

    return rule


@pointwise.widened
def _pow_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x ** y;  backward gx = g * y * x ** (y - 1), gy = g * out * log(x).

    gx is 0 where y = 0, and gy where x = 0 and y >= 0.
    """
    x, y = s["x"], s["y"]
    zero, one = r.full_like(g, 0.0), r.full_like(g, 1.0)
    gx = gy = None
    if s.needs[0]:
        flat = r("eq", y, zero)
        # The exponent is made 1 where y is 0, so that no NaN arises there to be differentiated.
        power = r("pow", x, r("sub", r("where", flat, one, y), one))
        gx = r("where", flat, zero, r("mul", g, r("mul", y, power)))
    if s.needs[1]:
        flat = r("bitwise_and", r("eq", x, zero), r("ge", y, zero))
        log = r("log", r("where", flat, one, x))
        gy = r("where", flat, zero, r("mul", g, r("mul", s["out"], log)))
    return gx, gy


@pointwise.widened
def _atan2_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = angle of (y, x);  backward gx = g * y / (x² + y²), gy = -g * x / (x² + y²)."""
    x, y = s["x"], s["y"]
    square = r("add", r("mul", x, x), r("mul", y, y))
    # At the origin there is no angle; the gradient is taken to be 0.
    origin = r("eq", square, r.full_like(square, 0.0))
    scaled = r("div", g, r("where", origin, r.full_like(square, 1.0), square))
    return (
        r("mul", scaled, y) if s.needs[0] else None,
        r("neg", r("mul", scaled, x)) if s.needs[1] else None,
    )


def _copysign_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = |x| with the sign of y;  backward gx = g * out / x (0 where x = 0), gy = 0."""
    gy = r.full_like(g, 0.0) if s.needs[1] else None
    if not s.needs[0]:
        return None, gy
    sign = r("mul", r("sign", s["x"]), r("copysign", r.full_like(g, 1.0), s["y"]))
    return r("mul", g, sign), gy


def _division_check(x: Expr, y: Expr) -> DataCheck:
    zero = Const(0, y.dtype)
    return DataCheck(
        scalar.apply("ne", y, zero),
        INTEGER_DIVISION_BY_ZERO,
        scalar.cast(x, dtypes.int64),
        scalar.integer(0),
    )


def _division_reference(name: str) -> pointwise.Reference:
    inner = pointwise.reference(name)

    def reference(xp: Any, attrs: Any, x: Array, y: Array) -> Array:
        if x.dtype.kind in "iu" and not y.all():
            raise IntegerDivisionError("ZeroDivisionError")
        return inner(xp, attrs, x, y)

    return reference


def _pow_body(x: Expr, y: Expr) -> Expr:
    """Return x ** y; of integers with y < 0 the reciprocal truncated: 0 but for x = 1, -1."""
    if y.dtype.kind is not Kind.INT:
        return scalar.apply("pow", x, y)
    zero, one, minus = (Const(v, y.dtype) for v in (0, 1, -1))
    odd = scalar.apply("ne", scalar.apply("and", y, one), zero)
    unit = scalar.select(
        scalar.apply("eq", x, minus),
        scalar.select(odd, minus, one),
        scalar.select(scalar.apply("eq", x, one), one, zero),
    )
    whole = scalar.apply("pow", x, scalar.apply("max", y, zero))
    return scalar.select(scalar.apply("lt", y, zero), unit, whole)


def _pow_reference(xp: Any, attrs: Any, x: Array, y: Array) -> Array:
    if x.dtype.kind != "i" or not (negative := y < 0).any():
        return xp.asarray(scalar_reference.evaluate("pow", x, y), order="C")
    unit = xp.where(x == -1, xp.where(y & 1 != 0, -1, 1), x == 1).astype(x.dtype)
    whole = xp.power(x, xp.maximum(y, 0))
    return xp.asarray(xp.where(negative, unit, whole), order="C")


def _binary_samples(kinds: Kinds, positive: bool, divides: bool) -> Callable[[], Iterator[Sample]]:
    """Return samples of a binary op: every dtype, empty, 0-d, strided, special values."""

    def samples() -> Iterator[Sample]:
        for dtype in (*dtypes.ALL[:9], *dtypes.FLOATS):
            if dtype.kind not in kinds:
                continue
            x, y = (sampling.normal(2, 3, dtype=dtype, seed=k) for k in (1, 2))
            if dtype.kind is not Kind.BOOL:
                if dtype.is_floating_point and positive:
                    x = np.abs(x) + x.dtype.type(0.5)
                if divides or not dtype.is_floating_point:
                    y = np.where(y == 0, y.dtype.type(3), y)
            yield Sample((x, y), {})
            if dtype in (dtypes.float32, dtypes.int32, dtypes.bool_):
                yield Sample((x[0, 0, ...].copy(), y[0, 0, ...].copy()), {})
                yield Sample((x[:, :0], y[:, :0]), {})
                yield Sample((sampling.strided(x), y), {})
            if dtype.is_floating_point:
                yield Sample(sampling.special_pairs(dtype), {}, differentiable=False)
            elif dtype.kind is Kind.INT:
                ends = np.iinfo(dtype.numpy)
                x = np.array([ends.min, ends.max, ends.min, -7, 7, -1], dtype.numpy)
                y = np.array([-1, 2, 3, 2, -2, dtype.bits - 1], dtype.numpy)
                yield Sample((x, y), {})

    return samples


def _binary(
    name: str,
    doc: str,
    kinds: Kinds,
    vjp: Vjp | NoVjp,
    operation: str = "",
    *,
    positive: bool = False,
    divides: bool = False,
) -> OpDef:
    operation = operation or name
    compares = scalar.SCALAR_OPS[operation].typing is scalar.Typing.COMPARE
    result = dtypes.bool_ if compares else None
    checks = divides and Kind.INT in kinds
    return OpDef(
        name,
        doc,
        ("x", "y"),
        infer=inference.pointwise(name, ("x", "y"), kinds, result),
        rule=Lower(
            pointwise.checked(operation, _division_check)
            if checks
            else pointwise.definition(_pow_body if name == "pow" else operation)
        ),
        vjp=vjp,
        samples=_binary_samples(kinds, positive, divides),
        reference=(
            _division_reference(operation)
            if checks
            else _pow_reference
            if name == "pow"
            else pointwise.reference(operation, None if result is None else result.numpy)
        ),
        error=16.0 if name in ("pow", "atan2") else 4.0,
    )


_BOOL = NoVjp("its result is bool")


_INTEGER = NoVjp("its operands are integers")


_ARITHMETIC = (
    _binary("add", "x + y", REAL, Vjp((), _add_vjp)),
    _binary("sub", "x - y", REAL, Vjp((), _sub_vjp)),
    _binary("mul", "x * y", REAL, Vjp(("x", "y"), _mul_vjp)),
    _binary("div", "x / y", FLOAT, Vjp(("x", "y"), _div_vjp), divides=True),
    _binary(
        "floordiv",
        "x / y rounded down",
        REAL,
        Vjp((), pointwise.zero_gradient),
        divides=True,
    ),
    _binary(
        "mod", "x - y * floor(x / y), with y's sign", REAL, Vjp(("x", "y"), _mod_vjp), divides=True
    ),
    _binary("truncdiv", "x / y rounded towards 0", INTEGER, _INTEGER, divides=True),
    _binary(
        "rem", "x - y * trunc(x / y), with x's sign", REAL, Vjp(("x", "y"), _rem_vjp), divides=True
    ),
    _binary(
        "maximum",
        "the greater of x and y; NaN if either is",
        inference.ANY,
        Vjp(("x", "y"), _extreme_vjp("lt")),
        "max",
    ),
    _binary(
        "minimum",
        "the lesser of x and y; NaN if either is",
        inference.ANY,
        Vjp(("x", "y"), _extreme_vjp("gt")),
        "min",
    ),
    _binary("pow", "x to the power y", REAL, Vjp(("x", "y", "out"), _pow_vjp), positive=True),
    _binary("atan2", "angle of the point (y, x)", FLOAT, Vjp(("x", "y"), _atan2_vjp)),
    _binary("copysign", "|x| with the sign of y", FLOAT, Vjp(("x", "y"), _copysign_vjp)),
    _binary("mulhi", "upper half of the double-width product", INTEGER, _INTEGER),
)


_BITWISE = (
    _binary("bitwise_and", "x and y, bit by bit", BITS, _INTEGER, "and"),
    _binary("bitwise_or", "x or y, bit by bit", BITS, _INTEGER, "or"),
    _binary("bitwise_xor", "x exclusive-or y, bit by bit", BITS, _INTEGER, "xor"),
    _binary("shl", "x * 2**y; 0 where y is outside [0, bits)", INTEGER, _INTEGER),
    _binary("shr", "floor(x / 2**y); the sign where y is outside [0, bits)", INTEGER, _INTEGER),
)


_COMPARISONS = (
    _binary("eq", "x = y", inference.ANY, _BOOL),
    _binary("ne", "x ≠ y", inference.ANY, _BOOL),
    _binary("lt", "x < y", inference.ANY, _BOOL),
    _binary("le", "x ≤ y", inference.ANY, _BOOL),
    _binary("gt", "x > y", inference.ANY, _BOOL),
    _binary("ge", "x ≥ y", inference.ANY, _BOOL),
)


def _where_infer(attrs: Any, *types: TensorType) -> tuple[TensorType, ...]:
    names = ("cond", "x", "y")
    inference.expect_dtype("where", "cond", types[0], dtypes.bool_)
    inference.expect_kind("where", "x", types[1], inference.ANY)
    inference.expect_same_dtype("where", names[1:], types[1:])
    inference.expect_same_shape("where", names, types)
    return (types[1],)


_BLEND = 1 << 10


def _where_reference(xp: Any, attrs: Any, cond: Array, x: Array, y: Array) -> Array:
    if x.size < _BLEND:
        return xp.asarray(xp.where(cond, x, y), order="C")
    # y ^ ((x ^ y) & mask) on the bits: no branch for the processor to mispredict.
    bits = np.dtype(f"u{x.dtype.itemsize}")
    out = xp.empty(x.shape, bits)
    xp.bitwise_xor(x.view(bits), y.view(bits), out=out)
    xp.multiply(out, cond, out=out)
    xp.bitwise_xor(out, y.view(bits), out=out)
    return out.view(x.dtype)


def _where_define(attrs: Any, *types: TensorType) -> Stage:
    cond, x, y = (Read(k, t.dtype) for k, t in enumerate(types))
    return elementwise(scalar.select(cond, x, y), types)


def _where_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x where cond, else y;  backward gx = g where cond, else 0; gy the rest."""
    zero = r.full_like(g, 0.0)
    return (
        None,
        r("where", s["cond"], g, zero) if s.needs[1] else None,
        r("where", s["cond"], zero, g) if s.needs[2] else None,
    )


def _where_samples() -> Iterator[Sample]:
    cond = sampling.normal(2, 3, dtype=dtypes.bool_)
    for dtype in (dtypes.bool_, dtypes.int64, *dtypes.FLOATS):
        x, y = (sampling.normal(2, 3, dtype=dtype, seed=k) for k in (1, 2))
        yield Sample((cond, x, y), {})
        yield Sample((sampling.strided(cond), sampling.strided(x), y), {})
    special = sampling.special()
    yield Sample((special > 0, special, -special), {}, differentiable=False)
    yield Sample((np.array(True), np.array(1.5), np.array(np.nan)), {}, differentiable=False)
    empty = np.zeros((0, 2), np.float32)
    yield Sample((empty > 0, empty, empty), {})
    for dtype in (dtypes.bool_, dtypes.float32):
        cond, x, y = (
            sampling.normal(33, 40, dtype=d, seed=3) for d in (dtypes.bool_, dtype, dtype)
        )
        yield Sample((cond, sampling.strided(x), -y if dtype.is_floating_point else ~y), {})


OPS: tuple[OpDef, ...] = (
    *_ARITHMETIC,
    *_BITWISE,
    *_COMPARISONS,
    OpDef(
        "where",
        "x where cond, else y",
        ("cond", "x", "y"),
        infer=_where_infer,
        rule=Lower(_where_define),
        vjp=Vjp(("cond",), _where_vjp),
        samples=_where_samples,
        reference=_where_reference,
    ),
)
