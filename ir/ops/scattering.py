"""Scatters: elements written, or added, at positions that are data.

Each is a loop nest: first every position is checked, then x is copied, then the index is walked in
row-major order, so that of several writes to one place the last one stays, and sums have one order.
Sums of half types are rounded at each addition; derivatives add in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import Names, for_nest, load, store
from smelt.ir.loop.grammar import Accumulate, Buffer, Check, Kind, Let, Stmt
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.indexing import (
    GatherAttrs,
    check_indices,
    check_range,
    expect_index,
    expect_indices,
    fits_under,
    in_range,
    indexed_first,
    numbers,
    wrapped,
)
from smelt.ir.scalar import Expr, Var
from smelt.ir.structured import DataCheck, Nest
from smelt.ir.types import Shape, TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class IndexPutAttrs:
    """Attributes of `index_put`: the indexed dimensions, and whether values are added."""

    dims: tuple[int, ...]
    accumulate: bool = False


# Loop nests


def _axes(names: Names, shape: Shape) -> list[tuple[Var, int | Dim]]:
    return [(names.var("i"), extent) for extent in shape]


def _variables(axes: Sequence[tuple[Var, int | Dim]]) -> tuple[Var, ...]:
    return tuple(var for var, _ in axes)


def _copied(names: Names, x: Buffer, out: Buffer) -> tuple[Stmt, ...]:
    axes = _axes(names, out.shape)
    place = _variables(axes)
    return for_nest(axes, [store(out, place, load(x, *place))])


def _checked(
    names: Names, shape: Shape, check: Callable[[tuple[Var, ...]], Sequence[DataCheck]]
) -> tuple[Stmt, ...]:
    axes = _axes(names, shape)
    found = check(_variables(axes))
    return for_nest(axes, [Check(c.holds, c.code, c.value, c.limit) for c in found])


def _written(out: Buffer, place: Sequence[Expr], value: Expr, add: bool) -> Stmt:
    if add and out.dtype is dtypes.bool_:
        return Accumulate(out, tuple(place), "or", value)
    return Accumulate(out, tuple(place), "add", value) if add else store(out, place, value)


def _scatter_nest(
    dim: int, index_rank: int, add: bool
) -> Callable[[tuple[Buffer, ...], tuple[Buffer, ...]], tuple[Stmt, ...]]:
    """Return the builder for x, index, src; a 1-D index beside a deeper src picks slices."""

    def build(inputs: tuple[Buffer, ...], outputs: tuple[Buffer, ...]) -> tuple[Stmt, ...]:
        x, index, src = inputs
        (out,) = outputs
        names = Names(b.name for b in (*inputs, *outputs))
        slices = index_rank != len(x.shape)

        def position(place: tuple[Var, ...]) -> Expr:
            return load(index, place[dim]) if slices else load(index, *place)

        checks = _checked(names, index.shape, lambda p: [in_range(load(index, *p), x.shape[dim])])
        axes = _axes(names, src.shape if slices else index.shape)
        place = _variables(axes)
        at = names.var("at")
        target = tuple(at if d == dim else v for d, v in enumerate(place))
        write = Let(at, position(place), (_written(out, target, load(src, *place), add),))
        return (*checks, *_copied(names, x, out), *for_nest(axes, [write]))

    return build


def _index_put_nest(
    attrs: IndexPutAttrs,
) -> Callable[[tuple[Buffer, ...], tuple[Buffer, ...]], tuple[Stmt, ...]]:
    def build(inputs: tuple[Buffer, ...], outputs: tuple[Buffer, ...]) -> tuple[Stmt, ...]:
        x, values, *indices = inputs
        (out,) = outputs
        names = Names(b.name for b in (*inputs, *outputs))
        shape = indices[0].shape
        checks = _checked(
            names,
            shape,
            lambda p: [
                in_range(load(index, *p), x.shape[d], x.shape[d] * -1)
                for d, index in zip(attrs.dims, indices)
            ],
        )
        axes = _axes(names, values.shape)
        place = _variables(axes)
        positions = {
            d: wrapped(load(index, *place[: len(shape)]), x.shape[d])
            for d, index in zip(attrs.dims, indices)
        }
        rest = iter(place[len(shape) :])
        target = [positions[d] if d in positions else next(rest) for d in range(len(x.shape))]
        write = _written(out, target, load(values, *place), attrs.accumulate)
        return (*checks, *_copied(names, x, out), *for_nest(axes, [write], Kind.SERIAL))

    return build


# Arrays


def _wide(x: Array) -> Array:
    return x.astype(dtypes.of_numpy(x.dtype).accumulator.numpy, order="C")


def add_at(xp: Any, out: Array, index: Any, src: Array) -> None:
    """Add `src` to `out[index]` in place, each of several elements at one place."""
    if out.dtype == np.bool_:
        xp.logical_or.at(out, index, src)
    else:
        xp.add.at(out, index, src)


def _add_rows(xp: Any, out: Array, index: Array, src: Array) -> None:
    """Add row k of `src` to row index[k] of `out` in place, rows of one number summed first."""
    order = xp.argsort(index, kind="stable")
    ordered = index[order]
    starts = xp.flatnonzero(xp.concatenate([[True], ordered[1:] != ordered[:-1]]))
    out[ordered[starts]] += xp.add.reduceat(src[order], starts, axis=0)


def _open_index(xp: Any, dim: int, index: Array) -> tuple[Array, ...]:
    """Return the positions that `index` stands for, as one array a dimension."""
    grid = xp.ogrid[tuple(slice(0, n) for n in index.shape)]
    return tuple(index if d == dim else g for d, g in enumerate(grid))


# scatter and scatter_add


def _infer_scatter(op: str) -> Callable[..., tuple[TensorType, ...]]:
    def infer(
        attrs: GatherAttrs, x: TensorType, index: TensorType, src: TensorType
    ) -> tuple[TensorType, ...]:
        expect_index(op, attrs.dim, x, index)
        expect.same_dtype(op, x=x, src=src)
        if src.rank != index.rank or not fits_under(index.shape, src.shape, None):
            expect.mismatch(op, "index must not be larger than src", index=index, src=src)
        return (x,)

    return infer


def _part(index: Array, src: Array) -> Array:
    return src[tuple(slice(0, n) for n in index.shape)]


def _scatter(xp: Any, attrs: GatherAttrs, x: Array, index: Array, src: Array) -> Array:
    check_range(index, x.shape[attrs.dim])
    out = xp.array(x, order="C")
    if index.size:
        # Flat and in order, so that the last of several writes stays.
        places = xp.broadcast_arrays(*_open_index(xp, attrs.dim, index))
        out[tuple(p.reshape(-1) for p in places)] = _part(index, src).reshape(-1)
    return out


def _scatter_add(xp: Any, attrs: GatherAttrs, x: Array, index: Array, src: Array) -> Array:
    check_range(index, x.shape[attrs.dim])
    out = _wide(x)
    if index.size:
        add_at(xp, out, _open_index(xp, attrs.dim, index), _part(index, src).astype(out.dtype))
    return out.astype(x.dtype, copy=False)


def _define_scatter(add: bool) -> Callable[..., Nest]:
    def define(attrs: GatherAttrs, x: TensorType, index: TensorType, src: TensorType) -> Nest:
        return Nest(_scatter_nest(attrs.dim, x.rank, add))

    return define


def _src_cotangent(r: Rules, s: Saved, g: Operand) -> Operand:
    """Return g gathered at the index, 0 where src reaches beyond the index."""
    _, index, src = s.input_types
    taken = r("gather", g, s["index"], dim=s.attrs.dim)
    if index.shape == src.shape:
        return taken
    high = tuple(n - m for m, n in zip(index.shape, src.shape))
    return r("pad", taken, low=(0,) * index.rank, high=high, value=0.0)


def _scatter_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = g, 0 where written; gsrc = gather(g, index)."""
    dx = None
    if s.needs[0]:
        zeros = r.full(0.0, s.input_types[0].with_shape(s.input_types[1].shape))
        dx = r("scatter", g, s["index"], zeros, dim=s.attrs.dim)
    return dx, None, _src_cotangent(r, s, g) if s.needs[2] else None


def _scatter_add_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = g, gsrc = gather(g, index)."""
    return g, None, _src_cotangent(r, s, g) if s.needs[2] else None


# index_add


def _infer_index_add(
    attrs: GatherAttrs, x: TensorType, index: TensorType, src: TensorType
) -> tuple[TensorType, ...]:
    op = "index_add"
    expect.indices(op, index=index)
    expect.dim_of(op, attrs.dim, x)
    expect.same_dtype(op, x=x, src=src)
    if index.rank != 1:
        expect.mismatch(op, "index must have one dimension", x=x, index=index)
    shape = (*x.shape[: attrs.dim], index.shape[0], *x.shape[attrs.dim + 1 :])
    expect.of_shape(op, shape, src=src)
    return (x,)


def _index_add(xp: Any, attrs: GatherAttrs, x: Array, index: Array, src: Array) -> Array:
    check_range(index, x.shape[attrs.dim])
    out = _wide(x)
    if src.size:
        rows, added = out.swapaxes(0, attrs.dim), src.swapaxes(0, attrs.dim).astype(out.dtype)
        if out.dtype == np.bool_:
            add_at(xp, rows, index, added)
        else:
            _add_rows(xp, rows, index, added)
    return out.astype(x.dtype, copy=False)


def _define_index_add(
    attrs: GatherAttrs, x: TensorType, index: TensorType, src: TensorType
) -> Nest:
    return Nest(_scatter_nest(attrs.dim, 1, True))


def _index_add_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = g, gsrc = index_select(g, index)."""
    return g, None, r("index_select", g, s["index"], dim=s.attrs.dim) if s.needs[2] else None


# index_put


def _infer_index_put(
    attrs: IndexPutAttrs, x: TensorType, values: TensorType, *indices: TensorType
) -> tuple[TensorType, ...]:
    shape = expect_indices("index_put", attrs.dims, x, indices)
    expect.same_dtype("index_put", x=x, values=values)
    expect.of_shape("index_put", shape, values=values)
    return (x,)


def _index_put(xp: Any, attrs: IndexPutAttrs, x: Array, values: Array, *indices: Array) -> Array:
    check_indices(attrs.dims, x.shape, indices)
    out = _wide(x) if attrs.accumulate else xp.array(x, order="C")
    if values.size:
        target = indexed_first(out, attrs.dims)
        places = tuple(index.reshape(-1) for index in indices)
        rows = values.reshape(places[0].size, *values.shape[indices[0].ndim :])
        if attrs.accumulate:
            add_at(xp, target, places, rows.astype(out.dtype))
        else:
            target[places] = rows
    return out.astype(x.dtype, copy=False)


def _define_index_put(
    attrs: IndexPutAttrs, x: TensorType, values: TensorType, *indices: TensorType
) -> Nest:
    return Nest(_index_put_nest(attrs))


def _index_put_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gvalues = index(g, indices); gx = g, 0 where overwritten."""
    indices, dims = s["indices"], s.attrs.dims
    dx = g if s.needs[0] else None
    if s.needs[0] and not s.attrs.accumulate:
        zeros = r.full(0.0, s.input_types[1])
        dx = r("index_put", g, zeros, *indices, dims=dims, accumulate=False)
    dv = r("index", g, *indices, dims=dims) if s.needs[1] else None
    return (dx, dv, *(None for _ in indices))


# Samples


def _scatter_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, dtype=dtypes.float64)
    index = numbers([[0, 3, 1], [2, 1, 0]])
    yield Sample((x, index, sampling.normal(2, 3, dtype=dtypes.float64)), {"dim": 1})
    yield Sample((x, numbers([[0, 2, 0, 1]]), sampling.normal(2, 5, dtype=dtypes.float64)),
                 {"dim": 0})  # fmt: skip
    strided = sampling.strided(sampling.normal(2, 3))
    yield Sample((strided, numbers([[2], [0]]), sampling.normal(2, 1)), {"dim": 1})
    ints = sampling.normal(4, dtype=dtypes.int32)
    yield Sample((ints, numbers([3, 0]), numbers([7, 8]).astype(np.int32)), {"dim": 0})
    yield Sample((x, np.zeros((0, 2), np.int64), np.zeros((0, 2))), {"dim": 1})


def _twice() -> Iterable[Sample]:
    yield from _scatter_samples()
    x = sampling.normal(3, 2, dtype=dtypes.float64)
    twice = numbers([[1, 1], [1, 0]])
    yield Sample((x, twice, np.ones((2, 2))), {"dim": 0}, differentiable=False)


def _scatter_add_samples() -> Iterable[Sample]:
    yield from _scatter_samples()
    for dtype in (dtypes.float64, dtypes.float16):
        x, src = sampling.normal(3, 2, dtype=dtype), sampling.normal(3, 2, dtype=dtype, seed=1)
        yield Sample((x, numbers([[1, 1], [1, 0], [2, 1]]), src), {"dim": 0})


def _index_add_samples() -> Iterable[Sample]:
    for dtype in (dtypes.float64, dtypes.float32, dtypes.bfloat16, dtypes.int64):
        x, src = sampling.normal(3, 2, dtype=dtype), sampling.normal(4, 2, dtype=dtype, seed=1)
        yield Sample((x, numbers([1, 0, 1, 1]), src), {"dim": 0})
    x = sampling.strided(sampling.normal(2, 3, 2, dtype=dtypes.float64))
    src = sampling.normal(2, 2, 2, dtype=dtypes.float64, seed=1)
    yield Sample((x, numbers([2, 0]), src), {"dim": 1})
    yield Sample((x, np.zeros(0, np.int64), src[:, :0]), {"dim": 1})


def _index_put_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, 2, dtype=dtypes.float64)
    rows = sampling.normal(2, 4, 2, dtype=dtypes.float64, seed=1)
    for accumulate in (False, True):
        attrs = {"dims": (0,), "accumulate": accumulate}
        yield Sample((x, rows, numbers([2, -3])), attrs)
        attrs = {"dims": (0, 2), "accumulate": accumulate}
        pair = numbers([[0, 1]]), numbers([[-1, 0]])
        yield Sample((x, rows[:1, :2].reshape(1, 2, 2)[..., [0, 1, 0, 1]], *pair), attrs)
        strided = sampling.strided(x.astype(np.float32))
        yield Sample((strided, rows[:1, 0, :].astype(np.float32), numbers([1]), numbers([-4])),
                     {"dims": (0, 1), "accumulate": accumulate})  # fmt: skip
        yield Sample((x, rows[:0], np.zeros(0, np.int64)), {"dims": (0,), "accumulate": accumulate})
    twice = {"dims": (0,), "accumulate": True}
    yield Sample((x, rows, numbers([1, 1])), twice)
    yield Sample((x, rows, numbers([1, -2])), {"dims": (0,)}, differentiable=False)


_SCATTERED = ("x", "index", "src")

OPS: tuple[OpDef, ...] = (
    OpDef(
        name="scatter",
        doc="x with src written at x[..., index[i], ...] of dimension dim",
        operands=_SCATTERED,
        attrs=GatherAttrs,
        infer=_infer_scatter("scatter"),
        reference=_scatter,
        rule=Lower(_define_scatter(False)),
        vjp=Vjp(("index",), _scatter_vjp),
        samples=_twice,
    ),
    OpDef(
        name="scatter_add",
        doc="x with src added at x[..., index[i], ...] of dimension dim",
        operands=_SCATTERED,
        attrs=GatherAttrs,
        infer=_infer_scatter("scatter_add"),
        reference=_scatter_add,
        rule=Lower(_define_scatter(True)),
        vjp=Vjp(("index",), _scatter_add_vjp),
        samples=_scatter_add_samples,
        error=16.0,
    ),
    OpDef(
        name="index_add",
        doc="x with slice k of src added to slice index[k] along dim",
        operands=_SCATTERED,
        attrs=GatherAttrs,
        infer=_infer_index_add,
        reference=_index_add,
        rule=Lower(_define_index_add),
        vjp=Vjp(("index",), _index_add_vjp),
        samples=_index_add_samples,
        error=16.0,
    ),
    OpDef(
        name="index_put",
        doc="x with values written, or added, where index reads",
        operands=("x", "values", "*indices"),
        attrs=IndexPutAttrs,
        infer=_infer_index_put,
        reference=_index_put,
        rule=Lower(_define_index_put),
        vjp=Vjp(("indices",), _index_put_vjp),
        samples=_index_put_samples,
        error=16.0,
    ),
)
