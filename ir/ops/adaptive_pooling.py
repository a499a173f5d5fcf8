"""Pooling to a given size: window o of n over a dimension of size m is [o*m // n, ceil((o+1)*m/n)).

Seen from x the roles of m and n are exchanged: element i lies in the windows [i*n // m,
ceil((i+1)*n/m)), so a mean and its gradient have one definition.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.nn import widen
from smelt.ir.ops.sliding import flat_position
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage, accumulated, arg_monoid, lowest, monoid
from smelt.ir.types import Shape, TensorType, static_shape

Array = Any


@dataclass(frozen=True, slots=True)
class AdaptivePoolAttrs:
    """Attributes of the adaptive pools: the spatial shape of the result."""

    output: Shape


@dataclass(frozen=True, slots=True)
class AdaptivePoolGradAttrs:
    """Attributes of `adaptive_avg_pool_grad`: the spatial shape of what was pooled."""

    input_shape: Shape


def _check(op: str, x: TensorType, spatial: Shape) -> Shape:
    expect.at_least_rank(op, 3, x=x)
    expect.floating(op, x=x)
    fits = len(spatial) == x.rank - 2 and all(not isinstance(n, int) or n >= 1 for n in spatial)
    expect.argument(op, fits, f"wants {x.rank - 2} positive sizes, not {spatial}: x is {x}")
    filled = all(expect.positive(n) for n in x.shape[2:])
    expect.argument(op, filled, f"the spatial dimensions of x must not be empty: x is {x}")
    return (*x.shape[:2], *spatial)


def _infer_average(attrs: AdaptivePoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    return (x.with_shape(_check("adaptive_avg_pool", x, attrs.output)),)


def _infer_average_grad(attrs: AdaptivePoolGradAttrs, g: TensorType) -> tuple[TensorType, ...]:
    return (g.with_shape(_check("adaptive_avg_pool_grad", g, attrs.input_shape)),)


def _infer_max(attrs: AdaptivePoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    shape = _check("adaptive_max_pool", x, attrs.output)
    return x.with_shape(shape), TensorType(dtypes.int64, shape)


# Structured definitions


def _start(place: Expr, here: int | Dim, there: int | Dim) -> Expr:
    """Return where the window at `place` of `here` begins in a dimension of size `there`."""
    product = scalar.apply("mul", place, scalar.of_dim(there))
    return scalar.apply("floordiv", product, scalar.of_dim(here))


def _stop(place: Expr, here: int | Dim, there: int | Dim) -> Expr:
    after = scalar.apply("add", place, scalar.integer(1))
    product = scalar.apply("mul", after, scalar.of_dim(there))
    rounded = scalar.apply("add", product, scalar.of_dim(here - 1))
    return scalar.apply("floordiv", rounded, scalar.of_dim(here))


def _longest(here: int | Dim, there: int | Dim) -> int | Dim:
    """Return the size of the longest window, or a little more."""
    if here == 1:
        return there
    if isinstance(here, int) and isinstance(there, int) and there % here == 0:
        return there // here
    return (there + here - 1) // here + 1


def _windows(here: Shape, there: Shape) -> tuple[Shape, tuple[Expr, ...], Expr | None]:
    """Return the reduced extents, the positions in `there` that are met, and when they are."""
    d = len(here)
    extents = tuple(_longest(m, n) for m, n in zip(here, there))
    positions: list[Expr] = []
    checks: list[Expr] = []
    for k in range(d):
        place, offset = scalar.axis(2 + k), scalar.axis(2 + d + k)
        if here[k] == 1:
            positions.append(offset)
            continue
        position = scalar.apply("add", _start(place, here[k], there[k]), offset)
        positions.append(position)
        exact = isinstance(there[k], int) and isinstance(here[k], int) and there[k] % here[k] == 0
        if not exact:
            checks.append(scalar.apply("lt", position, _stop(place, here[k], there[k])))
    return extents, tuple(positions), scalar.conjunction(*checks)


def _size(places: tuple[Expr, ...], here: Shape, there: Shape) -> Expr:
    """Return the number of elements of the window at `places`, as i64."""
    total: Expr = scalar.integer(1)
    for place, m, n in zip(places, here, there):
        size = scalar.apply("sub", _stop(place, m, n), _start(place, m, n))
        total = scalar.apply("mul", total, size)
    return total


def _mean_stage(x: TensorType, result: Shape, divisor: str) -> Stage:
    """Return the stage that sums x over windows, divided by their sizes.

    `divisor` says whose windows: those at the "result"'s positions, or those at x's ("source").
    """
    spatial, work = x.shape[2:], x.dtype.accumulator
    extents, positions, inside = _windows(result, spatial)
    if divisor == "result":
        places = tuple(scalar.axis(2 + k) for k in range(len(result)))
        size = _size(places, result, spatial)
    else:
        size = _size(positions, spatial, result)
    if inside is not None:
        size = scalar.select(inside, size, scalar.integer(1))
    reader = Reader(
        0,
        (scalar.axis(0), scalar.axis(1), *positions),
        inside,
        None if inside is None else Const(0.0, x.dtype),
    )
    value = scalar.apply("div", scalar.cast(Read(0, x.dtype), work), scalar.cast(size, work))
    domain = (*x.shape[:2], *result, *extents)
    finish = (scalar.cast(accumulated(0, work), x.dtype),)
    return Stage(domain, (reader,), (value,), _reduced(x.rank), monoid("add", work), finish)


def _reduced(rank: int) -> tuple[int, ...]:
    return tuple(range(rank, 2 * rank - 2))


def _define_average(attrs: AdaptivePoolAttrs, x: TensorType) -> Stage:
    return _mean_stage(x, attrs.output, "result")


def _define_average_grad(attrs: AdaptivePoolGradAttrs, g: TensorType) -> Stage:
    return _mean_stage(g, attrs.input_shape, "source")


def _define_max(attrs: AdaptivePoolAttrs, x: TensorType) -> Stage:
    spatial, work = x.shape[2:], x.dtype.accumulator
    extents, positions, inside = _windows(attrs.output, spatial)
    number = flat_position(positions, spatial)
    if inside is not None:
        number = scalar.select(inside, number, scalar.integer(2**63 - 1))
    fill = None if inside is None else lowest(x.dtype)
    return Stage(
        (*x.shape[:2], *attrs.output, *extents),
        (Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill),),
        (scalar.cast(Read(0, x.dtype), work), number),
        _reduced(x.rank),
        arg_monoid("max", work),
        (scalar.cast(accumulated(0, work), x.dtype), accumulated(1, dtypes.int64)),
    )


# References


def _spans(here: int, there: int) -> list[slice]:
    return [slice(o * there // here, -(-(o + 1) * there // here)) for o in range(here)]


def _each_window(here: Shape, there: Shape) -> Iterable[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Yield each position in `here` with the slices of `there` that its window covers."""
    spans = [_spans(m, n) for m, n in zip(static_shape(here), static_shape(there))]
    for at in itertools.product(*(range(len(s)) for s in spans)):
        yield at, tuple(s[i] for s, i in zip(spans, at))


def _average(xp: Any, attrs: AdaptivePoolAttrs, x: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    work = widen(x)
    out = xp.empty((*x.shape[:2], *attrs.output), work.dtype)
    for at, window in _each_window(attrs.output, x.shape[2:]):
        out[(..., *at)] = work[(..., *window)].mean(axis=axes)
    return out.astype(x.dtype, copy=False)


def _average_grad(xp: Any, attrs: AdaptivePoolGradAttrs, g: Array) -> Array:
    work = widen(g)
    out = xp.zeros((*g.shape[:2], *attrs.input_shape), work.dtype)
    for at, window in _each_window(g.shape[2:], attrs.input_shape):
        size = math.prod(s.stop - s.start for s in window)
        share = work[(..., *at)] / work.dtype.type(size)
        out[(..., *window)] += share[(..., *(None for _ in window))]
    return out.astype(g.dtype, copy=False)


def _max(xp: Any, attrs: AdaptivePoolAttrs, x: Array) -> tuple[Array, Array]:
    out = xp.empty((*x.shape[:2], *attrs.output), x.dtype)
    indices = xp.empty(out.shape, xp.int64)
    numbers = xp.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for at, window in _each_window(attrs.output, x.shape[2:]):
        part = x[(..., *window)].reshape(*x.shape[:2], numbers[window].size)
        best = widen(part).argmax(axis=2)
        out[(..., *at)] = xp.take_along_axis(part, best[..., None], axis=2)[..., 0]
        indices[(..., *at)] = numbers[window].reshape(-1)[best]
    return out, indices


# Derivatives


def _average_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: each window's share of g at its elements."""
    return (r("adaptive_avg_pool_grad", g, input_shape=s.input_types[0].shape[2:]),)


def _average_grad_vjp(r: Rules, s: Saved, h: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gg = adaptive_avg_pool(h)."""
    return (r("adaptive_avg_pool", h, output=s.input_types[0].shape[2:]),)


def _plane(type: TensorType) -> int | Dim:
    return TensorType(type.dtype, type.shape[2:]).size


def _max_vjp(
    r: Rules, s: Saved, g: Operand | None, _: Operand | None
) -> tuple[Operand | None, ...]:
    """Differentiate: each element of g goes to where its maximum was."""
    if g is None:
        return (None,)
    x, out = s.input_types[0], s.output_types[0]
    work: DType = x.dtype.accumulator
    lead = x.shape[:2]
    zeros = r.full(0.0, TensorType(work, (*lead, _plane(x))))
    index = r.reshape(s["indices"], (*lead, _plane(out)))
    added = r.reshape(r.cast(g, work), (*lead, _plane(out)))
    total = r("scatter_add", zeros, index, added, dim=2)
    return (r.cast(r.reshape(total, x.shape), x.dtype),)


# Samples


def _sizes() -> Iterable[tuple[tuple[int, ...], tuple[int, ...]]]:
    yield (2, 2, 4, 6), (2, 3)
    yield (1, 2, 5, 3), (3, 2)
    yield (2, 1, 3), (1,)
    yield (1, 1, 2), (5,)
    yield (1, 1, 2, 3, 4), (1, 2, 3)
    yield (0, 2, 3, 3), (1, 2)


def _samples() -> Iterable[Sample]:
    for shape, output in _sizes():
        yield Sample((sampling.normal(*shape, dtype=dtypes.float64),), {"output": output})
    yield Sample((sampling.strided(sampling.normal(1, 2, 3, 4)),), {"output": (2, 2)})
    narrow = sampling.normal(1, 2, 3, 4, dtype=dtypes.float16)
    yield Sample((narrow,), {"output": (2, 2)}, differentiable=False)


def _max_samples() -> Iterable[Sample]:
    yield from _samples()
    special = np.array([[[-np.inf, -np.inf, np.nan, 1.0, 2.0, 2.0]]], np.float32)
    yield Sample((special,), {"output": (4,)}, differentiable=False)


def _grad_samples() -> Iterable[Sample]:
    for shape, output in _sizes():
        g = sampling.normal(*shape[:2], *output, dtype=dtypes.float64)
        yield Sample((g,), {"input_shape": shape[2:]})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="adaptive_avg_pool",
        doc="the mean of each of `output` windows",
        operands=("x",),
        attrs=AdaptivePoolAttrs,
        infer=_infer_average,
        reference=_average,
        rule=Lower(_define_average),
        vjp=Vjp((), _average_vjp),
        samples=_samples,
    ),
    OpDef(
        name="adaptive_avg_pool_grad",
        doc="sum of g over the windows that meet here, each over its size",
        operands=("g",),
        attrs=AdaptivePoolGradAttrs,
        infer=_infer_average_grad,
        reference=_average_grad,
        rule=Lower(_define_average_grad),
        vjp=Vjp((), _average_grad_vjp),
        samples=_grad_samples,
    ),
    OpDef(
        name="adaptive_max_pool",
        doc="the greatest of each of `output` windows, and its number in the spatial plane",
        operands=("x",),
        results=("out", "indices"),
        attrs=AdaptivePoolAttrs,
        infer=_infer_max,
        reference=_max,
        rule=Lower(_define_max),
        vjp=Vjp(("indices",), _max_vjp),
        samples=_max_samples,
    ),
)
