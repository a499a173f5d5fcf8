"""Gathers: elements read at positions that are data.

Positions are i64. Those of `index` may count from the end, as PyTorch's; others may not. A position
out of range is a data error. The transposes of these ops are in `scattering`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.op import Lower, NoVjp, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import (
    INDEX_OUT_OF_RANGE,
    DataCheck,
    Reader,
    Stage,
    data_error,
    identity_index,
)
from smelt.ir.types import Shape, TensorType

Array = Any


@dataclass(frozen=True, slots=True)
class EmbeddingAttrs:
    """Attributes of `embedding`: the row, if any, that gets no gradient."""

    padding_idx: int | None = None


@dataclass(frozen=True, slots=True)
class GatherAttrs:
    """Attributes of ops that index one dimension."""

    dim: int


@dataclass(frozen=True, slots=True)
class IndexAttrs:
    """Attributes of `index`: which dimensions the index operands index, in order."""

    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OneHotAttrs:
    """Attributes of `one_hot`: the number of classes."""

    classes: int


def check_range(index: Array, limit: int, lowest: int = 0) -> None:
    """Raise an `IndexRangeError` unless all of `index` is in [lowest, limit)."""
    if index.size and (index.min() < lowest or index.max() >= limit):
        wrong = index[(index < lowest) | (index >= limit)]
        raise data_error(INDEX_OUT_OF_RANGE, int(wrong.flat[0]), limit)


def in_range(position: Expr, limit: int | Dim, lowest: int | Dim = 0) -> DataCheck:
    """Return the check that a position is in [lowest, limit)."""
    size = scalar.of_dim(limit)
    holds = scalar.apply(
        "and",
        scalar.apply("ge", position, scalar.of_dim(lowest)),
        scalar.apply("lt", position, size),
    )
    return DataCheck(holds, INDEX_OUT_OF_RANGE, position, size)


def wrapped(position: Expr, size: int | Dim) -> Expr:
    """Return a position that may count from the end as one that counts from the start."""
    negative = scalar.apply("lt", position, scalar.integer(0))
    return scalar.select(negative, scalar.apply("add", position, scalar.of_dim(size)), position)


# embedding


def _infer_embedding(
    attrs: EmbeddingAttrs, weight: TensorType, index: TensorType
) -> tuple[TensorType, ...]:
    expect.at_least_rank("embedding", 1, weight=weight)
    expect.indices("embedding", index=index)
    return (TensorType(weight.dtype, (*index.shape, *weight.shape[1:])),)


def _embedding(xp: Any, attrs: EmbeddingAttrs, weight: Array, index: Array) -> Array:
    check_range(index, weight.shape[0])
    if index.size == 0:
        return xp.empty((*index.shape, *weight.shape[1:]), weight.dtype)
    return xp.asarray(xp.take(weight, index, axis=0))


def _define_embedding(attrs: EmbeddingAttrs, weight: TensorType, index: TensorType) -> Stage:
    domain = (*index.shape, *weight.shape[1:])
    row = Read(0, dtypes.int64)
    rest = tuple(scalar.axis(k) for k in range(index.rank, len(domain)))
    readers = (Reader(1, identity_index(index.rank)), Reader(0, (row, *rest)))
    check = in_range(row, weight.shape[0])
    return Stage(domain, readers, (Read(1, weight.dtype),), checks=(check,))


def _embedding_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: the rows of g added up at the rows they came from, padding left out."""
    if not s.needs[0]:
        return None, None
    weight, index = s.input_types
    positions = s["index"]
    work = weight.dtype.accumulator
    g = r.cast(g, work)
    if s.attrs.padding_idx is not None:
        counts = r("ne", positions, r.full_like(positions, s.attrs.padding_idx))
        dims = tuple(range(index.rank, r.type(g).rank))
        counts = r.spread(counts, dims, r.type(g).shape)
        g = r("where", counts, g, r.full_like(g, 0.0))
    rows = r.reshape(g, (index.size, *weight.shape[1:]))
    zeros = r.full(0.0, weight.with_dtype(work))
    total = r("index_add", zeros, r.reshape(positions, (index.size,)), rows, dim=0)
    return r.cast(total, weight.dtype), None


# gather


def fits_under(index: Shape, other: Shape, dim: int | None) -> bool:
    """Tell whether `index` is nowhere greater than `other`, but in `dim`."""
    return all(d == dim or m == n or m <= n for d, (m, n) in enumerate(zip(index, other)))


def expect_index(op: str, dim: int, x: TensorType, index: TensorType) -> None:
    """Require an index of x's rank, in range of x in all dimensions but `dim`."""
    expect.indices(op, index=index)
    expect.dim_of(op, dim, x)
    if x.rank != index.rank:
        expect.mismatch(op, "index must have as many dimensions as x", x=x, index=index)
    if not fits_under(index.shape, x.shape, dim):
        expect.mismatch(
            op, f"index must not be larger than x but in dimension {dim}", x=x, index=index
        )


def _infer_gather(attrs: GatherAttrs, x: TensorType, index: TensorType) -> tuple[TensorType, ...]:
    expect_index("gather", attrs.dim, x, index)
    return (x.with_shape(index.shape),)


def _gather(xp: Any, attrs: GatherAttrs, x: Array, index: Array) -> Array:
    check_range(index, x.shape[attrs.dim])
    if index.size == 0:
        return xp.empty(index.shape, x.dtype)
    part = tuple(slice(None) if d == attrs.dim else slice(0, n) for d, n in enumerate(index.shape))
    return xp.ascontiguousarray(xp.take_along_axis(x[part], index, axis=attrs.dim))


def _define_gather(attrs: GatherAttrs, x: TensorType, index: TensorType) -> Stage:
    place = identity_index(index.rank)
    position = Read(0, dtypes.int64)
    source = tuple(position if d == attrs.dim else e for d, e in enumerate(place))
    check = in_range(position, x.shape[attrs.dim])
    readers = (Reader(1, place), Reader(0, source))
    return Stage(index.shape, readers, (Read(1, x.dtype),), checks=(check,))


def _gather_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = scatter_add(zeros, index, g)."""
    x = s.input_types[0]
    work = x.dtype.accumulator
    zeros = r.full(0.0, x.with_dtype(work))
    total = r("scatter_add", zeros, s["index"], r.cast(g, work), dim=s.attrs.dim)
    return r.cast(total, x.dtype), None


# index_select


def _infer_index_select(
    attrs: GatherAttrs, x: TensorType, index: TensorType
) -> tuple[TensorType, ...]:
    expect.indices("index_select", index=index)
    expect.dim_of("index_select", attrs.dim, x)
    if index.rank != 1:
        expect.mismatch("index_select", "index must have one dimension", x=x, index=index)
    shape = (*x.shape[: attrs.dim], index.shape[0], *x.shape[attrs.dim + 1 :])
    return (x.with_shape(shape),)


def _index_select(xp: Any, attrs: GatherAttrs, x: Array, index: Array) -> Array:
    check_range(index, x.shape[attrs.dim])
    if index.size == 0:
        shape = (*x.shape[: attrs.dim], 0, *x.shape[attrs.dim + 1 :])
        return xp.empty(shape, x.dtype)
    return xp.ascontiguousarray(xp.take(x, index, axis=attrs.dim))


def _define_index_select(attrs: GatherAttrs, x: TensorType, index: TensorType) -> Stage:
    (out,) = _infer_index_select(attrs, x, index)
    place = identity_index(x.rank)
    position = Read(0, dtypes.int64)
    source = tuple(position if d == attrs.dim else e for d, e in enumerate(place))
    check = in_range(position, x.shape[attrs.dim])
    readers = (Reader(1, (place[attrs.dim],)), Reader(0, source))
    return Stage(out.shape, readers, (Read(1, x.dtype),), checks=(check,))


def _index_select_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = index_add(zeros, index, g)."""
    x = s.input_types[0]
    work = x.dtype.accumulator
    zeros = r.full(0.0, x.with_dtype(work))
    total = r("index_add", zeros, s["index"], r.cast(g, work), dim=s.attrs.dim)
    return r.cast(total, x.dtype), None


# index


def expect_indices(
    op: str, dims: tuple[int, ...], x: TensorType, indices: tuple[TensorType, ...]
) -> Shape:
    """Require one index a dimension of `dims`; return their shape, then what they leave of x."""
    named = {f"indices[{k}]": index for k, index in enumerate(indices)}
    expect.indices(op, **named)
    expect.argument(
        op,
        len(dims) == len(indices) > 0 and len(set(dims)) == len(dims),
        f"dims must be distinct, one for each of {len(indices)} indices, not {dims}",
    )
    for dim in dims:
        expect.dim_of(op, dim, x)
    expect.same_type(op, **named)
    return (*indices[0].shape, *(n for d, n in enumerate(x.shape) if d not in dims))


def _infer_index(attrs: IndexAttrs, x: TensorType, *indices: TensorType) -> tuple[TensorType, ...]:
    return (x.with_shape(expect_indices("index", attrs.dims, x, indices)),)


def check_indices(dims: tuple[int, ...], shape: tuple[int, ...], indices: Iterable[Array]) -> None:
    """Raise an `IndexRangeError` unless each index is in [-size, size) of its dimension."""
    for dim, index in zip(dims, indices):
        check_range(index, shape[dim], -shape[dim])


def indexed_first(x: Array, dims: tuple[int, ...]) -> Array:
    """Return a view of x with the indexed dimensions before the others."""
    return x.transpose(*dims, *(d for d in range(x.ndim) if d not in dims))


def _index(xp: Any, attrs: IndexAttrs, x: Array, *indices: Array) -> Array:
    check_indices(attrs.dims, x.shape, indices)
    return xp.array(indexed_first(x, attrs.dims)[indices], order="C")


def _define_index(attrs: IndexAttrs, x: TensorType, *indices: TensorType) -> Stage:
    (out,) = _infer_index(attrs, x, *indices)
    rank = indices[0].rank
    readers = [Reader(1 + k, identity_index(rank)) for k in range(len(indices))]
    positions = [Read(k, dtypes.int64) for k in range(len(indices))]
    source: list[Expr] = []
    following = rank
    for d in range(x.rank):
        if d in attrs.dims:
            source.append(wrapped(positions[attrs.dims.index(d)], x.shape[d]))
        else:
            source.append(scalar.axis(following))
            following += 1
    checks = tuple(
        in_range(position, x.shape[d], x.shape[d] * -1)
        for d, position in zip(attrs.dims, positions)
    )
    readers.append(Reader(0, tuple(source)))
    return Stage(out.shape, tuple(readers), (Read(len(indices), x.dtype),), checks=checks)


def _index_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = index_put(zeros, g, indices), accumulating."""
    x = s.input_types[0]
    work = x.dtype.accumulator
    zeros = r.full(0.0, x.with_dtype(work))
    values, dims = r.cast(g, work), s.attrs.dims
    total = r("index_put", zeros, values, *s["indices"], dims=dims, accumulate=True)
    return (r.cast(total, x.dtype), *(None for _ in s["indices"]))


# one_hot


def _infer_one_hot(attrs: OneHotAttrs, index: TensorType) -> tuple[TensorType, ...]:
    expect.indices("one_hot", index=index)
    expect.argument("one_hot", attrs.classes >= 0, f"classes is {attrs.classes}")
    return (index.with_shape((*index.shape, attrs.classes)),)


def _one_hot(xp: Any, attrs: OneHotAttrs, index: Array) -> Array:
    check_range(index, attrs.classes)
    return xp.equal(index[..., None], xp.arange(attrs.classes), order="C").astype(xp.int64)


def _define_one_hot(attrs: OneHotAttrs, index: TensorType) -> Stage:
    position = Read(0, dtypes.int64)
    hit = scalar.apply("eq", position, scalar.axis(index.rank))
    body = scalar.select(hit, Const(1, dtypes.int64), Const(0, dtypes.int64))
    check = in_range(position, attrs.classes)
    readers = (Reader(0, identity_index(index.rank)),)
    return Stage((*index.shape, attrs.classes), readers, (body,), checks=(check,))


# Samples


def numbers(*values: Any) -> sampling.Array:
    """Return an i64 array of positions."""
    return np.array(values[0] if len(values) == 1 else values, dtype=np.int64)


def _embedding_samples() -> Iterable[Sample]:
    weight = sampling.normal(5, 3, dtype=dtypes.float64)
    yield Sample((weight, numbers([[0, 4], [2, 2]])), {})
    yield Sample((weight, numbers([1, 3, 1])), {"padding_idx": 1}, differentiable=False)
    yield Sample((weight, np.asarray(2)), {})
    yield Sample((sampling.strided(weight.astype(np.float32)), numbers([4, 9, 0])[::2]), {})
    yield Sample((sampling.normal(3, 2, dtype=dtypes.float16), numbers([2, 2, 0])), {})
    yield Sample((weight, np.zeros((0, 2), np.int64)), {})


def _gather_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, dtype=dtypes.float64)
    yield Sample((x, numbers([[0, 3, 3], [1, 1, 0]])), {"dim": 1})
    yield Sample((x, numbers([[0, 2, 2, 1], [1, 1, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]])), {"dim": 0})
    yield Sample((sampling.strided(sampling.normal(2, 2, 3)), numbers([[[1, 0, 0]]])), {"dim": 1})
    yield Sample((sampling.normal(4, dtype=dtypes.int32), numbers([3, 0])), {"dim": 0})
    yield Sample((x, np.zeros((0, 2), np.int64)), {"dim": 1})


def _index_select_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, dtype=dtypes.float64)
    yield Sample((x, numbers([2, 0, 2])), {"dim": 0})
    yield Sample((sampling.strided(x.astype(np.float32)), numbers([3, 3, 1, 0])), {"dim": 1})
    yield Sample((sampling.normal(4, dtype=dtypes.bool_), numbers([3, 0])), {"dim": 0})
    yield Sample((x, np.zeros(0, np.int64)), {"dim": 1})


def _index_samples() -> Iterable[Sample]:
    x = sampling.normal(3, 4, 2, dtype=dtypes.float64)
    yield Sample((x, numbers([2, -3, 0])), {"dims": (0,)})
    yield Sample((x, numbers([[0, 1], [-1, 0]]), numbers([[1, 1], [0, -2]])), {"dims": (0, 2)})
    strided = sampling.strided(x.astype(np.float32))
    yield Sample((strided, numbers([1, 1]), numbers([3, -4])), {"dims": (0, 1)})
    yield Sample((x, np.asarray(1)), {"dims": (1,)})
    yield Sample((x, np.zeros((0,), np.int64)), {"dims": (1,)})
    yield Sample((sampling.normal(3, 2, dtype=dtypes.bfloat16), numbers([1, 1])), {"dims": (1,)})


def _one_hot_samples() -> Iterable[Sample]:
    yield Sample((numbers([[0, 2], [1, 1]]),), {"classes": 3})
    yield Sample((np.asarray(1),), {"classes": 2})
    yield Sample((np.zeros((0,), np.int64),), {"classes": 4})


_INTEGERS = NoVjp("its result is a count of classes, an integer")

OPS: tuple[OpDef, ...] = (
    OpDef(
        name="embedding",
        doc="weight[index], rows of a table",
        operands=("weight", "index"),
        attrs=EmbeddingAttrs,
        infer=_infer_embedding,
        reference=_embedding,
        rule=Lower(_define_embedding),
        vjp=Vjp(("index",), _embedding_vjp),
        samples=_embedding_samples,
    ),
    OpDef(
        name="gather",
        doc="x[..., index[i], ...] at dimension dim",
        operands=("x", "index"),
        attrs=GatherAttrs,
        infer=_infer_gather,
        reference=_gather,
        rule=Lower(_define_gather),
        vjp=Vjp(("index",), _gather_vjp),
        samples=_gather_samples,
    ),
    OpDef(
        name="index_select",
        doc="the slices of x along dim whose numbers are in index",
        operands=("x", "index"),
        attrs=GatherAttrs,
        infer=_infer_index_select,
        reference=_index_select,
        rule=Lower(_define_index_select),
        vjp=Vjp(("index",), _index_select_vjp),
        samples=_index_select_samples,
    ),
    OpDef(
        name="index",
        doc="x with the dimensions dims replaced, at the front, by the shape of the indices",
        operands=("x", "*indices"),
        attrs=IndexAttrs,
        infer=_infer_index,
        reference=_index,
        rule=Lower(_define_index),
        vjp=Vjp(("indices",), _index_vjp),
        samples=_index_samples,
    ),
    OpDef(
        name="one_hot",
        doc="1 where the new last dimension counts to index, else 0",
        operands=("index",),
        attrs=OneHotAttrs,
        infer=_infer_one_hot,
        reference=_one_hot,
        rule=Lower(_define_one_hot),
        vjp=_INTEGERS,
        samples=_one_hot_samples,
    ),
)
