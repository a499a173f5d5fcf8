"""Random numbers: the Philox 4x32-10 word stream and the variates made of it.

A draw of n elements takes k words an element, words k*i to k*i + k - 1 for element i in row-major
order; word w is lane w % 4 of the block at counter offset + w // 4, keyed by the seed. Variates use
integer operations and IEEE + - * / sqrt in one fixed order, so that every level gives one set of
bits. Source of the generator: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import DTypeError
from smelt.ir.op import Call, Decompose, Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect
from smelt.ir.ops.quantile import normal_quantile, normal_quantile_rule
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType, row_major_strides

Array = Any

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFFFFFF

_NO_VJP = NoVjp("random words do not depend on anything continuous")


@dataclass(frozen=True, slots=True)
class PhiloxAttrs:
    """Attributes of `philox`: the shape of the draw, and the words for each of its elements."""

    shape: Shape
    words: int


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


# The word stream


def philox_block(counter: tuple[Array, ...], key: tuple[int, int]) -> tuple[Array, ...]:
    """Return the four words, as u64 arrays below 2**32, that Philox 4x32-10 gives for counters.

    Args:
        counter: four u64 arrays of one shape with values below 2**32, low word first.
        key: two numbers below 2**32.
    """
    c0, c1, c2, c3 = counter
    m0, m1 = (np.uint64(m) for m in _MULTIPLIERS)
    half, low = np.uint64(32), np.uint64(_LOW)
    for i in range(_ROUNDS):
        k0, k1 = (np.uint64((k + i * w) & _LOW) for k, w in zip(key, _WEYL))
        a, b = c0 * m0, c2 * m1
        c1 ^= b >> half
        c1 ^= k0
        c3 ^= a >> half
        c3 ^= k1
        b &= low
        a &= low
        c0, c1, c2, c3 = c1, b, c3, a
    return c0, c1, c2, c3


def words(xp: Any, seed: Array, offset: Array, count: int) -> Array:
    """Return the first `count` words of the stream as a 1-D u32 array."""
    blocks = (count + 3) // 4
    counter = xp.arange(blocks, dtype=xp.uint64)
    counter += np.uint64(int(offset) & (2**64 - 1))
    key = int(seed)
    zero = xp.zeros((2, blocks), dtype=xp.uint64)
    lanes = philox_block(
        (counter & np.uint64(_LOW), counter >> np.uint64(32), zero[0], zero[1]),
        (key & _LOW, (key >> 32) & _LOW),
    )
    out = xp.empty((blocks, 4), dtype=xp.uint32)
    for k, lane in enumerate(lanes):
        out[:, k] = lane
    return out.reshape(-1)[:count]


def _scalars(op: str, seed: TensorType, offset: TensorType) -> None:
    expect.indices(op, seed=seed, offset=offset)
    expect.of_shape(op, (), seed=seed, offset=offset)


def _infer_philox(
    attrs: PhiloxAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    _scalars("philox", seed, offset)
    expect.argument("philox", attrs.words > 0, f"words must be positive, not {attrs.words}")
    return (TensorType(dtypes.uint32, (*attrs.shape, attrs.words)),)


def _philox(xp: Any, attrs: PhiloxAttrs, seed: Array, offset: Array) -> Array:
    shape = (*attrs.shape, attrs.words)
    return words(xp, seed, offset, math.prod(shape)).reshape(shape)  # type: ignore[arg-type]


def _define_philox(attrs: PhiloxAttrs, seed: TensorType, offset: TensorType) -> Stage:
    u32, i64 = dtypes.uint32, dtypes.int64
    shape = (*attrs.shape, attrs.words)
    position: Expr = scalar.integer(0)
    for axis, stride in enumerate(row_major_strides(shape)):
        step = scalar.apply("mul", scalar.axis(axis), scalar.of_dim(stride))
        position = scalar.apply("add", position, step)
    two = scalar.integer(2)
    counter = scalar.apply("add", Read(1, i64), scalar.apply("shr", position, two))
    lane = scalar.apply("and", position, scalar.integer(3))

    def halves(value: Expr) -> tuple[Expr, Expr]:
        high = scalar.apply("shr", value, scalar.integer(32))
        return scalar.cast(value, u32), scalar.cast(high, u32)

    k0, k1 = halves(Read(0, i64))
    c0, c1 = halves(counter)
    c2: Expr = Const(0, u32)
    c3: Expr = Const(0, u32)
    m0, m1 = (Const(m, u32) for m in _MULTIPLIERS)
    for i in range(_ROUNDS):
        key0 = scalar.apply("add", k0, Const((i * _WEYL[0]) & _LOW, u32))
        key1 = scalar.apply("add", k1, Const((i * _WEYL[1]) & _LOW, u32))
        mixed1 = scalar.apply("xor", scalar.apply("mulhi", c2, m1), c1)
        mixed3 = scalar.apply("xor", scalar.apply("mulhi", c0, m0), c3)
        c0, c1, c2, c3 = (
            scalar.apply("xor", mixed1, key0),
            scalar.apply("mul", c2, m1),
            scalar.apply("xor", mixed3, key1),
            scalar.apply("mul", c0, m0),
        )

    def at_lane(number: int, yes: Expr, no: Expr) -> Expr:
        return scalar.select(scalar.apply("eq", lane, scalar.integer(number)), yes, no)

    word = at_lane(0, c0, at_lane(1, c1, at_lane(2, c2, c3)))
    return Stage(shape, (Reader(0, ()), Reader(1, ())), (word,), reassociate=False)


def _draw(r: Rules, seed: Operand, offset: Operand, shape: Shape) -> Operand:
    """Return one word an element as u32[*shape]."""
    return r.reshape(r("philox", seed, offset, shape=tuple(shape), words=1), shape)


def _draw64(r: Rules, seed: Operand, offset: Operand, shape: Shape) -> tuple[Operand, Operand]:
    """Return two words an element, the first the upper half of a 64-bit number, as u64[*shape]."""
    drawn = r("philox", seed, offset, shape=tuple(shape), words=2)
    rank = len(shape)
    halves: list[Operand] = []
    for k in range(2):
        starts, stops = (0,) * rank + (k,), (*shape, k + 1)
        one = r("slice", drawn, starts=starts, stops=stops, steps=(1,) * (rank + 1))
        halves.append(r.cast(r.reshape(one, shape), dtypes.uint64))
    return halves[0], halves[1]


def _joined(r: Rules, halves: tuple[Operand, Operand]) -> Operand:
    high, low = halves
    return r("bitwise_or", r("shl", high, r.full_like(high, 32)), low)


def _words64(xp: Any, seed: Array, offset: Array, count: int) -> Array:
    pair = words(xp, seed, offset, 2 * count).reshape(count, 2).astype(xp.uint64)
    return (pair[:, 0] << np.uint64(32)) | pair[:, 1]


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
    _scalars("uniform", seed, offset)
    ordered = attrs.low <= attrs.high
    expect.argument("uniform", ordered, f"low is {attrs.low}, above high, {attrs.high}")
    return _infer_float_draw("uniform", attrs)


def _uniform_rule(r: Rules, attrs: UniformAttrs, seed: Operand, offset: Operand) -> Operand:
    bits, work = _UNIFORM_BITS[attrs.dtype], attrs.dtype.accumulator
    if attrs.dtype is dtypes.float64:
        word = _joined(r, _draw64(r, seed, offset, attrs.shape))
        integer, width = dtypes.int64, 64
    else:
        word = _draw(r, seed, offset, attrs.shape)
        integer, width = dtypes.int32, 32
    shifted = r("shr", word, r.full_like(word, width - bits))
    unit = r.scale(r.cast(r("bitcast", shifted, dtype=integer), work), 2.0**-bits)
    if attrs.high - attrs.low != 1.0:
        unit = r.scale(unit, attrs.high - attrs.low)
    if attrs.low != 0.0:
        unit = r.shift(unit, attrs.low)
    return r.cast(unit, attrs.dtype)


def _uniform(xp: Any, attrs: UniformAttrs, seed: Array, offset: Array) -> Array:
    count = math.prod(attrs.shape)  # type: ignore[arg-type]
    bits, work = _UNIFORM_BITS[attrs.dtype], attrs.dtype.accumulator.numpy
    if attrs.dtype is dtypes.float64:
        unit = (_words64(xp, seed, offset, count) >> np.uint64(64 - bits)).astype(work)
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
    _scalars("normal", seed, offset)
    expect.argument("normal", attrs.std >= 0, f"std must not be negative, but is {attrs.std}")
    return _infer_float_draw("normal", attrs)


def _normal_rule(r: Rules, attrs: NormalAttrs, seed: Operand, offset: Operand) -> Operand:
    if attrs.dtype is dtypes.float64:
        word = r("bitcast", _joined(r, _draw64(r, seed, offset, attrs.shape)), dtype=dtypes.int64)
    else:
        word = r("bitcast", _draw(r, seed, offset, attrs.shape), dtype=dtypes.int32)
    value = normal_quantile_rule(r, word)
    if attrs.std != 1.0:
        value = r.scale(value, attrs.std)
    if attrs.mean != 0.0:
        value = r.shift(value, attrs.mean)
    return r.cast(value, attrs.dtype)


def _normal(xp: Any, attrs: NormalAttrs, seed: Array, offset: Array) -> Array:
    count = math.prod(attrs.shape)  # type: ignore[arg-type]
    if attrs.dtype is dtypes.float64:
        word = _words64(xp, seed, offset, count).view(xp.int64)
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
    word = _draw(r, seed, offset, shape)
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
    _scalars("bernoulli", seed, offset)
    _probability("bernoulli", attrs.p)
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _bernoulli_rule(r: Rules, attrs: BernoulliAttrs, seed: Operand, offset: Operand) -> Operand:
    return r.cast(_event_rule(r, seed, offset, attrs.shape, attrs.p), attrs.dtype)


def _bernoulli(xp: Any, attrs: BernoulliAttrs, seed: Array, offset: Array) -> Array:
    event = _event(xp, seed, offset, attrs.shape, attrs.p)  # type: ignore[arg-type]
    return event.astype(attrs.dtype.numpy)


def _infer_dropout(
    attrs: DropoutAttrs, x: TensorType, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    _scalars("dropout", seed, offset)
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
    _scalars("randint", seed, offset)
    expect.argument(
        "randint", attrs.low < attrs.high, f"low is {attrs.low}, not below high, {attrs.high}"
    )
    fits = attrs.low >= -(2**63) and attrs.high <= 2**63
    expect.argument("randint", fits, f"[{attrs.low}, {attrs.high}) is outside 64-bit integers")
    return (TensorType(attrs.dtype, tuple(attrs.shape)),)


def _randint_rule(r: Rules, attrs: RandintAttrs, seed: Operand, offset: Operand) -> Operand:
    word = _joined(r, _draw64(r, seed, offset, attrs.shape))
    span = attrs.high - attrs.low
    if span < 2**64:
        word = r("mulhi", word, r.full_like(word, span))
    value = r("bitcast", word, dtype=dtypes.int64)
    if attrs.low != 0:
        value = r("add", value, r.full_like(value, attrs.low))
    return r.cast(value, attrs.dtype)


def _randint(xp: Any, attrs: RandintAttrs, seed: Array, offset: Array) -> Array:
    count = math.prod(attrs.shape)  # type: ignore[arg-type]
    pair = words(xp, seed, offset, 2 * count).reshape(count, 2).astype(xp.uint64)
    high, low = pair[:, 0], pair[:, 1]
    span = attrs.high - attrs.low
    half, mask = np.uint64(32), np.uint64(_LOW)
    if span < 2**64:
        # The upper 64 bits of (high * 2**32 + low) * span, from 32-bit partial products.
        span_high, span_low = np.uint64(span >> 32), np.uint64(span & _LOW)
        middle = high * span_low + ((low * span_low) >> half)
        cross = low * span_high + (middle & mask)
        value = high * span_high + (middle >> half) + (cross >> half)
    else:
        value = (high << half) | low
    value = value.view(xp.int64) + np.int64(attrs.low)
    return value.astype(attrs.dtype.numpy, copy=False).reshape(attrs.shape)


def _infer_randperm(
    attrs: RandpermAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    _scalars("randperm", seed, offset)
    expect.argument("randperm", attrs.n >= 0, f"n must not be negative, but is {attrs.n}")
    return (TensorType(dtypes.int64, (attrs.n,)),)


def _randperm(xp: Any, attrs: RandpermAttrs, seed: Array, offset: Array) -> Array:
    return xp.argsort(_words64(xp, seed, offset, attrs.n), kind="stable").astype(xp.int64)


# Definitions


def _seeds(seed: int = 2026, offset: int = 5) -> tuple[np.ndarray[Any, Any], ...]:
    return np.asarray(seed, np.int64), np.asarray(offset, np.int64)


def _philox_samples() -> Iterable[Sample]:
    yield Sample(_seeds(), {"shape": (3,), "words": 1})
    yield Sample(_seeds(-1, 2**40 - 1), {"shape": (2, 3), "words": 2})
    yield Sample(_seeds(2**62 + 7, -1), {"shape": (), "words": 5})
    yield Sample(_seeds(), {"shape": (0, 4), "words": 1})


def _float_samples(*attrs: dict[str, Any]) -> Iterable[Sample]:
    for k, dtype in enumerate(dtypes.FLOATS):
        shape = [(2, 9), (7,), (3, 1, 5), (4,)][k]
        yield Sample(_seeds(k, 3 * k), {"shape": shape, "dtype": dtype, **attrs[k % len(attrs)]})
    yield Sample(_seeds(), {"shape": (), "dtype": dtypes.float32, **attrs[0]})
    yield Sample(_seeds(), {"shape": (2, 0), "dtype": dtypes.float64, **attrs[-1]})


def _bernoulli_samples() -> Iterable[Sample]:
    for p in (0.0, 0.3, 1.0):
        yield Sample(_seeds(), {"shape": (3, 4), "dtype": dtypes.float32, "p": p})
    yield Sample(_seeds(), {"shape": (5,), "dtype": dtypes.bool_, "p": 0.5})


def _randint_samples() -> Iterable[Sample]:
    for low, high, dtype in [
        (0, 10, dtypes.int64), (-7, 5, dtypes.int32), (-(2**63), 2**63, dtypes.int64),
        (3, 4, dtypes.float32), (-(2**40), 2**41 + 3, dtypes.int64),
    ]:  # fmt: skip
        yield Sample(_seeds(), {"shape": (2, 3), "dtype": dtype, "low": low, "high": high})
    yield Sample(_seeds(), {"shape": (0,), "dtype": dtypes.int64, "low": 0, "high": 2})


def _dropout_samples() -> Iterable[Sample]:
    x = np.linspace(-2.0, 2.0, 12).reshape(3, 4)
    for p, dtype in [(0.5, np.float64), (0.0, np.float32), (1.0, np.float32), (0.25, np.float16)]:
        yield Sample((x.astype(dtype), *_seeds()), {"p": p})
    yield Sample((x.T[::2], *_seeds()), {"p": 0.1})
    yield Sample((np.zeros((0, 2), np.float32), *_seeds()), {"p": 0.5})


_SEEDED = ("seed", "offset")

OPS: tuple[OpDef, ...] = (
    OpDef(
        name="philox",
        doc="words of the Philox 4x32-10 stream keyed by seed, from counter offset on",
        operands=_SEEDED,
        attrs=PhiloxAttrs,
        infer=_infer_philox,
        reference=_philox,
        rule=Lower(_define_philox),
        vjp=_NO_VJP,
        samples=_philox_samples,
    ),
    OpDef(
        name="uniform",
        doc="low + (high - low) * u, with u uniform in [0, 1)",
        operands=_SEEDED,
        attrs=UniformAttrs,
        infer=_infer_uniform,
        reference=_uniform,
        rule=Decompose(_uniform_rule),
        vjp=_NO_VJP,
        samples=lambda: _float_samples({}, {"low": -3.0, "high": 2.5}),
    ),
    OpDef(
        name="normal",
        doc="mean + std * the standard normal quantile of a uniform number",
        operands=_SEEDED,
        attrs=NormalAttrs,
        infer=_infer_normal,
        reference=_normal,
        rule=Decompose(_normal_rule),
        vjp=_NO_VJP,
        samples=lambda: _float_samples({}, {"mean": 1.5, "std": 0.25}),
    ),
    OpDef(
        name="bernoulli",
        doc="1 with probability p, else 0",
        operands=_SEEDED,
        attrs=BernoulliAttrs,
        infer=_infer_bernoulli,
        reference=_bernoulli,
        rule=Decompose(_bernoulli_rule),
        vjp=_NO_VJP,
        samples=_bernoulli_samples,
    ),
    OpDef(
        name="randint",
        doc="low + floor(u * (high - low) / 2**64), with u a 64-bit number of the stream",
        operands=_SEEDED,
        attrs=RandintAttrs,
        infer=_infer_randint,
        reference=_randint,
        rule=Decompose(_randint_rule),
        vjp=_NO_VJP,
        samples=_randint_samples,
    ),
    OpDef(
        name="randperm",
        doc="the permutation that sorts n 64-bit numbers of the stream",
        operands=_SEEDED,
        attrs=RandpermAttrs,
        infer=_infer_randperm,
        reference=_randperm,
        rule=Call("NumPy's argsort: a sort of the whole stream has no loop nest that is faster"),
        vjp=_NO_VJP,
        samples=lambda: [Sample(_seeds(), {"n": n}) for n in (0, 1, 7)],
    ),
    OpDef(
        name="dropout",
        doc="x / (1 - p) with probability 1 - p, else 0",
        operands=("x", *_SEEDED),
        attrs=DropoutAttrs,
        infer=_infer_dropout,
        reference=_dropout,
        rule=Decompose(_dropout_rule),
        vjp=Vjp(_SEEDED, _dropout_vjp),
        samples=_dropout_samples,
    ),
)
