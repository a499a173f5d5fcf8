"""Ops along one dimension whose order matters: cumulative ones, sorting, the k greatest.

Their definitions are loop nests: one independent line along `dim` for each point of the other
dimensions. Half types accumulate in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError
from smelt.ir.loop.grammar import (
    Alloc,
    Buffer,
    For,
    If,
    Kind,
    Let,
    Space,
    Stmt,
    Store,
    row_major_buffer,
)
from smelt.ir.op import Decompose, Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import ANY, REAL, Kinds
from smelt.ir.scalar import Const, Expr, Load, Var
from smelt.ir.structured import Nest
from smelt.ir.types import TensorType

Array = Any
Gradients = tuple[Operand | None, ...]
Buffers = tuple[Buffer, ...]


@dataclass(frozen=True, slots=True)
class DimAttrs:
    """The dimension along which the op runs."""

    dim: int


@dataclass(frozen=True, slots=True)
class SortAttrs:
    """The dimension that is sorted, and whether the greatest comes first."""

    dim: int
    descending: bool = False


@dataclass(frozen=True, slots=True)
class TopkAttrs:
    """How many, along which dimension, and whether the greatest or the least."""

    k: int
    dim: int
    largest: bool = True


def _infer(name: str, kinds: Kinds, *, pairs: bool = False) -> Callable[..., Any]:
    def infer(attrs: DimAttrs | SortAttrs, *types: TensorType) -> tuple[TensorType, ...]:
        inference.expect_count(name, ("x",), types)
        (x,) = types
        inference.expect_kind(name, "x", x, kinds)
        inference.expect_dim(name, "dim", attrs.dim, x.rank)
        return (x, x.with_dtype(dtypes.int64)) if pairs else (x,)

    return infer


def _lines(shape: tuple[int | Dim, ...], dim: int, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Return loops that run `body` for each line along `dim`; axis d is the variable `i{d}`."""
    for d in reversed(range(len(shape))):
        if d != dim:
            start, stop = scalar.integer(0), scalar.of_dim(shape[d])
            body = (For(scalar.axis(d), start, stop, Kind.SERIAL, body),)
    return body


def _along(buffer: Buffer, dim: int, position: Expr) -> tuple[Expr, ...]:
    """Return the index of a point of the current line of `buffer`."""
    return tuple(position if d == dim else scalar.axis(d) for d in range(len(buffer.shape)))


def _cell(name: str, dtype: DType) -> Buffer:
    return row_major_buffer(name, dtype, (1,), Space.LOCAL)


_FIRST: tuple[Expr, ...] = (scalar.integer(0),)


def _accumulate_nest(op: str, identity: float) -> Callable[..., Nest]:
    """Return the definition of a running sum or product: out[i] = op(out[i - 1], x[i])."""

    def define(attrs: DimAttrs, x: TensorType) -> Nest:
        dtype = x.dtype.accumulator
        dim = attrs.dim

        def build(inputs: Buffers, outputs: Buffers) -> tuple[Stmt, ...]:
            (source,), (out,) = inputs, outputs
            running = _cell("running", dtype)
            at = _along(out, dim, scalar.axis(dim))
            value = scalar.cast(Load(source, at), dtype)
            total = Var("total", dtype)
            step = Let(
                total,
                scalar.apply(op, Load(running, _FIRST), value),
                (Store(running, _FIRST, total), Store(out, at, scalar.cast(total, x.dtype))),
            )
            start = Const(scalar.as_python(identity, dtype), dtype)
            stop = scalar.of_dim(x.shape[dim])
            loop = For(scalar.axis(dim), scalar.integer(0), stop, Kind.SERIAL, (step,))
            line = (Alloc(running, (Store(running, _FIRST, start), loop)),)
            return _lines(out.shape, dim, line)

        return Nest(build)

    return define


def _accumulate_reference(function: str) -> Callable[..., Array]:
    def reference(xp: Any, attrs: DimAttrs, x: Array) -> Array:
        accumulate = getattr(xp, function).accumulate
        with np.errstate(all="ignore"):
            if pointwise.is_half(x):
                wide = accumulate(x.astype(np.float32), axis=attrs.dim)
                return wide.astype(x.dtype, order="C")
            out = xp.empty(x.shape, x.dtype)
            return accumulate(x, axis=attrs.dim, dtype=x.dtype, out=out)

    return reference


def _reversed_sum(r: Rules, x: Operand, dim: int) -> Operand:
    """Return the sum of each element and all after it."""
    return r("flip", r("cumsum", r("flip", x, dims=(dim,)), dim=dim), dims=(dim,))


def _cumsum_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[i] = Σⱼ≤ᵢ x[j];  backward gx[j] = Σᵢ≥ⱼ g[i]."""
    return (_reversed_sum(r, g, s.attrs.dim),)


@pointwise.widened
def _cumprod_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[i] = Πⱼ≤ᵢ x[j];  backward gx[j] = Σᵢ≥ⱼ g[i] Π x[k] over k <= i, k ≠ j.

    The products are written out without division, so zeros need no case of their own: with
    t[j] = g[j] + x[j + 1] t[j + 1], gx[j] = t[j] * (the product before j). The recurrence for t is
    unrolled into a lower triangle of partial products, quadratic in the length of the line.
    """
    dim, x = s.attrs.dim, s["x"]
    found = r.type(x)
    rank, extent = found.rank, found.shape[dim]
    # Row j, column i of the last two dimensions holds x[i] where i > j and 1 elsewhere; its
    # running product is the product of x[j + 1] to x[i].
    order = (*(d for d in range(rank) if d != dim), dim)
    line = r.permute(x, order)
    square = (*r.type(line).shape, extent)
    spread = r.expand(r.unsqueeze(line, (rank - 1,)), square)
    rows, columns = (r("iota", shape=square, dim=rank - 1 + d, dtype=dtypes.int64) for d in (0, 1))
    later = r("gt", columns, rows)
    partial = r("cumprod", r("where", later, spread, r.full_like(spread, 1.0)), dim=rank)
    above = r("where", r("ge", columns, rows), partial, r.full_like(partial, 0.0))
    weights = r.expand(r.unsqueeze(r.permute(g, order), (rank - 1,)), square)
    after = r.sum(r("mul", above, weights), (rank,))
    low = tuple(int(d == rank - 1) for d in range(rank))
    shifted = r("pad", line, low=low, high=(0,) * rank, value=1.0)
    shape = r.type(line).shape
    before = r("slice", shifted, starts=(0,) * rank, stops=shape, steps=(1,) * rank)
    gx = r("mul", after, r("cumprod", before, dim=rank - 1))
    return (r.permute(gx, tuple(order.index(d) for d in range(rank))),)


def _samples(kinds: Kinds, *attrs: dict[str, Any]) -> Callable[[], Iterator[Sample]]:
    choices = attrs or ({},)

    def samples() -> Iterator[Sample]:
        for chosen in choices:
            for dtype in (dtypes.bool_, dtypes.int32, dtypes.int64, dtypes.uint8, *dtypes.FLOATS):
                if dtype.kind in kinds:
                    x = sampling.normal(3, 5, dtype=dtype, seed=6)
                    yield Sample((x,), {"dim": 1, **chosen})
            x = sampling.normal(2, 4, 3, seed=7)
            for dim in (0, 1, 2):
                yield Sample((x,), {"dim": dim, **chosen})
            yield Sample((sampling.strided(x),), {"dim": 1, **chosen})
            yield Sample((x[:0],), {"dim": 1, **chosen})
            yield Sample((x[:, :, :1],), {"dim": 2, **chosen})
            special = np.stack([sampling.special(), sampling.special()[::-1]])
            yield Sample((special,), {"dim": 1, **chosen}, differentiable=False)

    return samples


def _products() -> Iterator[Sample]:
    yield from _samples(REAL)()
    zeros = np.array([[1.0, 0.0, 3.0, 2.0], [0.0, 2.0, 0.0, 1.0]])
    yield Sample((zeros,), {"dim": 1})


def _ordered() -> Iterator[Sample]:
    yield from _samples(ANY)()
    tied = np.array([[1.0, 2.0, 2.0, -0.0, 0.0], [3.0, 3.0, 1.0, 3.0, 4.0]])
    yield Sample((tied,), {"dim": 1}, differentiable=False)


def _extreme_reference(function: str) -> Callable[..., tuple[Array, Array]]:
    def reference(xp: Any, attrs: DimAttrs, x: Array) -> tuple[Array, Array]:
        wide = x.astype(np.float32) if pointwise.is_half(x) else x
        with np.errstate(invalid="ignore"):
            values = getattr(xp, function).accumulate(wide, axis=attrs.dim)
            # A record is an element that equals the running extreme; of equal ones the last counts.
            record = wide == values
            if wide.dtype.kind == "f":
                record |= xp.isnan(wide)
        column = [1] * x.ndim
        column[attrs.dim] = x.shape[attrs.dim]
        line = xp.arange(x.shape[attrs.dim], dtype=np.int64).reshape(column)
        positions = xp.where(record, line, 0)
        indices = xp.maximum.accumulate(positions, axis=attrs.dim)
        return values.astype(x.dtype, order="C"), xp.ascontiguousarray(indices)

    return reference


def _beats(op: str, value: Expr, best: Expr) -> Expr:
    """Return whether a later value takes the record: NaN always, else if not NaN precedes it."""
    taken: Expr = scalar.apply(op, value, best)
    if value.dtype.kind is not dtypes.Kind.FLOAT:
        return taken
    valid = scalar.apply("not", scalar.apply("isnan", best))
    return scalar.apply("or", scalar.apply("isnan", value), scalar.apply("and", valid, taken))


def _extreme_nest(op: str) -> Callable[..., Nest]:
    def define(attrs: DimAttrs, x: TensorType) -> Nest:
        dim = attrs.dim
        dtype = _comparable(x.dtype)

        def build(inputs: Buffers, outputs: Buffers) -> tuple[Stmt, ...]:
            (source,), (out, indices) = inputs, outputs
            best, where = _cell("best", dtype), _cell("where", dtypes.int64)
            i = scalar.axis(dim)
            at = _along(source, dim, i)
            value = Var("value", dtype)
            first = scalar.apply("eq", i, scalar.integer(0))
            takes = scalar.apply("or", first, _beats(op, value, Load(best, _FIRST)))
            record = If(takes, (Store(best, _FIRST, value), Store(where, _FIRST, i)))
            kept = (
                Store(out, at, scalar.cast(Load(best, _FIRST), x.dtype)),
                Store(indices, at, Load(where, _FIRST)),
            )
            step = Let(value, scalar.cast(Load(source, at), dtype), (record, *kept))
            stop = scalar.of_dim(x.shape[dim])
            loop = For(i, scalar.integer(0), stop, Kind.SERIAL, (step,))
            # Nothing is read before the first element is stored; this makes the cells defined.
            start = (
                Store(best, _FIRST, Const(scalar.as_python(0, dtype), dtype)),
                Store(where, _FIRST, scalar.integer(0)),
            )
            line = (Alloc(best, (Alloc(where, (*start, loop)),)),)
            return _lines(out.shape, dim, line)

        return Nest(build)

    return define


def _comparable(dtype: DType) -> DType:
    """Return the dtype in which elements are compared."""
    return dtypes.float32 if dtype.is_half else dtype


def _place_vjp(r: Rules, s: Saved, g: Operand | None, _: Operand | None) -> Gradients:
    """Forward out[i] = x[indices[i]];  backward gx[j] = Σ g[i] over indices[i] = j."""
    if g is None:
        return (None,)
    blank = r.full(0.0, s.input_types[0])
    return (r("scatter_add", blank, s["indices"], g, dim=s.attrs.dim),)


def _order(xp: Any, x: Array, dim: int, descending: bool) -> Array:
    """Return the indices of a stable sort along `dim`; NaN counts as the greatest."""
    wide = x.astype(np.float32) if pointwise.is_half(x) else x
    if not descending:
        return xp.argsort(wide, axis=dim, kind="stable")
    # Sorting the reversed line and reversing the result keeps equal elements in their order.
    backwards = xp.argsort(xp.flip(wide, dim), axis=dim, kind="stable")
    return x.shape[dim] - 1 - xp.flip(backwards, dim)


def _sort_reference(xp: Any, attrs: SortAttrs, x: Array) -> tuple[Array, Array]:
    indices = _order(xp, x, attrs.dim, attrs.descending).astype(np.int64, order="C")
    values = xp.take_along_axis(x, indices, axis=attrs.dim)
    return values.copy(order="C"), indices


def _precedes(descending: bool, a: Expr, b: Expr) -> Expr:
    """Return whether `a`, though later, goes before `b`: strictly greater or less, NaN greatest."""
    before: Expr = scalar.apply("gt" if descending else "lt", a, b)
    if a.dtype.kind is not dtypes.Kind.FLOAT:
        return before
    great, small = (a, b) if descending else (b, a)
    above = scalar.apply("and", scalar.apply("isnan", great), _not_nan(small))
    return scalar.apply("or", above, before)


def _not_nan(x: Expr) -> Expr:
    return scalar.apply("not", scalar.apply("isnan", x))


def _sort_define(attrs: SortAttrs, x: TensorType) -> Nest:
    """Return a stable merge sort of each line, bottom up.

    Runs of 1, 2, 4, … elements are merged pairwise from the results into scratch lines and copied
    back, log₂ n times (D. E. Knuth, The Art of Computer Programming 3, section 5.2.4, algorithm S).
    """
    dim, extent = attrs.dim, x.shape[attrs.dim]
    dtype = _comparable(x.dtype)
    count, zero, one = scalar.of_dim(extent), scalar.integer(0), scalar.integer(1)

    def build(inputs: Buffers, outputs: Buffers) -> tuple[Stmt, ...]:
        (source,), (out, indices) = inputs, outputs
        spare = row_major_buffer("spare", x.dtype, (extent,), Space.SCRATCH)
        spare_indices = row_major_buffer("spare_indices", dtypes.int64, (extent,), Space.SCRATCH)
        cursor = row_major_buffer("cursor", dtypes.int64, (2,), Space.LOCAL)
        i, level, block, place = (Var(n) for n in ("copied", "level", "block", "place"))
        width, start, middle, end = (Var(n) for n in ("width", "start", "middle", "end"))
        left, right = Var("left"), Var("right")
        serial = Kind.SERIAL

        def at(position: Expr) -> tuple[Expr, ...]:
            return _along(out, dim, position)

        def key(position: Expr) -> Expr:
            # Clamped, because a run that is used up is still compared before it is passed over.
            inside = scalar.apply("min", position, scalar.apply("sub", count, one))
            return scalar.cast(Load(out, at(inside)), dtype)

        fill = For(
            i,
            zero,
            count,
            serial,
            (Store(out, at(i), Load(source, at(i))), Store(indices, at(i), i)),
            comment="each element is a run of its own",
        )
        from_right = scalar.apply(
            "and",
            scalar.apply("lt", right, end),
            scalar.apply(
                "or",
                scalar.apply("ge", left, middle),
                _precedes(attrs.descending, key(right), key(left)),
            ),
        )

        def take(position: Var, slot: int) -> tuple[Stmt, ...]:
            return (
                Store(spare, (place,), Load(out, at(position))),
                Store(spare_indices, (place,), Load(indices, at(position))),
                Store(cursor, (scalar.integer(slot),), scalar.apply("add", position, one)),
            )

        merge = For(
            place,
            start,
            end,
            serial,
            (
                Let(
                    left,
                    Load(cursor, (zero,)),
                    (
                        Let(
                            right,
                            Load(cursor, (one,)),
                            (If(from_right, take(right, 1), take(left, 0)),),
                        ),
                    ),
                ),
            ),
        )
        merged = (Store(cursor, (zero,), start), Store(cursor, (one,), middle), merge)
        double = scalar.apply("add", width, width)
        reach = scalar.apply("min", scalar.apply("add", start, width), count)
        limit = scalar.apply("min", scalar.apply("add", start, double), count)
        pair = Let(
            start,
            scalar.apply("mul", block, double),
            (Let(middle, reach, (Let(end, limit, merged),)),),
        )
        rounded = scalar.apply("sub", scalar.apply("add", count, double), one)
        blocks = scalar.apply("floordiv", rounded, double)
        back = For(
            i,
            zero,
            count,
            serial,
            (
                Store(out, at(i), Load(spare, (i,))),
                Store(indices, at(i), Load(spare_indices, (i,))),
            ),
        )
        # 62 doublings reach every size; a level whose runs already cover the line does nothing.
        again = If(
            scalar.apply("lt", width, count),
            (For(block, zero, blocks, serial, (pair,), comment="merge pairs of runs"), back),
        )
        levels = _levels(extent)
        sort = For(
            level,
            zero,
            levels,
            serial,
            (Let(width, scalar.apply("shl", one, level), (again,)),),
            comment="runs double in length",
        )
        body: tuple[Stmt, ...] = (Alloc(cursor, (fill, sort)),)
        return _lines(out.shape, dim, (Alloc(spare, (Alloc(spare_indices, body),)),))

    return Nest(build)


def _levels(extent: int | Dim) -> Expr:
    """Return how often runs must double to cover a line: exact where its size is known."""
    return scalar.integer(62 if isinstance(extent, Dim) else max(extent - 1, 0).bit_length())


def _topk_infer(attrs: TopkAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("topk", ("x",), types)
    (x,) = types
    inference.expect_kind("topk", "x", x, REAL)
    inference.expect_dim("topk", "dim", attrs.dim, x.rank)
    extent = x.shape[attrs.dim]
    if attrs.k < 0 or (isinstance(extent, int) and attrs.k > extent):
        raise ArgumentError(f"topk: k is {attrs.k}, but dimension {attrs.dim} of {x} has {extent}")
    shape = (*x.shape[: attrs.dim], attrs.k, *x.shape[attrs.dim + 1 :])
    return x.with_shape(shape), TensorType(dtypes.int64, shape)


def _topk_reference(xp: Any, attrs: TopkAttrs, x: Array) -> tuple[Array, Array]:
    order = _order(xp, x, attrs.dim, attrs.largest)
    head = (*(slice(None),) * attrs.dim, slice(0, attrs.k))
    indices = order[head].astype(np.int64, order="C")
    return xp.take_along_axis(x, indices, axis=attrs.dim).copy(order="C"), indices


def _topk_decompose(r: Rules, attrs: TopkAttrs, x: Operand) -> tuple[Operand, Operand]:
    values, indices = r("sort", x, dim=attrs.dim, descending=attrs.largest)
    shape = r.type(x).shape
    rank = len(shape)
    stops = tuple(attrs.k if d == attrs.dim else n for d, n in enumerate(shape))
    cut: dict[str, Any] = {"starts": (0,) * rank, "stops": stops, "steps": (1,) * rank}
    return r("slice", values, **cut), r("slice", indices, **cut)


def _topk_samples() -> Iterator[Sample]:
    yield from _samples(REAL, {"k": 2}, {"k": 3, "largest": False})()


def _topk_cases() -> Iterator[Sample]:
    for sample in _topk_samples():
        if sample.operands[0].shape[sample.attrs["dim"]] >= sample.attrs["k"]:
            yield sample


def _cumulative(name: str, doc: str, op: str, function: str, **fields: Any) -> OpDef:
    return OpDef(
        name,
        doc,
        ("x",),
        infer=_infer(name, REAL),
        rule=Lower(_accumulate_nest(op, 0 if op == "add" else 1)),
        reference=_accumulate_reference(function),
        attrs=DimAttrs,
        **fields,
    )


def _extreme(name: str, doc: str, op: str, function: str) -> OpDef:
    return OpDef(
        name,
        doc,
        ("x",),
        infer=_infer(name, ANY, pairs=True),
        rule=Lower(_extreme_nest(op)),
        vjp=Vjp(("indices",), _place_vjp),
        samples=_ordered,
        reference=_extreme_reference(function),
        attrs=DimAttrs,
        results=("out", "indices"),
    )


OPS: tuple[OpDef, ...] = (
    _cumulative(
        "cumsum",
        "out[i] = Σⱼ≤ᵢ x[j]",
        "add",
        "add",
        vjp=Vjp((), _cumsum_vjp),
        samples=_samples(REAL),
    ),
    _cumulative(
        "cumprod",
        "out[i] = Πⱼ≤ᵢ x[j]",
        "mul",
        "multiply",
        vjp=Vjp(("x",), _cumprod_vjp),
        samples=_products,
    ),
    _extreme(
        "cummax", "the greatest of x[j], j ≤ i, and where it last was; NaN wins", "ge", "maximum"
    ),
    _extreme(
        "cummin", "the least of x[j], j ≤ i, and where it last was; NaN wins", "le", "minimum"
    ),
    OpDef(
        "sort",
        "x in order along dim, and where each element was; stable, NaN is greatest",
        ("x",),
        infer=_infer("sort", ANY, pairs=True),
        rule=Lower(_sort_define),
        vjp=Vjp(("indices",), _place_vjp),
        samples=_samples(ANY, {}, {"descending": True}),
        reference=_sort_reference,
        attrs=SortAttrs,
        results=("out", "indices"),
    ),
    OpDef(
        "topk",
        "the k greatest (or least) of x along dim, in order, and where they were",
        ("x",),
        infer=_topk_infer,
        rule=Decompose(_topk_decompose),
        vjp=Vjp(("indices",), _place_vjp),
        samples=_topk_cases,
        reference=_topk_reference,
        attrs=TopkAttrs,
        results=("out", "indices"),
    ),
)
