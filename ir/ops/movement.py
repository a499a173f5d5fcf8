"""Movement: reshape, permute, expand, slice, flip, pad, concatenate.

Each definition is an index map: where in the operand the element at a point of the result lies.
Views are computed here too, for the frontend: `view` gives the layout of the result in the
operand's storage, or None where no strides express it.
"""

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
from smelt.ir.op import Decompose, Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, sampling
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType

Array = Any
Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class ShapeAttrs:
    """The shape of the result."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class DimsAttrs:
    """Dimensions of the operand."""

    dims: tuple[int, ...]


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


@dataclass(frozen=True, slots=True)
class DimAttrs:
    """The dimension along which operands are joined."""

    dim: int


@dataclass(frozen=True, slots=True)
class RollAttrs:
    """How far to rotate each of `dims`, towards higher indices."""

    shifts: Shape
    dims: tuple[int, ...]


def plus(expr: Expr, amount: int | Dim) -> Expr:
    """Return an index moved by an amount."""
    return expr if amount == 0 else scalar.apply("add", expr, scalar.of_dim(amount))


def times(expr: Expr, factor: int | Dim) -> Expr:
    """Return an index multiplied by a factor."""
    if factor == 0:
        return scalar.integer(0)
    return expr if factor == 1 else scalar.apply("mul", expr, scalar.of_dim(factor))


def zero(dtype: dtypes.DType) -> Const:
    """Return the constant 0 (False) of a dtype."""
    return Const(scalar.as_python(0, dtype), dtype)


def _product(shape: Shape) -> int | Dim:
    total: int | Dim = 1
    for extent in shape:
        total = total * extent
    return total


def _reshape_infer(attrs: ShapeAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("reshape", ("x",), types)
    (x,) = types
    if not dims.same(_product(x.shape), _product(attrs.shape)):
        raise TypeInferenceError(
            f"reshape: {x} has {_product(x.shape)} elements, which do not fill the shape "
            f"[{','.join(map(str, attrs.shape))}]"
        )
    return (x.with_shape(tuple(attrs.shape)),)


def _reshape_reference(xp: Any, attrs: ShapeAttrs, x: Array) -> Array:
    return x.reshape(attrs.shape)


def _reshape_define(attrs: ShapeAttrs, x: TensorType) -> Stage:
    index = reshape_index(x.shape, tuple(attrs.shape))
    return structured.movement(x, tuple(attrs.shape), index)


def reshape_index(source: Shape, target: Shape) -> tuple[Expr, ...]:
    """Return where in `source` each point of `target` lies, both in row-major order.

    Dimensions are matched in the smallest groups of equal size, so that what is not merged or
    split keeps an index of its own, and what is merged alone stays affine.
    """
    if 0 in source or 0 in target:
        return tuple(scalar.integer(0) for _ in source)
    index: dict[int, Expr] = {d: scalar.integer(0) for d, n in enumerate(source) if n == 1}
    inner = [d for d, n in enumerate(source) if n != 1]
    outer = [d for d, n in enumerate(target) if n != 1]
    while inner or outer:
        merged, split = _matching(source, inner, target, outer)
        line: Expr | None = None
        for d in outer[:split]:
            at = scalar.axis(d)
            line = at if line is None else scalar.apply("add", times(line, target[d]), at)
        line = scalar.integer(0) if line is None else line
        group = inner[:merged]
        for position, d in enumerate(group):
            step = _product(tuple(source[e] for e in group[position + 1 :]))
            part = line if step == 1 else scalar.apply("floordiv", line, scalar.of_dim(step))
            if position:
                part = scalar.apply("mod", part, scalar.of_dim(source[d]))
            index[d] = part
        inner, outer = inner[merged:], outer[split:]
    return tuple(index[d] for d in range(len(source)))


def _matching(source: Shape, inner: list[int], target: Shape, outer: list[int]) -> tuple[int, int]:
    """Return how many leading dimensions of each have, taken together, the same size."""
    sizes: dict[int | Dim, int] = {}
    total: int | Dim = 1
    for count, d in enumerate(inner, 1):
        total = total * source[d]
        sizes.setdefault(total, count)
    total = 1
    for count, d in enumerate(outer, 1):
        total = total * target[d]
        if total in sizes:
            return sizes[total], count
    return len(inner), len(outer)


def _reshape_view(attrs: ShapeAttrs, layout: Layout) -> Layout | None:
    """Return the strides of a reshape, or None where groups of dimensions do not merge."""
    sizes = tuple(n for n in attrs.shape if isinstance(n, int))
    if layout.size == 0 or layout.is_contiguous:
        return Layout(layout.offset, sizes, _row_major(sizes))
    # Runs of source dimensions that lie row-major among themselves, as (elements, step).
    runs: list[tuple[int, int]] = []
    for extent, stride in zip(layout.sizes, layout.strides):
        if extent == 1:
            continue
        if runs and runs[-1][1] == extent * stride:
            runs[-1] = (runs[-1][0] * extent, stride)
        else:
            runs.append((extent, stride))
    strides = [0] * len(sizes)
    left, stride = runs.pop() if runs else (1, 1)
    for d in reversed(range(len(sizes))):
        if left == 1 and sizes[d] != 1 and runs:
            left, stride = runs.pop()
        strides[d] = stride
        if left % sizes[d]:
            return None
        left //= sizes[d]
        stride *= sizes[d]
    return Layout(layout.offset, sizes, tuple(strides))


def _row_major(sizes: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for extent in reversed(sizes):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def _reshape_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x in another shape;  backward gx = g in x's shape."""
    return (r.reshape(g, s.input_types[0].shape),)


def _reshape_samples() -> Iterator[Sample]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3, 4), (6, 4)), ((2, 3, 4), (2, 12)), ((6, 4), (2, 3, 4)), ((6, 4), (4, 6)),
        ((2, 3, 4), (24,)), ((24,), (4, 3, 2)), ((2, 3, 4), (3, 2, 4)), ((2, 3), (2, 1, 3, 1)),
        ((1, 2, 1, 3), (2, 3)), ((1,), ()), ((), (1, 1)), ((0, 3), (3, 0, 2)), ((2, 0), (0,)),
        ((2, 6, 2), (4, 3, 2)),
    ]  # fmt: skip
    for source, target in cases:
        yield Sample((sampling.normal(*source),), {"shape": target})
    x = sampling.normal(2, 3, 4)
    yield Sample((sampling.strided(x),), {"shape": (4, 6)})
    yield Sample((sampling.strided(x),), {"shape": (2, 3, 2, 2)})
    for dtype in (dtypes.bool_, dtypes.int64, dtypes.bfloat16):
        yield Sample((sampling.normal(2, 3, dtype=dtype),), {"shape": (3, 2)})


def _permute_infer(attrs: DimsAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("permute", ("x",), types)
    (x,) = types
    if sorted(attrs.dims) != list(range(x.rank)):
        raise ArgumentError(
            f"permute: dims must be an order of the dimensions of {x}, but are {attrs.dims}"
        )
    return (x.with_shape(tuple(x.shape[d] for d in attrs.dims)),)


def _permute_reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
    return x.transpose(attrs.dims)


def _permute_define(attrs: DimsAttrs, x: TensorType) -> Stage:
    index = tuple(scalar.axis(attrs.dims.index(d)) for d in range(x.rank))
    return structured.movement(x, tuple(x.shape[d] for d in attrs.dims), index)


def _permute_view(attrs: DimsAttrs, layout: Layout) -> Layout:
    return Layout(
        layout.offset,
        tuple(layout.sizes[d] for d in attrs.dims),
        tuple(layout.strides[d] for d in attrs.dims),
    )


def _permute_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[i] = x[permuted i];  backward gx = g permuted back."""
    order = s.attrs.dims
    return (r.permute(g, tuple(order.index(d) for d in range(len(order)))),)


def _permute_samples() -> Iterator[Sample]:
    x = sampling.normal(2, 3, 4)
    for order in ((0, 1, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)):
        yield Sample((x,), {"dims": order})
    yield Sample((sampling.strided(x),), {"dims": (1, 2, 0)})
    yield Sample((np.array(1.0),), {"dims": ()})
    yield Sample((x[:, :0],), {"dims": (1, 0, 2)})
    yield Sample((sampling.normal(2, 3, dtype=dtypes.int32),), {"dims": (1, 0)})


def _expand_infer(attrs: ShapeAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("expand", ("x",), types)
    (x,) = types
    lead = len(attrs.shape) - x.rank
    fits = lead >= 0 and all(n == 1 or dims.same(n, m) for n, m in zip(x.shape, attrs.shape[lead:]))
    if not fits:
        raise TypeInferenceError(
            f"expand: {x} does not broadcast to the shape [{','.join(map(str, attrs.shape))}]"
        )
    return (x.with_shape(tuple(attrs.shape)),)


def _expand_reference(xp: Any, attrs: ShapeAttrs, x: Array) -> Array:
    return xp.broadcast_to(x, attrs.shape)


def _stretched(source: Shape, target: Shape) -> tuple[int, ...]:
    """Return the dimensions of `target` along which `source` repeats itself."""
    lead = len(target) - len(source)
    return (
        *range(lead),
        *(lead + d for d, n in enumerate(source) if n == 1 and target[lead + d] != 1),
    )


def _expand_define(attrs: ShapeAttrs, x: TensorType) -> Stage:
    lead = len(attrs.shape) - x.rank
    index = tuple(
        scalar.integer(0) if n == 1 else scalar.axis(lead + d) for d, n in enumerate(x.shape)
    )
    return structured.movement(x, tuple(attrs.shape), index)


def _expand_view(attrs: ShapeAttrs, layout: Layout) -> Layout:
    sizes = tuple(n for n in attrs.shape if isinstance(n, int))
    repeated = _stretched(layout.sizes, sizes)
    lead = len(sizes) - len(layout.sizes)
    strides = tuple(0 if d in repeated else layout.strides[d - lead] for d in range(len(sizes)))
    return Layout(layout.offset, sizes, strides)


def _expand_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x repeated;  backward gx = Σ g over the repetitions."""
    source = s.input_types[0].shape
    total = r.sum(g, _stretched(source, tuple(s.attrs.shape)))
    return (r.reshape(total, source),)


def _expand_samples() -> Iterator[Sample]:
    x = sampling.normal(2, 1, 3)
    for shape in ((2, 4, 3), (2, 1, 3), (5, 2, 4, 3), (2, 0, 3), (1, 2, 1, 3)):
        yield Sample((x,), {"shape": shape})
    yield Sample((np.array(2.0),), {"shape": (2, 3)})
    yield Sample((np.array(2.0),), {"shape": ()})
    yield Sample((sampling.strided(x),), {"shape": (2, 2, 3)})
    yield Sample((x[:0],), {"shape": (0, 4, 3)})
    yield Sample((sampling.normal(3, 1, dtype=dtypes.float16),), {"shape": (3, 40)})


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
    inference.expect_count("slice", ("x",), types)
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
    inference.expect_count("slice_scatter", ("x", "src"), types)
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
    inference.expect_count("flip", ("x",), types)
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
    inference.expect_count("pad", ("x",), types)
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


def _cat_infer(attrs: DimAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if not types:
        raise TypeInferenceError("cat: takes at least one operand, but none arrived")
    names = tuple(f"xs[{k}]" for k in range(len(types)))
    first, dim = types[0], attrs.dim
    inference.expect_dim("cat", "dim", dim, first.rank)
    inference.expect_same_dtype("cat", names, types)
    total: int | Dim = 0
    for name, found in zip(names, types):
        rest = (*found.shape[:dim], *found.shape[dim + 1 :])
        wanted = (*first.shape[:dim], *first.shape[dim + 1 :])
        if found.rank != first.rank or not inference.same_shape(rest, wanted):
            raise TypeInferenceError(
                f"cat: operands may differ in dimension {dim} alone: xs[0] is {first}, "
                f"{name} is {found}"
            )
        total = found.shape[dim] + total
    return (first.with_shape((*first.shape[:dim], total, *first.shape[dim + 1 :])),)


def _cat_reference(xp: Any, attrs: DimAttrs, *xs: Array) -> Array:
    shape = list(xs[0].shape)
    shape[attrs.dim] = sum(x.shape[attrs.dim] for x in xs)
    return xp.concatenate(xs, axis=attrs.dim, out=xp.empty(tuple(shape), xs[0].dtype))


def _cat_define(attrs: DimAttrs, *types: TensorType) -> Stage:
    dim, dtype = attrs.dim, types[0].dtype
    here = structured.identity_index(types[0].rank)
    at = here[dim]
    readers: list[Reader] = []
    body: Expr | None = None
    start: int | Dim = 0
    for k, found in enumerate(types):
        stop = found.shape[dim] + start
        below = scalar.apply("lt", at, scalar.of_dim(stop)) if k + 1 < len(types) else None
        above = scalar.apply("ge", at, scalar.of_dim(start)) if k else None
        inside = scalar.conjunction(above, below)
        index = (*here[:dim], plus(at, -start), *here[dim + 1 :])
        readers.append(Reader(k, index, inside, None if inside is None else zero(dtype)))
        body = (
            Read(k, dtype)
            if above is None or body is None
            else scalar.select(above, Read(k, dtype), body)
        )
        start = stop
    assert body is not None, "cat has at least one operand"
    shape = (*types[0].shape[:dim], start, *types[0].shape[dim + 1 :])
    return Stage(shape, tuple(readers), (body,))


def _cat_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = xs in a row;  backward each gx = its part of g."""
    dim = s.attrs.dim
    shape = s.output_types[0].shape
    grads: list[Operand | None] = []
    start: int | Dim = 0
    for found, wanted in zip(s.input_types, s.needs):
        stop = found.shape[dim] + start
        if wanted:
            starts = tuple(start if d == dim else 0 for d in range(len(shape)))
            stops = tuple(stop if d == dim else n for d, n in enumerate(shape))
            grads.append(r("slice", g, starts=starts, stops=stops, steps=(1,) * len(shape)))
        else:
            grads.append(None)
        start = stop
    return tuple(grads)


def _cat_samples() -> Iterator[Sample]:
    x, y, z = sampling.normal(2, 3), sampling.normal(2, 1, seed=1), sampling.normal(2, 0)
    yield Sample((x, y), {"dim": 1})
    yield Sample((x, z, y, x), {"dim": 1})
    yield Sample((x, sampling.strided(x)), {"dim": 0})
    yield Sample((x,), {"dim": 0})
    yield Sample((z, z), {"dim": 1})
    for dtype in (dtypes.bool_, dtypes.int64, dtypes.float16):
        x = sampling.normal(3, dtype=dtype)
        yield Sample((x, x[:2].copy()), {"dim": 0})


def _stack_infer(attrs: DimAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    if not types:
        raise TypeInferenceError("stack: takes at least one operand, but none arrived")
    names = tuple(f"xs[{k}]" for k in range(len(types)))
    first = types[0]
    inference.expect_dim("stack", "dim", attrs.dim, first.rank + 1)
    inference.expect_same_dtype("stack", names, types)
    inference.expect_same_shape("stack", names, types)
    return (first.with_shape((*first.shape[: attrs.dim], len(types), *first.shape[attrs.dim :])),)


def _stack_reference(xp: Any, attrs: DimAttrs, *xs: Array) -> Array:
    first = xs[0]
    shape = (*first.shape[: attrs.dim], len(xs), *first.shape[attrs.dim :])
    return xp.stack(xs, axis=attrs.dim, out=xp.empty(shape, first.dtype))


def _stack_decompose(r: Rules, attrs: DimAttrs, *xs: Operand) -> Operand:
    return r("cat", *(r.unsqueeze(x, (attrs.dim,)) for x in xs), dim=attrs.dim)


def _stack_samples() -> Iterator[Sample]:
    x, y = sampling.normal(2, 3), sampling.normal(2, 3, seed=1)
    for dim in (0, 1, 2):
        yield Sample((x, sampling.strided(y)), {"dim": dim})
    yield Sample((x,), {"dim": 0})
    yield Sample((np.array(1.0), np.array(2.0)), {"dim": 0})
    yield Sample((x[:0], y[:0]), {"dim": 1})


def _roll_infer(attrs: RollAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("roll", ("x",), types)
    if len(attrs.shifts) != len(attrs.dims):
        raise ArgumentError(f"roll: {len(attrs.shifts)} shifts for {len(attrs.dims)} dims")
    for dim in attrs.dims:
        inference.expect_dim("roll", "dims", dim, types[0].rank)
    return (types[0],)


def _roll_reference(xp: Any, attrs: RollAttrs, x: Array) -> Array:
    rolled = xp.roll(x, attrs.shifts, attrs.dims)
    return rolled.copy(order="C") if rolled is x else xp.asarray(rolled, order="C")


def _roll_decompose(r: Rules, attrs: RollAttrs, x: Operand) -> Operand:
    shape = r.type(x).shape
    steps = (1,) * len(shape)
    moved = False
    for shift, dim in zip(attrs.shifts, attrs.dims):
        extent = shape[dim]
        amount = 0 if extent == 0 else shift % extent
        if amount == 0:
            continue
        split = extent - amount
        starts = tuple(split if d == dim else 0 for d in range(len(shape)))
        stops = tuple(split if d == dim else n for d, n in enumerate(shape))
        tail = r("slice", x, starts=starts, stops=shape, steps=steps)
        front = r("slice", x, starts=(0,) * len(shape), stops=stops, steps=steps)
        x = r("cat", tail, front, dim=dim)
        moved = True
    return x if moved else r("contiguous", x)


def _roll_samples() -> Iterator[Sample]:
    x = sampling.normal(3, 4)
    for shifts, found in (((1,), (0,)), ((-1, 5), (0, 1)), ((0,), (1,)), ((3,), (0,))):
        yield Sample((x,), {"shifts": shifts, "dims": found})
    yield Sample((sampling.strided(x),), {"shifts": (2,), "dims": (1,)})
    yield Sample((x[:0],), {"shifts": (2,), "dims": (0,)})


OPS: tuple[OpDef, ...] = (
    OpDef(
        "reshape",
        "x in another shape, in row-major order",
        ("x",),
        infer=_reshape_infer,
        rule=Lower(_reshape_define),
        vjp=Vjp((), _reshape_vjp),
        samples=_reshape_samples,
        reference=_reshape_reference,
        attrs=ShapeAttrs,
        view=_reshape_view,
    ),
    OpDef(
        "permute",
        "out[i…] = x[i reordered]: dimension k of the result is dims[k] of x",
        ("x",),
        infer=_permute_infer,
        rule=Lower(_permute_define),
        vjp=Vjp((), _permute_vjp),
        samples=_permute_samples,
        reference=_permute_reference,
        attrs=DimsAttrs,
        view=_permute_view,
    ),
    OpDef(
        "expand",
        "x repeated along new leading dimensions and those of size 1",
        ("x",),
        infer=_expand_infer,
        rule=Lower(_expand_define),
        vjp=Vjp((), _expand_vjp),
        samples=_expand_samples,
        reference=_expand_reference,
        attrs=ShapeAttrs,
        view=_expand_view,
    ),
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
    OpDef(
        "cat",
        "xs one after another along dim",
        ("*xs",),
        infer=_cat_infer,
        rule=Lower(_cat_define),
        vjp=Vjp((), _cat_vjp),
        samples=_cat_samples,
        reference=_cat_reference,
        attrs=DimAttrs,
    ),
    OpDef(
        "stack",
        "xs side by side along a new dim",
        ("*xs",),
        infer=_stack_infer,
        rule=Decompose(_stack_decompose),
        vjp=None,
        samples=_stack_samples,
        reference=_stack_reference,
        attrs=DimAttrs,
    ),
    OpDef(
        "roll",
        "out[i] = x[(i - shift) mod n]",
        ("x",),
        infer=_roll_infer,
        rule=Decompose(_roll_decompose),
        vjp=None,
        samples=_roll_samples,
        reference=_roll_reference,
        attrs=RollAttrs,
    ),
)
