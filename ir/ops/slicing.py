"""Movement within the same dimensions: slice, slice_scatter, flip, pad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar, structured
from smelt.ir.dim import Dim
from smelt.ir.errors import ArgumentError, TypeInferenceError
from smelt.ir.layout import Layout
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, sampling
from smelt.ir.ops.movement import DimsAttrs, plus, times, zero
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class SliceAttrs:
    """First position, end (exclusive) and positive step, one each a dimension."""

    starts: Shape
    stops: Shape
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PadAttrs:
    """How many elements of `value` come before and after, one each a dimension."""

    low: Shape
    high: Shape
    value: bool | int | float


def slice_lengths(name: str, attrs: SliceAttrs, x: TensorType) -> Shape:
    """Return the shape of a slice of `x`, having checked the attributes."""
    if not len(attrs.starts) == len(attrs.stops) == len(attrs.steps) == x.rank:
        raise ArgumentError(f"{name}: starts, stops and steps need one entry a dimension of {x}")
    lengths: list[int | Dim] = []
    for d, (start, stop, step, extent) in enumerate(
        zip(attrs.starts, attrs.stops, attrs.steps, x.shape)
    ):
        if step < 1:
            raise ArgumentError(f"{name}: the step of dimension {d} must be positive, not {step}")
        within = (
            (start == 0 or dims.holds(0, "<=", start))
            and (start == 0 or start == stop or dims.holds(start, "<=", stop))
            and (stop == extent or dims.holds(stop, "<=", extent))
        )
        if not within:
            raise ArgumentError(
                f"{name}: [{start}:{stop}] is outside dimension {d} of {x}, of size {extent}"
            )
        length = stop - start
        lengths.append(length if step == 1 else (length + (step - 1)) // step)
    return tuple(lengths)


def _slice_infer(attrs: SliceAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    return (types[0].with_shape(slice_lengths("slice", attrs, types[0])),)


def slices(attrs: SliceAttrs) -> tuple[slice, ...]:
    """Return the slices that NumPy takes."""
    return tuple(slice(a, b, c) for a, b, c in zip(attrs.starts, attrs.stops, attrs.steps))


def _slice_reference(xp: Any, attrs: SliceAttrs, x: Array) -> Array:
    return x[(*slices(attrs), ...)]


def _slice_define(attrs: SliceAttrs, x: TensorType) -> Stage:
    index = tuple(
        plus(times(scalar.axis(d), step), start)
        for d, (start, step) in enumerate(zip(attrs.starts, attrs.steps))
    )
    return structured.movement(x, slice_lengths("slice", attrs, x), index)


def _slice_view(attrs: SliceAttrs, layout: Layout) -> Layout:
    found = tuple(s.indices(n) for s, n in zip(slices(attrs), layout.sizes))
    sizes = tuple(len(range(*f)) for f in found)
    # The first element of an empty view is nowhere; the operand's offset stays inside its storage.
    moved = sum(f[0] * s for f, s in zip(found, layout.strides)) if 0 not in sizes else 0
    strides = tuple(step * s for (_, _, step), s in zip(found, layout.strides))
    return Layout(layout.offset + moved, sizes, strides)


def _slice_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x[a:b:c];  backward gx = 0, but g at [a:b:c]."""
    (source,) = s.input_types
    attrs = s.attrs
    if all(step == 1 for step in attrs.steps):
        high = tuple(n - b for n, b in zip(source.shape, attrs.stops))
        return (r("pad", g, low=tuple(attrs.starts), high=high, value=0.0),)
    blank = r.full(0.0, source)
    gx = r("slice_scatter", blank, g, starts=attrs.starts, stops=attrs.stops, steps=attrs.steps)
    return (gx,)


def _slice_cases() -> Iterator[tuple[Array, dict[str, Any]]]:
    x = sampling.normal(4, 5)
    cases = [
        ((0, 0), (4, 5), (1, 1)), ((1, 0), (3, 5), (1, 1)), ((0, 1), (4, 5), (1, 2)),
        ((1, 0), (4, 4), (2, 3)), ((2, 2), (2, 4), (1, 1)), ((4, 0), (4, 5), (2, 1)),
    ]  # fmt: skip
    for starts, stops, steps in cases:
        yield x, {"starts": starts, "stops": stops, "steps": steps}
    attrs = {"starts": (1, 1), "stops": (4, 5), "steps": (1, 2)}
    yield sampling.strided(x), attrs
    yield sampling.normal(4, 5, dtype=dtypes.int16), attrs
    yield sampling.normal(4, 5, dtype=dtypes.bfloat16), attrs
    yield np.array(1.0), {"starts": (), "stops": (), "steps": ()}


def _slice_samples() -> Iterator[Sample]:
    for x, attrs in _slice_cases():
        yield Sample((x,), attrs)


def _slice_scatter_infer(attrs: SliceAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_same_dtype("slice_scatter", ("x", "src"), types)
    x, src = types
    lengths = slice_lengths("slice_scatter", attrs, x)
    if not inference.same_shape(lengths, src.shape):
        raise TypeInferenceError(
            f"slice_scatter: src must have the shape {x.with_shape(lengths)} of the slice, "
            f"but is {src}"
        )
    return (x,)


def _slice_scatter_reference(xp: Any, attrs: SliceAttrs, x: Array, src: Array) -> Array:
    out = x.copy(order="C")
    out[(*slices(attrs), ...)] = src
    return out


def _slice_scatter_define(attrs: SliceAttrs, x: TensorType, src: TensorType) -> Stage:
    index: list[Expr] = []
    conditions: list[Expr] = []
    for d, (start, stop, step) in enumerate(zip(attrs.starts, attrs.stops, attrs.steps)):
        at = plus(scalar.axis(d), -start)
        if start != 0:
            conditions.append(scalar.apply("ge", scalar.axis(d), scalar.of_dim(start)))
        if stop != x.shape[d]:
            conditions.append(scalar.apply("lt", scalar.axis(d), scalar.of_dim(stop)))
        if step != 1:
            rest = scalar.apply("mod", at, scalar.integer(step))
            conditions.append(scalar.apply("eq", rest, scalar.integer(0)))
            at = scalar.apply("floordiv", at, scalar.integer(step))
        index.append(at)
    return scatter_stage(x, scalar.conjunction(*conditions), tuple(index))


def scatter_stage(x: TensorType, inside: Expr | None, index: tuple[Expr, ...]) -> Stage:
    """Return the stage of `x` with the second operand in its place where `inside` holds."""
    here = structured.identity_index(x.rank)
    if inside is None:
        return Stage(x.shape, (Reader(1, index),), (Read(0, x.dtype),))
    readers = (Reader(0, here), Reader(1, index, inside, zero(x.dtype)))
    return Stage(x.shape, readers, (scalar.select(inside, Read(1, x.dtype), Read(0, x.dtype)),))


def _slice_scatter_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x, but src at [a:b:c];  backward gx = g, but 0 there; gsrc = g[a:b:c]."""
    a = s.attrs
    attrs: dict[str, Any] = {"starts": a.starts, "stops": a.stops, "steps": a.steps}
    blank = r.full(0.0, s.input_types[1])
    return (
        r("slice_scatter", g, blank, **attrs) if s.needs[0] else None,
        r("slice", g, **attrs) if s.needs[1] else None,
    )


def _slice_scatter_samples() -> Iterator[Sample]:
    for x, attrs in _slice_cases():
        src = np.asarray(-x[(*slices(SliceAttrs(**attrs)), ...)])
        yield Sample((x, src), attrs)


def _flip_infer(attrs: DimsAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_dims("flip", attrs.dims, types[0].rank)
    return (types[0],)


def _flip_reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
    return xp.flip(x, attrs.dims).copy(order="C")


def _flip_define(attrs: DimsAttrs, x: TensorType) -> Stage:
    index: list[Expr] = []
    for d, extent in enumerate(x.shape):
        at: Expr = scalar.axis(d)
        if d in attrs.dims:
            at = scalar.apply("sub", scalar.of_dim(extent - 1), at)
        index.append(at)
    return structured.movement(x, x.shape, tuple(index))


def _flip_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[i] = x[n - 1 - i];  backward gx = g flipped back."""
    return (r("flip", g, dims=s.attrs.dims),)


def _flip_samples() -> Iterator[Sample]:
    x = sampling.normal(2, 3)
    for found in ((0,), (1,), (0, 1), ()):
        yield Sample((x,), {"dims": found})
    yield Sample((sampling.strided(x),), {"dims": (1,)})
    yield Sample((x[:, :0],), {"dims": (1,)})
    yield Sample((sampling.normal(3, dtype=dtypes.int64),), {"dims": (0,)})


def _pad_infer(attrs: PadAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    (x,) = types
    if not len(attrs.low) == len(attrs.high) == x.rank:
        raise ArgumentError(f"pad: low and high need one entry a dimension of {x}")
    for amount in (*attrs.low, *attrs.high):
        if amount != 0 and not dims.holds(0, "<=", amount):
            raise ArgumentError(
                f"pad: amounts must not be negative, but {amount} is; slice instead"
            )
    return (x.with_shape(tuple(a + n + b for a, n, b in zip(attrs.low, x.shape, attrs.high))),)


def _pad_reference(xp: Any, attrs: PadAttrs, x: Array) -> Array:
    sizes = tuple(a + n + b for a, n, b in zip(attrs.low, x.shape, attrs.high))
    out = xp.full(sizes, attrs.value, x.dtype)
    out[(*(slice(a, a + n) for a, n in zip(attrs.low, x.shape)), ...)] = x
    return out


def _pad_define(attrs: PadAttrs, x: TensorType) -> Stage:
    index: list[Expr] = []
    conditions: list[Expr] = []
    for d, (low, high, extent) in enumerate(zip(attrs.low, attrs.high, x.shape)):
        at = scalar.axis(d)
        if low != 0:
            conditions.append(scalar.apply("ge", at, scalar.of_dim(low)))
        if high != 0:
            conditions.append(scalar.apply("lt", at, scalar.of_dim(low + extent)))
        index.append(plus(at, -low))
    inside = scalar.conjunction(*conditions)
    shape = tuple(a + n + b for a, n, b in zip(attrs.low, x.shape, attrs.high))
    fill = None if inside is None else Const(scalar.as_python(attrs.value, x.dtype), x.dtype)
    return structured.movement(x, shape, tuple(index), inside, fill)


def _pad_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x amid value;  backward gx = the middle of g."""
    low, shape = s.attrs.low, s.input_types[0].shape
    stops = tuple(a + n for a, n in zip(low, shape))
    return (r("slice", g, starts=tuple(low), stops=stops, steps=(1,) * len(shape)),)


def _pad_samples() -> Iterator[Sample]:
    x = sampling.normal(2, 3)
    for low, high in (((1, 0), (0, 2)), ((0, 0), (0, 0)), ((2, 1), (1, 1)), ((0, 3), (0, 0))):
        yield Sample((x,), {"low": low, "high": high, "value": 0.5})
    attrs = {"low": (1, 1), "high": (0, 1), "value": 0}
    yield Sample((sampling.strided(x),), attrs)
    yield Sample((x[:, :0],), attrs)
    yield Sample((x,), attrs | {"value": float("-inf")}, differentiable=False)
    yield Sample((sampling.normal(2, 3, dtype=dtypes.int32),), attrs | {"value": -7})
    yield Sample((sampling.normal(2, 3, dtype=dtypes.bool_),), attrs | {"value": True})
    yield Sample((np.array(1.0),), {"low": (), "high": (), "value": 0.0})


OPS: tuple[OpDef, ...] = (
    OpDef(
        "slice",
        "x[starts:stops:steps]",
        ("x",),
        infer=_slice_infer,
        rule=Lower(_slice_define),
        vjp=Vjp((), _slice_vjp),
        samples=_slice_samples,
        reference=_slice_reference,
        attrs=SliceAttrs,
        view=_slice_view,
    ),
    OpDef(
        "slice_scatter",
        "x with src at [starts:stops:steps]",
        ("x", "src"),
        infer=_slice_scatter_infer,
        rule=Lower(_slice_scatter_define),
        vjp=Vjp((), _slice_scatter_vjp),
        samples=_slice_scatter_samples,
        reference=_slice_scatter_reference,
        attrs=SliceAttrs,
    ),
    OpDef(
        "flip",
        "x in reverse order along dims",
        ("x",),
        infer=_flip_infer,
        rule=Lower(_flip_define),
        vjp=Vjp((), _flip_vjp),
        samples=_flip_samples,
        reference=_flip_reference,
        attrs=DimsAttrs,
    ),
    OpDef(
        "pad",
        "x with value before and after",
        ("x",),
        infer=_pad_infer,
        rule=Lower(_pad_define),
        vjp=Vjp((), _pad_vjp),
        samples=_pad_samples,
        reference=_pad_reference,
        attrs=PadAttrs,
    ),
)
