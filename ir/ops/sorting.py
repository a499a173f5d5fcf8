"""Sorting along one dimension, and the k greatest or least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
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
from smelt.ir.op import Decompose, Lower, OpDef, Operand, Rules, Sample, Vjp
from smelt.ir.ops import inference, pointwise
from smelt.ir.ops.inference import ANY, REAL
from smelt.ir.ops.scan import along, comparable, infer, lines, place_vjp, samples
from smelt.ir.scalar import Expr, Load, Var
from smelt.ir.structured import Nest
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


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
    dtype = comparable(x.dtype)
    count, zero, one = scalar.of_dim(extent), scalar.integer(0), scalar.integer(1)

    def build(inputs: tuple[Buffer, ...], outputs: tuple[Buffer, ...]) -> tuple[Stmt, ...]:
        (source,), (out, indices) = inputs, outputs
        spare = row_major_buffer("spare", x.dtype, (extent,), Space.SCRATCH)
        spare_indices = row_major_buffer("spare_indices", dtypes.int64, (extent,), Space.SCRATCH)
        cursor = row_major_buffer("cursor", dtypes.int64, (2,), Space.LOCAL)
        i, j = Var("filled"), Var("copied")
        level, block, place = (Var(n) for n in ("level", "block", "place"))
        width, start, middle, end = (Var(n) for n in ("width", "start", "middle", "end"))
        left, right = Var("left"), Var("right")
        serial = Kind.SERIAL

        def at(position: Expr) -> tuple[Expr, ...]:
            return along(out, dim, position)

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
            j,
            zero,
            count,
            serial,
            (
                Store(out, at(j), Load(spare, (j,))),
                Store(indices, at(j), Load(spare_indices, (j,))),
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
        return lines(out.shape, dim, (Alloc(spare, (Alloc(spare_indices, body),)),))

    return Nest(build)


def _levels(extent: int | Dim) -> Expr:
    """Return how often runs must double to cover a line: exact where its size is known."""
    return scalar.integer(62 if isinstance(extent, Dim) else max(extent - 1, 0).bit_length())


def _topk_infer(attrs: TopkAttrs, *types: TensorType) -> tuple[TensorType, ...]:
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
    yield from samples(REAL, {"k": 2}, {"k": 3, "largest": False})()


def _topk_cases() -> Iterator[Sample]:
    for sample in _topk_samples():
        if sample.operands[0].shape[sample.attrs["dim"]] >= sample.attrs["k"]:
            yield sample


OPS: tuple[OpDef, ...] = (
    OpDef(
        "sort",
        "x in order along dim, and where each element was; stable, NaN is greatest",
        ("x",),
        infer=infer("sort", ANY, pairs=True),
        rule=Lower(_sort_define),
        vjp=Vjp(("indices",), place_vjp),
        samples=samples(ANY, {}, {"descending": True}),
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
        vjp=Vjp(("indices",), place_vjp),
        samples=_topk_cases,
        reference=_topk_reference,
        attrs=TopkAttrs,
        results=("out", "indices"),
    ),
)
