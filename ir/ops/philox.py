"""The Philox 4x32-10 word stream, from which all random numbers are made.

A draw of n elements takes k words an element, words k*i to k*i + k - 1 for element i in row-major
order; word w is lane w % 4 of the block at counter offset + w // 4, keyed by the seed. Source:
Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample
from smelt.ir.ops import expect
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType, row_major_strides, static_shape

Array = Any

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFFFFFF

SEEDED = ("seed", "offset")
"""Names of the operands that say where in the stream a draw begins."""

NO_VJP = NoVjp("random words do not depend on anything continuous")


@dataclass(frozen=True, slots=True)
class PhiloxAttrs:
    """Attributes of `philox`: the shape of the draw, and the words for each of its elements."""

    shape: Shape
    words: int


def philox_block(counter: tuple[Array, ...], key: tuple[int, int]) -> tuple[Array, ...]:
    """Return the four words, as u64 arrays below 2**32, that Philox 4x32-10 gives for counters.

    The arrays of `counter` are written over.

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


def check_state(op: str, seed: TensorType, offset: TensorType) -> None:
    """Require a seed and an offset that are single i64 numbers."""
    expect.indices(op, seed=seed, offset=offset)
    expect.of_shape(op, (), seed=seed, offset=offset)


def _infer_philox(
    attrs: PhiloxAttrs, seed: TensorType, offset: TensorType
) -> tuple[TensorType, ...]:
    check_state("philox", seed, offset)
    expect.argument("philox", attrs.words > 0, f"words must be positive, not {attrs.words}")
    return (TensorType(dtypes.uint32, (*attrs.shape, attrs.words)),)


def _philox(xp: Any, attrs: PhiloxAttrs, seed: Array, offset: Array) -> Array:
    shape = (*static_shape(attrs.shape), attrs.words)
    return words(xp, seed, offset, math.prod(shape)).reshape(shape)


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
    return Stage(shape, (Reader(0, ()), Reader(1, ())), (word,))


def draw(r: Rules, seed: Operand, offset: Operand, shape: Shape) -> Operand:
    """Return one word an element as u32[*shape]."""
    return r.reshape(r("philox", seed, offset, shape=tuple(shape), words=1), shape)


def draw64(r: Rules, seed: Operand, offset: Operand, shape: Shape) -> tuple[Operand, Operand]:
    """Return two words an element, the first the upper half of a 64-bit number, as u64[*shape]."""
    drawn = r("philox", seed, offset, shape=tuple(shape), words=2)
    rank = len(shape)
    halves: list[Operand] = []
    for k in range(2):
        starts, stops = (0,) * rank + (k,), (*shape, k + 1)
        one = r("slice", drawn, starts=starts, stops=stops, steps=(1,) * (rank + 1))
        halves.append(r.cast(r.reshape(one, shape), dtypes.uint64))
    return halves[0], halves[1]


def joined(r: Rules, halves: tuple[Operand, Operand]) -> Operand:
    """Return the 64-bit numbers of which `draw64` gives the halves."""
    high, low = halves
    return r("bitwise_or", r("shl", high, r.full_like(high, 32)), low)


def words64(xp: Any, seed: Array, offset: Array, count: int) -> Array:
    """Return the first `count` pairs of words, upper half first, as a 1-D u64 array."""
    pair = words(xp, seed, offset, 2 * count).reshape(count, 2).astype(xp.uint64)
    return (pair[:, 0] << np.uint64(32)) | pair[:, 1]


def seeds(seed: int = 2026, offset: int = 5) -> tuple[np.ndarray[Any, Any], ...]:
    """Return the seed and offset operands of a sample."""
    return np.asarray(seed, np.int64), np.asarray(offset, np.int64)


def _philox_samples() -> Iterable[Sample]:
    yield Sample(seeds(), {"shape": (3,), "words": 1})
    yield Sample(seeds(-1, 2**40 - 1), {"shape": (2, 3), "words": 2})
    yield Sample(seeds(2**62 + 7, -1), {"shape": (), "words": 5})
    yield Sample(seeds(), {"shape": (0, 4), "words": 1})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="philox",
        doc="words of the Philox 4x32-10 stream keyed by seed, from counter offset on",
        operands=SEEDED,
        attrs=PhiloxAttrs,
        infer=_infer_philox,
        reference=_philox,
        rule=Lower(_define_philox),
        vjp=NO_VJP,
        samples=_philox_samples,
    ),
)
