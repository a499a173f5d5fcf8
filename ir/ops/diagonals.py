"""Diagonals and triangles of two dimensions."""

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
from smelt.ir.ops.movement import plus
from smelt.ir.ops.slicing import scatter_stage
from smelt.ir.scalar import Expr
from smelt.ir.structured import Stage
from smelt.ir.types import TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class DiagonalAttrs:
    """Which diagonal of which two dimensions; a positive offset lies above the main one."""

    offset: int
    dim1: int
    dim2: int


@dataclass(frozen=True, slots=True)
class TriangleAttrs:
    """The last diagonal that is kept, 0 the main one."""

    diagonal: int


def _least(a: int | Dim, b: int | Dim) -> int | Dim:
    return a if dims.holds(a, "<=", b) else b


def _diagonal_type(name: str, attrs: DiagonalAttrs, x: TensorType) -> TensorType:
    """Return the type of a diagonal of `x`, having checked the attributes."""
    inference.expect_dim(name, "dim1", attrs.dim1, x.rank)
    inference.expect_dim(name, "dim2", attrs.dim2, x.rank)
    if attrs.dim1 == attrs.dim2:
        raise ArgumentError(f"{name}: dim1 and dim2 must differ, but both are {attrs.dim1}")
    rows, columns = x.shape[attrs.dim1], x.shape[attrs.dim2]
    length = _least(rows + min(attrs.offset, 0), columns - max(attrs.offset, 0))
    length = length if dims.holds(0, "<=", length) else 0
    kept = tuple(n for d, n in enumerate(x.shape) if d not in (attrs.dim1, attrs.dim2))
    return x.with_shape((*kept, length))


def _diagonal_infer(attrs: DiagonalAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    return (_diagonal_type("diagonal", attrs, types[0]),)


def _diagonal_reference(xp: Any, attrs: DiagonalAttrs, x: Array) -> Array:
    return xp.diagonal(x, attrs.offset, attrs.dim1, attrs.dim2)


def _diagonal_define(attrs: DiagonalAttrs, x: TensorType) -> Stage:
    out = _diagonal_type("diagonal", attrs, x)
    along = scalar.axis(out.rank - 1)
    index: list[Expr] = []
    position = 0
    for d in range(x.rank):
        if d == attrs.dim1:
            index.append(plus(along, max(-attrs.offset, 0)))
        elif d == attrs.dim2:
            index.append(plus(along, max(attrs.offset, 0)))
        else:
            index.append(scalar.axis(position))
            position += 1
    return structured.movement(x, out.shape, tuple(index))


def _diagonal_view(attrs: DiagonalAttrs, layout: Layout) -> Layout:
    one, two = attrs.dim1, attrs.dim2
    down, right = max(-attrs.offset, 0), max(attrs.offset, 0)
    length = max(0, min(layout.sizes[one] - down, layout.sizes[two] - right))
    kept = [d for d in range(len(layout.sizes)) if d not in (one, two)]
    moved = down * layout.strides[one] + right * layout.strides[two] if length else 0
    return Layout(
        layout.offset + moved,
        (*(layout.sizes[d] for d in kept), length),
        (*(layout.strides[d] for d in kept), layout.strides[one] + layout.strides[two]),
    )


def _diagonal_attrs(attrs: DiagonalAttrs) -> dict[str, Any]:
    return {"offset": attrs.offset, "dim1": attrs.dim1, "dim2": attrs.dim2}


def _diagonal_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = a diagonal of x;  backward gx = 0, but g on that diagonal."""
    blank = r.full(0.0, s.input_types[0])
    return (r("diagonal_scatter", blank, g, **_diagonal_attrs(s.attrs)),)


def _diagonal_cases() -> Iterator[tuple[Array, dict[str, Any]]]:
    x = sampling.normal(3, 4)
    for offset in (0, 1, -1, 3, -2, 5):
        yield x, {"offset": offset, "dim1": 0, "dim2": 1}
    cube = sampling.normal(2, 3, 4)
    yield cube, {"offset": 1, "dim1": 2, "dim2": 0}
    yield sampling.strided(cube), {"offset": 0, "dim1": 1, "dim2": 2}
    yield cube[:0], {"offset": 0, "dim1": 1, "dim2": 2}
    yield sampling.normal(3, 3, dtype=dtypes.int64), {"offset": 0, "dim1": 0, "dim2": 1}


def _diagonal_samples() -> Iterator[Sample]:
    for x, attrs in _diagonal_cases():
        yield Sample((x,), attrs)


def _diagonal_scatter_infer(attrs: DiagonalAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    names = ("x", "src")
    inference.expect_same_dtype("diagonal_scatter", names, types)
    x, src = types
    wanted = _diagonal_type("diagonal_scatter", attrs, x)
    if not inference.same_shape(wanted.shape, src.shape):
        raise TypeInferenceError(
            f"diagonal_scatter: src must have the type {wanted} of the diagonal, but is {src}"
        )
    return (x,)


def _diagonal_scatter_reference(xp: Any, attrs: DiagonalAttrs, x: Array, src: Array) -> Array:
    out = x.copy(order="C")
    length = src.shape[-1]
    along = xp.arange(length)
    last = out.transpose(
        *(d for d in range(out.ndim) if d not in (attrs.dim1, attrs.dim2)), attrs.dim1, attrs.dim2
    )
    last[..., along + max(-attrs.offset, 0), along + max(attrs.offset, 0)] = src
    return out


def _diagonal_scatter_define(attrs: DiagonalAttrs, x: TensorType, src: TensorType) -> Stage:
    row, column = scalar.axis(attrs.dim1), scalar.axis(attrs.dim2)
    inside = scalar.apply("eq", scalar.apply("sub", column, row), scalar.integer(attrs.offset))
    along = plus(row, -max(-attrs.offset, 0))
    kept = (scalar.axis(d) for d in range(x.rank) if d not in (attrs.dim1, attrs.dim2))
    return scatter_stage(x, inside, (*kept, along))


def _diagonal_scatter_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = x, but src on a diagonal;  backward gx = g, but 0 there; gsrc = g's."""
    attrs = _diagonal_attrs(s.attrs)
    blank = r.full(0.0, s.input_types[1])
    return (
        r("diagonal_scatter", g, blank, **attrs) if s.needs[0] else None,
        r("diagonal", g, **attrs) if s.needs[1] else None,
    )


def _diagonal_scatter_samples() -> Iterator[Sample]:
    for x, attrs in _diagonal_cases():
        src = np.asarray(-_diagonal_reference(np, DiagonalAttrs(**attrs), x))
        yield Sample((x, src), attrs)


def _triangle_infer(name: str) -> Any:
    def infer(attrs: TriangleAttrs, *types: TensorType) -> tuple[TensorType, ...]:
        inference.expect_rank(name, "x", types[0], 2, None)
        return (types[0],)

    return infer


def _triangle_reference(name: str) -> Any:
    def reference(xp: Any, attrs: TriangleAttrs, x: Array) -> Array:
        return xp.asarray(getattr(xp, name)(x, attrs.diagonal), order="C")

    return reference


def _triangle_decompose(compare: str) -> Decompose:
    def rule(r: Rules, attrs: TriangleAttrs, x: Operand) -> Operand:
        found = r.type(x)
        rows, columns = (
            r("iota", shape=found.shape, dim=found.rank + d, dtype=dtypes.int64) for d in (-2, -1)
        )
        last = r("add", rows, r.full_like(rows, attrs.diagonal))
        return r("where", r(compare, columns, last), x, r.full_like(x, 0))

    return Decompose(rule)


def _triangle_vjp(name: str) -> Vjp:
    def rule(r: Rules, s: Saved, g: Operand) -> Gradients:
        """Forward out = a triangle of x;  backward gx = that triangle of g."""
        return (r(name, g, diagonal=s.attrs.diagonal),)

    return Vjp((), rule)


def _triangle_samples() -> Iterator[Sample]:
    x = sampling.normal(3, 4)
    for diagonal in (0, 1, -1, 5, -5):
        yield Sample((x,), {"diagonal": diagonal})
    yield Sample((sampling.strided(sampling.normal(2, 3, 3)),), {"diagonal": 0})
    yield Sample((x[:0],), {"diagonal": 0})
    for dtype in (dtypes.bool_, dtypes.int64, dtypes.bfloat16):
        yield Sample((sampling.normal(3, 3, dtype=dtype),), {"diagonal": 0})
    special = np.full((2, 2), np.nan, np.float32)
    yield Sample((special,), {"diagonal": 0}, differentiable=False)


def _triangle(name: str, doc: str, compare: str) -> OpDef:
    return OpDef(
        name,
        doc,
        ("x",),
        infer=_triangle_infer(name),
        rule=_triangle_decompose(compare),
        vjp=_triangle_vjp(name),
        samples=_triangle_samples,
        reference=_triangle_reference(name),
        attrs=TriangleAttrs,
    )


OPS: tuple[OpDef, ...] = (
    OpDef(
        "diagonal",
        "out[…, i] = x[…, i, …, i + offset, …]",
        ("x",),
        infer=_diagonal_infer,
        rule=Lower(_diagonal_define),
        vjp=Vjp((), _diagonal_vjp),
        samples=_diagonal_samples,
        reference=_diagonal_reference,
        attrs=DiagonalAttrs,
        view=_diagonal_view,
    ),
    OpDef(
        "diagonal_scatter",
        "x with src on a diagonal",
        ("x", "src"),
        infer=_diagonal_scatter_infer,
        rule=Lower(_diagonal_scatter_define),
        vjp=Vjp((), _diagonal_scatter_vjp),
        samples=_diagonal_scatter_samples,
        reference=_diagonal_scatter_reference,
        attrs=DiagonalAttrs,
    ),
    _triangle("tril", "x at and below a diagonal, 0 above", "le"),
    _triangle("triu", "x at and above a diagonal, 0 below", "ge"),
)
