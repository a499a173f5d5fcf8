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
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import ANY, REAL
from smelt.ir.ops.scan import along, comparable, infer, lines, place_vjp, samples
from smelt.ir.scalar import Expr, Load, Var
from smelt.ir.structured import Nest
from smelt.ir.types import TensorType

Array = Any


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
    """Return whether value `a` goes before `b` and not beside it; NaN is the greatest."""
    before: Expr = scalar.apply("gt" if descending else "lt", a, b)
    if a.dtype.kind is not dtypes.Kind.FLOAT:
        return before
    great, small = (a, b) if descending else (b, a)
    above = scalar.apply("and", scalar.apply("isnan", great), _not(scalar.apply("isnan", small)))
    return scalar.apply("or", above, before)


def _not(condition: Expr) -> Expr:
    return scalar.apply("not", condition)


def _sort_define(attrs: SortAttrs, x: TensorType) -> Nest:
    """Return a heap sort of each line, in place in the results.

    Elements are ordered by value and then by where they were, which no two share, so the order is
    total and the sort is stable. The first half of the steps makes the line a heap whose root goes
    last; the others move the root behind the heap, which shrinks (D. E. Knuth, The Art of Computer
    Programming 3, section 5.2.3, algorithm H). It needs no memory, whatever the length of the line.
    """
    dim, extent = attrs.dim, x.shape[attrs.dim]
    dtype = comparable(x.dtype)
    count, zero, one = scalar.of_dim(extent), scalar.integer(0), scalar.integer(1)
    half = scalar.of_dim(extent // 2)

    def build(inputs: tuple[Buffer, ...], outputs: tuple[Buffer, ...]) -> tuple[Stmt, ...]:
        (source,), (out, indices) = inputs, outputs
        cursor = row_major_buffer("cursor", dtypes.int64, (1,), Space.LOCAL)
        place, step, level = Var("place"), Var("step"), Var("level")
        building, end = Var("building", dtypes.bool_), Var("end")
        parent, first, second, child = (Var(n) for n in ("parent", "first", "second", "child"))

        def at(position: Expr) -> tuple[Expr, ...]:
            return along(out, dim, position)

        def goes_before(p: Expr, q: Expr) -> Expr:
            a, b = (scalar.cast(Load(out, at(k)), dtype) for k in (p, q))
            earlier = scalar.apply("lt", Load(indices, at(p)), Load(indices, at(q)))
            beside = scalar.apply("and", _not(_precedes(attrs.descending, b, a)), earlier)
            return scalar.apply("or", _precedes(attrs.descending, a, b), beside)

        def exchange(name: str, p: Expr, q: Expr) -> Stmt:
            value, index = Var(f"{name}_value", x.dtype), Var(f"{name}_index")
            moves = (
                Store(out, at(p), Load(out, at(q))),
                Store(indices, at(p), Load(indices, at(q))),
                Store(out, at(q), value),
                Store(indices, at(q), index),
            )
            return Let(value, Load(out, at(p)), (Let(index, Load(indices, at(p)), moves),))

        fill = (Store(out, at(place), Load(source, at(place))), Store(indices, at(place), place))
        follow = If(
            goes_before(parent, child),
            (exchange("sunk", parent, child), Store(cursor, (zero,), child)),
            # Beyond every child, which ends the descent.
            (Store(cursor, (zero,), count),),
        )
        last = scalar.apply("sub", end, one)
        descend = Let(
            second,
            scalar.apply("min", scalar.apply("add", first, one), last),
            (Let(child, scalar.select(goes_before(first, second), second, first), (follow,)),),
        )
        sift = For(
            level,
            zero,
            _depth(extent),
            Kind.SERIAL,
            (
                Let(
                    parent,
                    Load(cursor, (zero,)),
                    (
                        Let(
                            first,
                            scalar.apply("add", scalar.apply("add", parent, parent), one),
                            (If(scalar.apply("lt", first, end), (descend,)),),
                        ),
                    ),
                ),
            ),
            comment="sink below the children that go after it",
        )
        total = scalar.apply("sub", scalar.apply("add", half, count), one)
        behind = scalar.apply("sub", total, step)
        root = scalar.apply("sub", scalar.apply("sub", half, one), step)
        sort = For(
            step,
            zero,
            total,
            Kind.SERIAL,
            (
                Let(
                    building,
                    scalar.apply("lt", step, half),
                    (
                        Let(
                            end,
                            scalar.select(building, count, behind),
                            (
                                If(building, (), (exchange("root", zero, end),)),
                                Store(cursor, (zero,), scalar.select(building, root, zero)),
                                sift,
                            ),
                        ),
                    ),
                ),
            ),
            comment="make a heap, then take its root away until nothing is left",
        )
        copy = For(place, zero, count, Kind.SERIAL, fill)
        return lines(out.shape, dim, (Alloc(cursor, (copy, sort)),))

    return Nest(build)


def _depth(extent: int | Dim) -> Expr:
    """Return how many levels an element can sink: exact where the size of the line is known."""
    return scalar.integer(62 if isinstance(extent, Dim) else extent.bit_length())


def _sort_samples() -> Iterator[Sample]:
    yield from samples(ANY, {}, {"descending": True})()
    for dtype in (dtypes.float32, dtypes.int32):
        # Long enough for a heap of several levels; the integers repeat.
        x = sampling.normal(2, 75, dtype=dtype, seed=9)
        for descending in (False, True):
            yield Sample((x,), {"dim": 1, "descending": descending})


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
        samples=_sort_samples,
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
