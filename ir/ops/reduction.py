"""Reductions: the reduced dimensions disappear.

Half types accumulate in float32 and round once. A reduction over no elements gives the monoid's
identity where it has a meaning (0, 1, False, True); greatest and least elements of nothing raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar, structured
from smelt.ir.dim import Dim
from smelt.ir.errors import DimensionError
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.inference import ANY, BOOL, REAL, Kinds
from smelt.ir.scalar import Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class DimsAttrs:
    """The dimensions to reduce, in order."""

    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DimAttrs:
    """The dimension to reduce; None: all, as one, in row-major order."""

    dim: int | None


def kept_shape(shape: Shape, dims: tuple[int, ...]) -> Shape:
    """Return the shape that is left of `shape` when `dims` are reduced."""
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def infer_reduction(name: str, kinds: Kinds, *, nonempty: bool = False) -> Callable[..., Any]:
    """Return the inference of a reduction over `attrs.dims`; `nonempty`: there must be elements."""

    def infer(attrs: Any, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        inference.expect_kind(name, "x", x, kinds)
        inference.expect_dims(name, attrs.dims, x.rank)
        kept = kept_shape(x.shape, attrs.dims)
        if nonempty and 0 not in kept:
            _expect_elements(name, x, attrs.dims)
        return (x.with_shape(kept),)

    return infer


def _expect_elements(name: str, x: TensorType, dims: tuple[int, ...]) -> None:
    for dim in dims:
        if x.shape[dim] == 0:
            raise DimensionError(f"{name}: dimension {dim} of {x} has no elements to choose from")


def _stage(op: str, attrs: DimsAttrs, x: TensorType) -> Stage:
    """Return the reduction of `x` with the monoid of a scalar op."""
    read: Expr = Read(0, x.dtype)
    if not attrs.dims:
        return structured.elementwise(read, (x,))
    narrow, dtype = x.dtype, x.dtype.accumulator
    result = structured.accumulated(0, dtype)
    return Stage(
        x.shape,
        (Reader(0, structured.identity_index(x.rank)),),
        (scalar.cast(read, dtype),),
        attrs.dims,
        structured.monoid(op, dtype),
        () if dtype is narrow else (scalar.cast(result, narrow),),
    )


def _define(op: str) -> Callable[..., Stage]:
    def define(attrs: DimsAttrs, x: TensorType) -> Stage:
        return _stage(op, attrs, x)

    return define


def _reference(function: str) -> Callable[..., Array]:
    def reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
        reduce = getattr(xp, function)
        with np.errstate(all="ignore"):
            if pointwise.is_half(x):
                wide = reduce(x.astype(np.float32), axis=attrs.dims)
                return xp.asarray(wide).astype(x.dtype, order="C")
            out = xp.empty(kept_shape(x.shape, attrs.dims), x.dtype)
            return reduce(x, axis=attrs.dims, out=out)

    return reference


def _sum_reference(xp: Any, attrs: DimsAttrs, x: Array) -> Array:
    with np.errstate(all="ignore"):
        if pointwise.is_half(x):
            wide = xp.add.reduce(x.astype(np.float32), axis=attrs.dims)
            return xp.asarray(wide).astype(x.dtype, order="C")
        out = xp.empty(kept_shape(x.shape, attrs.dims), x.dtype)
        return xp.add.reduce(x, axis=attrs.dims, dtype=x.dtype, out=out)


def _sum_samples() -> Iterator[Sample]:
    yield from reduction_samples(REAL, extra={})()
    for dtype in (dtypes.bfloat16, dtypes.float32):
        x = sampling.normal(2, 1500, dtype=dtype)
        yield Sample((x,), {"dims": (1,)}, differentiable=False)
        yield Sample((x.T,), {"dims": (0, 1)}, differentiable=False)


def _sum_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = Σ x;  backward gx = g, spread."""
    return (r.spread(g, s.attrs.dims, s.input_types[0].shape),)


def _prod_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = Π x;  backward gx = g * the product of the others.

    The others' product is the product of those before and of those after: no division, so zeros
    among the elements are as good as any. The reduced dimensions are joined into one.
    """
    (source,) = s.input_types
    dims = s.attrs.dims
    if not dims:
        return (g,)
    narrow = source.dtype
    x, g = r.cast(s["x"], narrow.accumulator), r.cast(g, narrow.accumulator)
    kept = tuple(d for d in range(source.rank) if d not in dims)
    order = (*kept, *dims)
    moved = tuple(source.shape[d] for d in order)
    outer = moved[: len(kept)]
    length: int | Dim = 1
    for extent in moved[len(kept) :]:
        length = length * extent
    rows = r.reshape(r.permute(x, order), (*outer, length))
    last = len(kept)
    before = _products_before(r, rows, last)
    after = r("flip", _products_before(r, r("flip", rows, dims=(last,)), last), dims=(last,))
    others = r("mul", before, after)
    gx = r("mul", others, r.spread(g, (last,), (*outer, length)))
    back = tuple(order.index(d) for d in range(source.rank))
    return (r.cast(r.permute(r.reshape(gx, moved), back), narrow),)


def _products_before(r: Rules, rows: Operand, dim: int) -> Operand:
    """Return, for each element along the last dimension, the product of those before it."""
    shape = r.type(rows).shape
    low = tuple(int(d == dim) for d in range(len(shape)))
    shifted = r("pad", rows, low=low, high=(0,) * len(shape), value=1.0)
    starts, steps = (0,) * len(shape), (1,) * len(shape)
    return r("cumprod", r("slice", shifted, starts=starts, stops=shape, steps=steps), dim=dim)


def _extreme_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = max x;  backward gx = g / n at the n elements that equal out, else 0."""
    dims, shape = s.attrs.dims, s.input_types[0].shape
    narrow = s.input_types[0].dtype
    x, out = s["x"], r.spread(s["out"], dims, shape)
    hits = r.cast(r("eq", x, out), narrow.accumulator)
    share = r("div", r.cast(g, narrow.accumulator), r.sum(hits, dims))
    return (r.cast(r("mul", hits, r.spread(share, dims, shape)), narrow),)


def reduction_samples(
    kinds: Kinds, *, nonempty: bool = False, extra: dict[str, Any]
) -> Callable[[], Iterator[Sample]]:
    """Return samples of a reduction; `extra` are its attributes besides `dims`."""

    def samples() -> Iterator[Sample]:
        for dtype in (dtypes.bool_, dtypes.uint8, dtypes.int32, dtypes.int64, *dtypes.FLOATS):
            if dtype.kind not in kinds:
                continue
            x = sampling.normal(2, 3, 4, dtype=dtype, seed=2)
            for dims in ((1,), (0, 2)):
                yield Sample((x,), {"dims": dims, **extra})
            # Longer than a vector, with a remainder.
            long = sampling.normal(5, 75, dtype=dtype, seed=8)
            for dims in ((0,), (1,)):
                yield Sample((long,), {"dims": dims, **extra}, differentiable=False)
            if dtype is not dtypes.float32 and dtype is not dtypes.bool_:
                continue
            for dims in ((), (0,), (2,), (0, 1, 2)):
                yield Sample((x,), {"dims": dims, **extra})
            yield Sample((sampling.strided(x),), {"dims": (1,), **extra})
            yield Sample((x[0, 0, ...].copy(),), {"dims": (0,), **extra})
            yield Sample((x[0, 0, 0, ...].copy(),), {"dims": (), **extra})
            yield Sample((x[:0],), {"dims": (1,), **extra})
            if not nonempty:
                yield Sample((x[:0],), {"dims": (0,), **extra}, differentiable=False)
            if dtype.is_floating_point:
                special = np.stack([sampling.special(dtype), sampling.special(dtype)[::-1]])
                for dims in ((0,), (1,)):
                    yield Sample((special,), {"dims": dims, **extra}, differentiable=False)

    return samples


def _tied_samples(inner: Callable[[], Iterator[Sample]]) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        yield from inner()
        tied = np.array([[1.0, 2.0, 2.0], [0.0, -0.0, -1.0]])
        yield Sample((tied,), {"dims": (1,)}, differentiable=False)

    return samples


def _prod_samples() -> Iterator[Sample]:
    yield from reduction_samples(REAL, extra={})()
    zeros = np.array([[1.0, 0.0, 3.0, 2.0], [0.0, 2.0, 0.0, 1.0]])
    yield Sample((zeros,), {"dims": (1,)})
    yield Sample((zeros,), {"dims": (0, 1)})


def _arg_infer(name: str) -> Callable[..., tuple[TensorType, ...]]:
    def infer(attrs: DimAttrs, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        inference.expect_kind(name, "x", x, ANY)
        if attrs.dim is None:
            dims = tuple(range(x.rank))
        else:
            inference.expect_dim(name, "dim", attrs.dim, x.rank)
            dims = (attrs.dim,)
        kept = kept_shape(x.shape, dims)
        if 0 not in kept:
            _expect_elements(name, x, dims)
        return (TensorType(dtypes.int64, kept),)

    return infer


def _arg_reference(function: str) -> Callable[..., Array]:
    def reference(xp: Any, attrs: DimAttrs, x: Array) -> Array:
        wide = x.astype(np.float32) if pointwise.is_half(x) else x
        found = getattr(xp, function)(wide, axis=attrs.dim)
        return xp.asarray(found, dtype=np.int64, order="C")

    return reference


def _arg_define(op: str) -> Callable[..., Stage]:
    def define(attrs: DimAttrs, x: TensorType) -> Stage:
        dims = tuple(range(x.rank)) if attrs.dim is None else (attrs.dim,)
        position: Expr | None = None
        for dim in dims:
            at = scalar.axis(dim)
            if position is None:
                position = at
            else:
                extent = scalar.of_dim(x.shape[dim])
                position = scalar.apply("add", scalar.apply("mul", position, extent), at)
        if position is None:
            return Stage((), (), (scalar.integer(0),))
        dtype = dtypes.float32 if x.dtype.is_half else x.dtype
        if dtype is dtypes.bool_:
            dtype = dtypes.uint8
        return Stage(
            x.shape,
            (Reader(0, structured.identity_index(x.rank)),),
            (scalar.cast(Read(0, x.dtype), dtype), position),
            dims,
            structured.arg_monoid(op, dtype),
            (structured.accumulated(1, dtypes.int64),),
        )

    return define


def _arg_samples() -> Iterator[Sample]:
    for dtype in (dtypes.bool_, dtypes.uint8, dtypes.int64, *dtypes.FLOATS):
        x = sampling.normal(2, 3, 4, dtype=dtype, seed=2)
        for dim in (None, 0, 2):
            yield Sample((x,), {"dim": dim})
    tied = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, -5.0]], np.float32)
    nan = np.array([[1.0, np.nan, np.inf], [np.nan, 0.0, np.nan]], np.float32)
    for x in (tied, nan, sampling.strided(tied), np.full((2, 3), -np.inf, np.float32)):
        yield Sample((x,), {"dim": 1})
        yield Sample((x,), {"dim": None})
    yield Sample((np.array(3.0, np.float32),), {"dim": None})
    yield Sample((tied[:0],), {"dim": 1})


def reduction(
    name: str, doc: str, op: str, kinds: Kinds, vjp: Vjp | NoVjp, **changes: Any
) -> OpDef:
    """Return a reduction with the monoid `op`, but for the fields in `changes`."""
    nonempty = op in ("max", "min")
    fields: dict[str, Any] = {
        "infer": infer_reduction(name, kinds, nonempty=nonempty),
        "rule": Lower(_define(op)),
        "samples": reduction_samples(kinds, nonempty=nonempty, extra={}),
        "reference": _reference(name),
        "attrs": DimsAttrs,
    }
    return OpDef(name, doc, ("x",), vjp=vjp, **(fields | changes))


def _arg(name: str, doc: str, op: str) -> OpDef:
    return OpDef(
        name,
        doc,
        ("x",),
        infer=_arg_infer(name),
        rule=Lower(_arg_define(op)),
        vjp=NoVjp("its result is an index"),
        samples=_arg_samples,
        reference=_arg_reference(name),
        attrs=DimAttrs,
    )


_EXTREME = Vjp(("x", "out"), _extreme_vjp)


_BOOL = NoVjp("its result is bool")


OPS: tuple[OpDef, ...] = (
    reduction(
        "sum",
        "Σ x over dims",
        "add",
        REAL,
        Vjp((), _sum_vjp),
        reference=_sum_reference,
        samples=_sum_samples,
    ),
    reduction("prod", "Π x over dims", "mul", REAL, Vjp(("x",), _prod_vjp), samples=_prod_samples),
    reduction(
        "amax",
        "the greatest of x over dims; NaN if any is",
        "max",
        ANY,
        _EXTREME,
        samples=_tied_samples(reduction_samples(ANY, nonempty=True, extra={})),
    ),
    reduction(
        "amin",
        "the least of x over dims; NaN if any is",
        "min",
        ANY,
        _EXTREME,
        samples=_tied_samples(reduction_samples(ANY, nonempty=True, extra={})),
    ),
    reduction("any", "whether any of x holds", "or", BOOL, _BOOL),
    reduction("all", "whether all of x hold", "and", BOOL, _BOOL),
    _arg("argmax", "index of the first greatest element; NaN is greatest", "max"),
    _arg("argmin", "index of the first least element; NaN is least", "min"),
)
