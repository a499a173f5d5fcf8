"""Cumulative ops along one dimension.

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
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
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


def infer(name: str, kinds: Kinds, *, pairs: bool = False) -> Callable[..., Any]:
    """Return the inference of an op along `attrs.dim`; `pairs`: it gives indices as well."""

    def rule(attrs: Any, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        inference.expect_kind(name, "x", x, kinds)
        inference.expect_dim(name, "dim", attrs.dim, x.rank)
        return (x, x.with_dtype(dtypes.int64)) if pairs else (x,)

    return rule


def lines(shape: tuple[int | Dim, ...], dim: int, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Return loops that run `body` for each line along `dim`; axis d is the variable `i{d}`."""
    for d in reversed(range(len(shape))):
        if d != dim:
            start, stop = scalar.integer(0), scalar.of_dim(shape[d])
            body = (For(scalar.axis(d), start, stop, Kind.SERIAL, body),)
    return body


def along(buffer: Buffer, dim: int, position: Expr) -> tuple[Expr, ...]:
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
            at = along(out, dim, scalar.axis(dim))
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
            return lines(out.shape, dim, line)

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
    dim: int = s.attrs.dim
    x = s["x"]
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


def samples(kinds: Kinds, *attrs: dict[str, Any]) -> Callable[[], Iterator[Sample]]:
    """Return samples of an op along one dimension, once for each choice of further attributes."""
    choices = attrs or ({},)

    def found() -> Iterator[Sample]:
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

    return found


def _products() -> Iterator[Sample]:
    yield from samples(REAL)()
    zeros = np.array([[1.0, 0.0, 3.0, 2.0], [0.0, 2.0, 0.0, 1.0]])
    yield Sample((zeros,), {"dim": 1})


def _ordered() -> Iterator[Sample]:
    yield from samples(ANY)()
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
        dtype = comparable(x.dtype)

        def build(inputs: Buffers, outputs: Buffers) -> tuple[Stmt, ...]:
            (source,), (out, indices) = inputs, outputs
            best, where = _cell("best", dtype), _cell("where", dtypes.int64)
            i = scalar.axis(dim)
            at = along(source, dim, i)
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
            return lines(out.shape, dim, line)

        return Nest(build)

    return define


def comparable(dtype: DType) -> DType:
    """Return the dtype in which elements are compared."""
    return dtypes.float32 if dtype.is_half else dtype


def place_vjp(r: Rules, s: Saved, g: Operand | None, _: Operand | None) -> Gradients:
    """Forward out[i] = x[indices[i]];  backward gx[j] = Σ g[i] over indices[i] = j."""
    if g is None:
        return (None,)
    blank = r.full(0.0, s.input_types[0])
    return (r("scatter_add", blank, s["indices"], g, dim=s.attrs.dim),)


def _cumulative(name: str, doc: str, op: str, function: str, **fields: Any) -> OpDef:
    return OpDef(
        name,
        doc,
        ("x",),
        infer=infer(name, REAL),
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
        infer=infer(name, ANY, pairs=True),
        rule=Lower(_extreme_nest(op)),
        vjp=Vjp(("indices",), place_vjp),
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
        samples=samples(REAL),
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
)
