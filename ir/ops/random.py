"""Random variates: composites over the words of the Philox stream.

They use integer operations and IEEE + - * / sqrt in one fixed order, so that every level gives one
set of bits. The reference of each gives the bits of its decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar_reference
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import DTypeError
from smelt.ir.op import Call, Decompose, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect
from smelt.ir.ops.philox import (
    NO_VJP,
    SEEDED,
    PhiloxAttrs,
    check_state,
    draw,
    draw64,
    joined,
    seeds,
    words,
    words64,
)
from smelt.ir.ops.quantile import normal_quantile, normal_quantile_rule
from smelt.ir.types import Shape, TensorType, static_shape

Array = Any


@dataclass(frozen=True, slots=True)
class UniformAttrs:
    """Attributes of `uniform`: values lie in [low, high)."""

    shape: Shape
    dtype: DType
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class NormalAttrs:
    """Attributes of `normal`."""

    shape: Shape
    dtype: DType
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True, slots=True)
class BernoulliAttrs:
    """Attributes of `bernoulli`: 1 with probability p, else 0."""

    shape: Shape
    dtype: DType
    p: float


@dataclass(frozen=True, slots=True)
class RandintAttrs:
    """Attributes of `randint`: integers in [low, high), as values of `dtype`."""

    shape: Shape
    dtype: DType
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class RandpermAttrs:
    """Attributes of `randperm`: how many numbers are permuted."""

    n: int


@dataclass(frozen=True, slots=True)
class DropoutAttrs:
    """Attributes of `dropout`: the probability that an element becomes zero."""

    p: float


def words_per_element(op: str, dtype: DType | None = None) -> int:
    """Return how many words an op draws for each element of a result of `dtype`."""
    if op in ("randint", "randperm"):
        return 2
    return 2 if op in ("uniform", "normal") and dtype is dtypes.float64 else 1


def words_drawn(op: str, attrs: Any, *input_types: TensorType) -> int | Dim:
    """Return by how much an application of `op` advances the offset: ceil(words / 4).

    Args:
        op: name of a random op.
        attrs: its attributes.
        input_types: types of its operands; needed for `dropout` alone.
    """
    match attrs:
        case PhiloxAttrs(shape, words):
            count = TensorType(dtypes.uint32, shape).size * words
        case DropoutAttrs():
            count = input_types[0].size
        case RandpermAttrs(n):
            count = n * words_per_element(op)
        case _:
            count = TensorType(attrs.dtype, attrs.shape).size
            count = count * words_per_element(op, attrs.dtype)
    return (count + 3) // 4


# Uniform

# Random bits that a uniform number of each dtype carries: those of its significand.
_UNIFORM_BITS = {
    dtypes.float16: 11,
    dtypes.bfloat16: 8,
    dtypes.float32: 24,
    dtypes.float64: 53,
}


def _infer_float_draw(op: str, attrs: UniformAttrs | NormalAttrs) -> tuple[TensorType, ...]:
    if not attrs.dtype.is_floating_point:
        raise DTypeError(f"{op}: dtype must be floating-point, not {attrs.dtype.name}")
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _infer_uniform(
    attrs: UniformAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("uniform", seed, offset)
    ordered = attrs.low <= attrs.high
    expect.argument("uniform", ordered, f"low is {attrs.low}, above high, {attrs.high}")
    return _infer_float_draw("uniform", attrs)


def _uniform_rule(r: Rules, attrs: UniformAttrs, seed: Operand, offset: Operand) -> Operand:
    bits, work = _UNIFORM_BITS[attrs.dtype], attrs.dtype.accumulator
    if attrs.dtype is dtypes.float64:
        word = joined(r, draw64(r, seed, offset, attrs.shape))
        integer, width = dtypes.int64, 64
    else:
        word = draw(r, seed, offset, attrs.shape)
        integer, width = dtypes.int32, 32
    shifted = r("shr", word, r.full_like(word, width - bits))
    unit = r.scale(r.cast(r("bitcast", shifted, dtype=integer), work), 2.0**-bits)
    if attrs.high - attrs.low != 1.0:
        unit = r.scale(unit, attrs.high - attrs.low)
    if attrs.low != 0.0:
        unit = r.shift(unit, attrs.low)
    return r.cast(unit, attrs.dtype)


def _uniform(xp: Any, attrs: UniformAttrs, seed: Array, offset: Array) -> Array:
    count = math.prod(static_shape(attrs.shape))
    bits, work = _UNIFORM_BITS[attrs.dtype], attrs.dtype.accumulator.numpy
    if attrs.dtype is dtypes.float64:
        unit = (words64(xp, seed, offset, count) >> np.uint64(64 - bits)).astype(work)
    else:
        unit = (words(xp, seed, offset, count) >> np.uint32(32 - bits)).astype(work)
    unit *= work.type(2.0**-bits)
    if attrs.high - attrs.low != 1.0:
        unit *= work.type(attrs.high - attrs.low)
    if attrs.low != 0.0:
        unit += work.type(attrs.low)
    return unit.astype(attrs.dtype.numpy, copy=False).reshape(attrs.shape)


# Normal


def _infer_normal(
    attrs: NormalAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("normal", seed, offset)
    expect.argument("normal", attrs.std >= 0, f"std must not be negative, but is {attrs.std}")
    return _infer_float_draw("normal", attrs)


def _normal_rule(r: Rules, attrs: NormalAttrs, seed: Operand, offset: Operand) -> Operand:
    if attrs.dtype is dtypes.float64:
        word = r("bitcast", joined(r, draw64(r, seed, offset, attrs.shape)), dtype=dtypes.int64)
    else:
        word = r("bitcast", draw(r, seed, offset, attrs.shape), dtype=dtypes.int32)
    value = normal_quantile_rule(r, word)
    if attrs.std != 1.0:
        value = r.scale(value, attrs.std)
    if attrs.mean != 0.0:
        value = r.shift(value, attrs.mean)
    return r.cast(value, attrs.dtype)


def _normal(xp: Any, attrs: NormalAttrs, seed: Array, offset: Array) -> Array:
    count = math.prod(static_shape(attrs.shape))
    if attrs.dtype is dtypes.float64:
        word = words64(xp, seed, offset, count).view(xp.int64)
    else:
        word = words(xp, seed, offset, count).view(xp.int32)
    value = normal_quantile(xp, word)
    if attrs.std != 1.0:
        value *= value.dtype.type(attrs.std)
    if attrs.mean != 0.0:
        value += value.dtype.type(attrs.mean)
    return value.astype(attrs.dtype.numpy, copy=False).reshape(attrs.shape)


# Bernoulli and dropout: an event of probability p is one of the first p * 2**24 values of the
# upper 24 bits of a word.


def _threshold(p: float) -> int:
    return math.ceil(p * 2**24)


def _event_rule(r: Rules, seed: Operand, offset: Operand, shape: Shape, p: float) -> Operand:
    word = draw(r, seed, offset, shape)
    upper = r("shr", word, r.full_like(word, 8))
    return r("lt", upper, r.full_like(upper, _threshold(p)))


def _event(xp: Any, seed: Array, offset: Array, shape: tuple[int, ...], p: float) -> Array:
    upper = words(xp, seed, offset, math.prod(shape)) >> np.uint32(8)
    return (upper < np.uint32(_threshold(p))).reshape(shape)


def _probability(op: str, p: float) -> None:
    expect.argument(op, 0.0 <= p <= 1.0, f"p must be in [0, 1], but is {p}")


def _infer_bernoulli(
    attrs: BernoulliAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("bernoulli", seed, offset)
    _probability("bernoulli", attrs.p)
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _bernoulli_rule(r: Rules, attrs: BernoulliAttrs, seed: Operand, offset: Operand) -> Operand:
    return r.cast(_event_rule(r, seed, offset, attrs.shape, attrs.p), attrs.dtype)


def _bernoulli(xp: Any, attrs: BernoulliAttrs, seed: Array, offset: Array) -> Array:
    event = _event(xp, seed, offset, static_shape(attrs.shape), attrs.p)
    return event.astype(attrs.dtype.numpy)


def _infer_dropout(
    attrs: DropoutAttrs, x: TensorType, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("dropout", seed, offset)
    expect.floating("dropout", x=x)
    _probability("dropout", attrs.p)
    return (x,)


def _kept_scale(p: float) -> float:
    return 0.0 if p == 1.0 else 1.0 / (1.0 - p)


def _dropout_rule(
    r: Rules, attrs: DropoutAttrs, x: Operand, seed: Operand, offset: Operand
) -> Operand:
    type = r.type(x)
    kept = _event_rule(r, seed, offset, type.shape, 1.0 - attrs.p)
    work = r.cast(x, type.dtype.accumulator)
    factor = r("where", kept, r.full_like(work, _kept_scale(attrs.p)), r.full_like(work, 0.0))
    return r.cast(r("mul", work, factor), type.dtype)


def _dropout(xp: Any, attrs: DropoutAttrs, x: Array, seed: Array, offset: Array) -> Array:
    dtype = dtypes.of_numpy(x.dtype)
    factor = _event(xp, seed, offset, x.shape, 1.0 - attrs.p).astype(dtype.accumulator.numpy)
    factor *= factor.dtype.type(_kept_scale(attrs.p))
    with np.errstate(invalid="ignore", over="ignore"):
        factor *= x
        return factor.astype(x.dtype, copy=False)


def _dropout_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    # Dropout is linear in x, and its own transpose under the same words.
    return r("dropout", g, s["seed"], s["offset"], p=s.attrs.p), None, None


# Integers


def _infer_randint(
    attrs: RandintAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("randint", seed, offset)
    expect.argument(
        "randint", attrs.low < attrs.high, f"low is {attrs.low}, not below high, {attrs.high}"
    )
    fits = attrs.low >= -(2**63) and attrs.high <= 2**63
    expect.argument("randint", fits, f"[{attrs.low}, {attrs.high}) is outside 64-bit integers")
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _randint_rule(r: Rules, attrs: RandintAttrs, seed: Operand, offset: Operand) -> Operand:
    word = joined(r, draw64(r, seed, offset, attrs.shape))
    span = attrs.high - attrs.low
    if span < 2**64:
        word = r("mulhi", word, r.full_like(word, span))
    value = r("bitcast", word, dtype=dtypes.int64)
    if attrs.low != 0:
        value = r("add", value, r.full_like(value, attrs.low))
    return r.cast(value, attrs.dtype)


def _randint(xp: Any, attrs: RandintAttrs, seed: Array, offset: Array) -> Array:
    word = words64(xp, seed, offset, math.prod(static_shape(attrs.shape)))
    span = attrs.high - attrs.low
    if span < 2**64:
        word = scalar_reference.evaluate("mulhi", word, xp.full_like(word, span))
    value = word.view(xp.int64) + np.int64(attrs.low)
    return value.astype(attrs.dtype.numpy, copy=False).reshape(attrs.shape)


def _infer_randperm(
    attrs: RandpermAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("randperm", seed, offset)
    expect.argument("randperm", attrs.n >= 0, f"n must not be negative, but is {attrs.n}")
    return (TensorType(dtypes.int64, (attrs.n,)),)


def _randperm(xp: Any, attrs: RandpermAttrs, seed: Array, offset: Array) -> Array:
    return xp.argsort(words64(xp, seed, offset, attrs.n), kind="stable").astype(xp.int64)


# Definitions


def _float_samples(*attrs: dict[str, Any]) -> Iterable[Sample]:
    for k, dtype in enumerate(dtypes.FLOATS):
        shape = [(2, 9), (7,), (3, 1, 5), (4,)][k]
        yield Sample(seeds(k, 3 * k), {"shape": shape, "dtype": dtype, **attrs[k % len(attrs)]})
    yield Sample(seeds(), {"shape": (), "dtype": dtypes.float32, **attrs[0]})
    yield Sample(seeds(), {"shape": (2, 0), "dtype": dtypes.float64, **attrs[-1]})


def _bernoulli_samples() -> Iterable[Sample]:
    for p in (0.0, 0.3, 1.0):
        yield Sample(seeds(), {"shape": (3, 4), "dtype": dtypes.float32, "p": p})
    yield Sample(seeds(), {"shape": (5,), "dtype": dtypes.bool_, "p": 0.5})


def _randint_samples() -> Iterable[Sample]:
    for low, high, dtype in [
        (0, 10, dtypes.int64), (-7, 5, dtypes.int32), (-(2**63), 2**63, dtypes.int64),
        (3, 4, dtypes.float32), (-(2**40), 2**41 + 3, dtypes.int64),
    ]:  # fmt: skip
        yield Sample(seeds(), {"shape": (2, 3), "dtype": dtype, "low": low, "high": high})
    yield Sample(seeds(), {"shape": (0,), "dtype": dtypes.int64, "low": 0, "high": 2})


def _dropout_samples() -> Iterable[Sample]:
    x = np.linspace(-2.0, 2.0, 12).reshape(3, 4)
    for p, dtype in [(0.5, np.float64), (0.0, np.float32), (1.0, np.float32), (0.25, np.float16)]:
        yield Sample((x.astype(dtype), *seeds()), {"p": p})
    yield Sample((x.T[::2], *seeds()), {"p": 0.1})
    yield Sample((np.zeros((0, 2), np.float32), *seeds()), {"p": 0.5})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="uniform",
        doc="low + (high - low) * u, with u uniform in [0, 1)",
        operands=SEEDED,
        attrs=UniformAttrs,
        infer=_infer_uniform,
        reference=_uniform,
        rule=Decompose(_uniform_rule),
        vjp=NO_VJP,
        samples=lambda: _float_samples({}, {"low": -3.0, "high": 2.5}),
    ),
    OpDef(
        name="normal",
        doc="mean + std * the standard normal quantile of a uniform number",
        operands=SEEDED,
        attrs=NormalAttrs,
        infer=_infer_normal,
        reference=_normal,
        rule=Decompose(_normal_rule),
        vjp=NO_VJP,
        samples=lambda: _float_samples({}, {"mean": 1.5, "std": 0.25}),
    ),
    OpDef(
        name="bernoulli",
        doc="1 with probability p, else 0",
        operands=SEEDED,
        attrs=BernoulliAttrs,
        infer=_infer_bernoulli,
        reference=_bernoulli,
        rule=Decompose(_bernoulli_rule),
        vjp=NO_VJP,
        samples=_bernoulli_samples,
    ),
    OpDef(
        name="randint",
        doc="low + floor(u * (high - low) / 2**64), with u a 64-bit number of the stream",
        operands=SEEDED,
        attrs=RandintAttrs,
        infer=_infer_randint,
        reference=_randint,
        rule=Decompose(_randint_rule),
        vjp=NO_VJP,
        samples=_randint_samples,
    ),
    OpDef(
        name="randperm",
        doc="the permutation that sorts n 64-bit numbers of the stream",
        operands=SEEDED,
        attrs=RandpermAttrs,
        infer=_infer_randperm,
        reference=_randperm,
        rule=Call("NumPy's argsort: a sort of the whole stream has no loop nest that is faster"),
        vjp=NO_VJP,
        samples=lambda: [Sample(seeds(), {"n": n}) for n in (0, 1, 7)],
    ),
    OpDef(
        name="dropout",
        doc="x / (1 - p) with probability 1 - p, else 0",
        operands=("x", *SEEDED),
        attrs=DropoutAttrs,
        infer=_infer_dropout,
        reference=_dropout,
        rule=Decompose(_dropout_rule),
        vjp=Vjp(SEEDED, _dropout_vjp),
        samples=_dropout_samples,
    ),
)
