"""Movement by strides: windows, diagonals, arbitrary strides, and what writes through them.

Every scatter here is a gather in its definition: each point of the result asks whether, and where,
the source wrote to it.
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
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.movement import plus, scatter_stage, times
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import Shape, TensorType

Array = Any
Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class UnfoldAttrs:
    """The dimension cut into windows, their size, and the step between them."""

    dim: int
    size: int
    step: int


@dataclass(frozen=True, slots=True)
class FoldAttrs:
    """The dimension that windows are added into, its length, and the step between windows."""

    dim: int
    length: int | Dim
    step: int


@dataclass(frozen=True, slots=True)
class DiagonalAttrs:
    """Which diagonal of which two dimensions; a positive offset lies above the main one."""

    offset: int
    dim1: int
    dim2: int


@dataclass(frozen=True, slots=True)
class StridedAttrs:
    """Sizes, strides and offset in the flat operand, all in elements."""

    sizes: Shape
    strides: Shape
    offset: int | Dim


@dataclass(frozen=True, slots=True)
class TriangleAttrs:
    """The last diagonal that is kept, 0 the main one."""

    diagonal: int


def _unfold_infer(attrs: UnfoldAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("unfold", ("x",), types)
    (x,) = types
    inference.expect_dim("unfold", "dim", attrs.dim, x.rank)
    if attrs.step < 1 or attrs.size < 0 or not dims.holds(attrs.size, "<=", x.shape[attrs.dim]):
        raise ArgumentError(
            f"unfold: windows of {attrs.size} by steps of {attrs.step} do not fit into dimension "
            f"{attrs.dim} of {x}"
        )
    windows = (x.shape[attrs.dim] - attrs.size) // attrs.step + 1
    shape = (*x.shape[: attrs.dim], windows, *x.shape[attrs.dim + 1 :], attrs.size)
    return (x.with_shape(shape),)


def _unfold_reference(xp: Any, attrs: UnfoldAttrs, x: Array) -> Array:
    strides = list(x.strides)
    moved = (*strides[: attrs.dim], strides[attrs.dim] * attrs.step, *strides[attrs.dim + 1 :])
    windows = (x.shape[attrs.dim] - attrs.size) // attrs.step + 1
    shape = (*x.shape[: attrs.dim], windows, *x.shape[attrs.dim + 1 :], attrs.size)
    return xp.lib.stride_tricks.as_strided(x, shape, (*moved, strides[attrs.dim]))


def _unfold_define(attrs: UnfoldAttrs, x: TensorType) -> Stage:
    (out,) = _unfold_infer(attrs, x)
    index = list(structured.identity_index(x.rank))
    start = times(scalar.axis(attrs.dim), attrs.step)
    index[attrs.dim] = scalar.apply("add", start, scalar.axis(x.rank))
    return structured.movement(x, out.shape, tuple(index))


def _unfold_view(attrs: UnfoldAttrs, layout: Layout) -> Layout:
    dim = attrs.dim
    sizes, strides = list(layout.sizes), list(layout.strides)
    sizes[dim] = (sizes[dim] - attrs.size) // attrs.step + 1
    strides[dim] *= attrs.step
    return Layout(layout.offset, (*sizes, attrs.size), (*strides, layout.strides[dim]))


def _unfold_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[w, k] = x[w step + k];  backward gx[p] = Σ g[w, k] over w step + k = p."""
    attrs = s.attrs
    length = s.input_types[0].shape[attrs.dim]
    return (r("fold", g, dim=attrs.dim, length=length, step=attrs.step),)


def _unfold_cases() -> Iterator[tuple[Array, dict[str, Any]]]:
    x = sampling.normal(2, 7, 3)
    for size, step in ((3, 1), (3, 2), (2, 3), (7, 1), (1, 1), (0, 2)):
        yield x, {"dim": 1, "size": size, "step": step}
    yield sampling.strided(x), {"dim": 1, "size": 3, "step": 2}
    yield x, {"dim": 2, "size": 2, "step": 1}
    yield sampling.normal(5, dtype=dtypes.bfloat16), {"dim": 0, "size": 2, "step": 1}
    yield sampling.normal(5, dtype=dtypes.int32), {"dim": 0, "size": 2, "step": 1}
    yield x[:0], {"dim": 1, "size": 3, "step": 2}


def _unfold_samples() -> Iterator[Sample]:
    for x, attrs in _unfold_cases():
        yield Sample((x,), attrs)


def _fold_infer(attrs: FoldAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("fold", ("windows",), types)
    (x,) = types
    inference.expect_kind("fold", "windows", x, inference.REAL)
    inference.expect_dim("fold", "dim", attrs.dim, x.rank - 1)
    if attrs.step < 1:
        raise ArgumentError(f"fold: step must be positive, not {attrs.step}")
    size, count = x.shape[-1], x.shape[attrs.dim]
    if not dims.same((attrs.length - size) // attrs.step + 1, count):
        raise TypeInferenceError(
            f"fold: {count} windows of {size} by steps of {attrs.step} do not come from a "
            f"dimension of size {attrs.length}: windows is {x}"
        )
    return (x.with_shape((*x.shape[: attrs.dim], attrs.length, *x.shape[attrs.dim + 1 : -1])),)


def _fold_reference(xp: Any, attrs: FoldAttrs, x: Array) -> Array:
    dtype = np.float32 if pointwise.is_half(x) else x.dtype
    shape = (*x.shape[: attrs.dim], attrs.length, *x.shape[attrs.dim + 1 : -1])
    out = xp.zeros(shape, dtype)
    head = (slice(None),) * attrs.dim
    reach = x.shape[attrs.dim] * attrs.step
    for k in range(x.shape[-1]):
        # Window w adds its element k at position w * step + k.
        out[(*head, slice(k, k + reach, attrs.step))] += x[..., k].astype(dtype, copy=False)
    return out.astype(x.dtype, copy=False)


def _fold_define(attrs: FoldAttrs, x: TensorType) -> Stage:
    (out,) = _fold_infer(attrs, x)
    dtype = x.dtype.accumulator
    offset = scalar.axis(out.rank)
    ahead = scalar.apply("sub", scalar.axis(attrs.dim), offset)
    window = ahead
    conditions = [scalar.apply("ge", ahead, scalar.integer(0))]
    if attrs.step != 1:
        step = scalar.integer(attrs.step)
        window = scalar.apply("floordiv", ahead, step)
        rest = scalar.apply("mod", ahead, step)
        conditions.append(scalar.apply("eq", rest, scalar.integer(0)))
    conditions.append(scalar.apply("lt", window, scalar.of_dim(x.shape[attrs.dim])))
    index = list(structured.identity_index(out.rank))
    index[attrs.dim] = window
    zero = Const(scalar.as_python(0, x.dtype), x.dtype)
    reader = Reader(0, (*index, offset), scalar.conjunction(*conditions), zero)
    total = structured.accumulated(0, dtype)
    return Stage(
        (*out.shape, x.shape[-1]),
        (reader,),
        (scalar.cast(Read(0, x.dtype), dtype),),
        (out.rank,),
        structured.monoid("add", dtype),
        () if dtype is x.dtype else (scalar.cast(total, x.dtype),),
    )


def _fold_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out[p] = Σ x[w, k] over w step + k = p;  backward gx[w, k] = g[w step + k]."""
    size = s.input_types[0].shape[-1]
    return (r("unfold", g, dim=s.attrs.dim, size=size, step=s.attrs.step),)


def _fold_samples() -> Iterator[Sample]:
    for x, attrs in _unfold_cases():
        windows = _unfold_reference(np, UnfoldAttrs(**attrs), x)
        length = x.shape[attrs["dim"]]
        yield Sample((windows,), {"dim": attrs["dim"], "length": length, "step": attrs["step"]})


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
    inference.expect_count("diagonal", ("x",), types)
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


def _diagonal_attrs(attrs: DiagonalAttrs) -> dict[str, int]:
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
    inference.expect_count("diagonal_scatter", names, types)
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


def _strided_type(name: str, attrs: StridedAttrs, flat: TensorType) -> TensorType:
    """Return the type seen through the strides, having checked that all lies within `flat`."""
    inference.expect_rank(name, "flat", flat, 1, 1)
    if len(attrs.sizes) != len(attrs.strides):
        raise ArgumentError(f"{name}: {len(attrs.sizes)} sizes, but {len(attrs.strides)} strides")
    amounts = (*attrs.sizes, *attrs.strides, attrs.offset)
    if any(not dims.holds(0, "<=", n) for n in amounts):
        raise ArgumentError(f"{name}: sizes, strides and offset must not be negative: {attrs}")
    if 0 not in attrs.sizes:
        end = attrs.offset + 1
        for size, stride in zip(attrs.sizes, attrs.strides):
            end = (size - 1) * stride + end
        if not dims.holds(end, "<=", flat.shape[0]):
            raise TypeInferenceError(
                f"{name}: sizes {attrs.sizes}, strides {attrs.strides} and offset {attrs.offset} "
                f"reach element {end - 1}, but flat is {flat}"
            )
    return flat.with_shape(tuple(attrs.sizes))


def _as_strided_infer(attrs: StridedAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    inference.expect_count("as_strided", ("flat",), types)
    return (_strided_type("as_strided", attrs, types[0]),)


def _as_strided_reference(xp: Any, attrs: StridedAttrs, flat: Array) -> Array:
    step = flat.strides[0] if flat.size else flat.itemsize
    start = flat[attrs.offset :] if 0 not in attrs.sizes else flat[:0]
    return xp.lib.stride_tricks.as_strided(
        start, attrs.sizes, tuple(step * n for n in attrs.strides)
    )


def _as_strided_define(attrs: StridedAttrs, flat: TensorType) -> Stage:
    at: Expr | None = None
    for d, (size, stride) in enumerate(zip(attrs.sizes, attrs.strides)):
        if size == 1 or stride == 0:
            continue
        term = times(scalar.axis(d), stride)
        at = term if at is None else scalar.apply("add", at, term)
    index = scalar.of_dim(attrs.offset) if at is None else plus(at, attrs.offset)
    return structured.movement(flat, tuple(attrs.sizes), (index,))


def _as_strided_view(attrs: StridedAttrs, layout: Layout) -> Layout:
    (step,) = layout.strides
    sizes = tuple(n for n in attrs.sizes if isinstance(n, int))
    strides = tuple(n * step for n in attrs.strides if isinstance(n, int))
    assert isinstance(attrs.offset, int), "eager sizes are integers"
    moved = attrs.offset * step if 0 not in sizes else 0
    return Layout(layout.offset + moved, sizes, strides)


def _by_stride(sizes: Shape, strides: Shape) -> list[int]:
    """Return the dimensions of more than one element, the widest stride first."""
    found = [d for d, n in enumerate(sizes) if n != 1]
    return sorted(found, key=lambda d: strides[d], reverse=True)


def _overlaps(sizes: Shape, strides: Shape) -> bool:
    """Tell whether two points may lie at one element: a stride does not clear those below it."""
    reach: int | Dim = 0
    for d in reversed(_by_stride(sizes, strides)):
        if dims.holds(strides[d], "<=", reach):
            return True
        reach = (sizes[d] - 1) * strides[d] + reach
    return False


def _as_strided_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = flat at strides;  backward gflat = Σ g over the points at each element."""
    (flat,) = s.input_types
    a = s.attrs
    repeated = tuple(d for d, n in enumerate(a.strides) if n == 0)
    g = r.sum(g, repeated)
    sizes = tuple(n for d, n in enumerate(a.sizes) if d not in repeated)
    strides = tuple(n for n in a.strides if n != 0)
    blank = r.full(0.0, flat)
    if 0 in sizes:
        return (blank,)
    if not _overlaps(sizes, strides):
        attrs = {"sizes": sizes, "strides": strides, "offset": a.offset}
        return (r("as_strided_scatter", blank, g, **attrs),)
    index = r.full(a.offset, TensorType(dtypes.int64, sizes))
    for d, stride in enumerate(strides):
        line = r("iota", shape=sizes, dim=d, dtype=dtypes.int64)
        index = r("add", index, r("mul", line, r.full_like(line, stride)))
    count: int | Dim = 1
    for size in sizes:
        count = count * size
    shape = (count,)
    return (r("scatter_add", blank, r.reshape(index, shape), r.reshape(g, shape), dim=0),)


def _as_strided_cases() -> Iterator[tuple[Array, dict[str, Any]]]:
    flat = sampling.normal(13)
    yield flat, {"sizes": (3, 2), "strides": (4, 1), "offset": 2}
    yield flat, {"sizes": (2, 3), "strides": (1, 4), "offset": 0}
    yield flat, {"sizes": (2, 1, 2), "strides": (5, 7, 2), "offset": 1}
    yield flat, {"sizes": (), "strides": (), "offset": 3}
    yield flat, {"sizes": (0, 2), "strides": (4, 1), "offset": 2}
    yield sampling.strided(flat), {"sizes": (3, 2), "strides": (4, 1), "offset": 2}


def _as_strided_samples() -> Iterator[Sample]:
    for flat, attrs in _as_strided_cases():
        yield Sample((flat,), attrs)
    flat = sampling.normal(13)
    yield Sample((flat,), {"sizes": (3, 4), "strides": (2, 1), "offset": 1})
    yield Sample((flat,), {"sizes": (3, 4), "strides": (0, 2), "offset": 1})


def _as_strided_scatter_infer(attrs: StridedAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    names = ("flat", "src")
    inference.expect_count("as_strided_scatter", names, types)
    inference.expect_same_dtype("as_strided_scatter", names, types)
    flat, src = types
    wanted = _strided_type("as_strided_scatter", attrs, flat)
    if not inference.same_shape(wanted.shape, src.shape):
        raise TypeInferenceError(
            f"as_strided_scatter: src must have the type {wanted} seen through the strides, "
            f"but is {src}"
        )
    if 0 not in attrs.sizes and _overlaps(attrs.sizes, attrs.strides):
        raise ArgumentError(
            "as_strided_scatter: more than one element of src may go to one element of flat: "
            f"sizes {attrs.sizes}, strides {attrs.strides}"
        )
    return (flat,)


def _as_strided_scatter_reference(xp: Any, attrs: StridedAttrs, flat: Array, src: Array) -> Array:
    out = flat.copy(order="C")
    _as_strided_reference(xp, attrs, out)[...] = src
    return out


def _as_strided_scatter_define(attrs: StridedAttrs, flat: TensorType, src: TensorType) -> Stage:
    if 0 in attrs.sizes:
        return structured.elementwise(Read(0, flat.dtype), (flat,))
    rest = plus(scalar.axis(0), -attrs.offset)
    conditions: list[Expr] = [scalar.apply("ge", rest, scalar.integer(0))]
    index: list[Expr] = [scalar.integer(0)] * src.rank
    # Strides clear one another, so the position is a number in mixed radix: its digits, from the
    # widest stride down, are the indices.
    for d in _by_stride(attrs.sizes, attrs.strides):
        stride = scalar.of_dim(attrs.strides[d])
        one = attrs.strides[d] == 1
        index[d] = rest if one else scalar.apply("floordiv", rest, stride)
        rest = scalar.integer(0) if one else scalar.apply("mod", rest, stride)
        conditions.append(scalar.apply("lt", index[d], scalar.of_dim(attrs.sizes[d])))
    if rest != scalar.integer(0):
        conditions.append(scalar.apply("eq", rest, scalar.integer(0)))
    return scatter_stage(flat, scalar.conjunction(*conditions), tuple(index))


def _as_strided_scatter_vjp(r: Rules, s: Saved, g: Operand) -> Gradients:
    """Forward out = flat, but src at strides;  backward gflat = g, but 0 there; gsrc = g there."""
    a = s.attrs
    attrs: dict[str, Any] = {"sizes": a.sizes, "strides": a.strides, "offset": a.offset}
    blank = r.full(0.0, s.input_types[1])
    return (
        r("as_strided_scatter", g, blank, **attrs) if s.needs[0] else None,
        r("as_strided", g, **attrs) if s.needs[1] else None,
    )


def _as_strided_scatter_samples() -> Iterator[Sample]:
    for flat, attrs in _as_strided_cases():
        src = np.asarray(-_as_strided_reference(np, StridedAttrs(**attrs), flat))
        yield Sample((flat, src), attrs)


def _triangle_infer(name: str) -> Any:
    def infer(attrs: TriangleAttrs, *types: TensorType) -> tuple[TensorType, ...]:
        inference.expect_count(name, ("x",), types)
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
        "unfold",
        "out[w, …, k] = x[w step + k]",
        ("x",),
        infer=_unfold_infer,
        rule=Lower(_unfold_define),
        vjp=Vjp((), _unfold_vjp),
        samples=_unfold_samples,
        reference=_unfold_reference,
        attrs=UnfoldAttrs,
        view=_unfold_view,
    ),
    OpDef(
        "fold",
        "out[p] = Σ windows[w, …, k] over w step + k = p",
        ("windows",),
        infer=_fold_infer,
        rule=Lower(_fold_define),
        vjp=Vjp((), _fold_vjp),
        samples=_fold_samples,
        reference=_fold_reference,
        attrs=FoldAttrs,
    ),
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
    OpDef(
        "as_strided",
        "out[i…] = flat[offset + Σ i stride]",
        ("flat",),
        infer=_as_strided_infer,
        rule=Lower(_as_strided_define),
        vjp=Vjp((), _as_strided_vjp),
        samples=_as_strided_samples,
        reference=_as_strided_reference,
        attrs=StridedAttrs,
        view=_as_strided_view,
    ),
    OpDef(
        "as_strided_scatter",
        "flat with src at offset + Σ i stride",
        ("flat", "src"),
        infer=_as_strided_scatter_infer,
        rule=Lower(_as_strided_scatter_define),
        vjp=Vjp((), _as_strided_scatter_vjp),
        samples=_as_strided_scatter_samples,
        reference=_as_strided_scatter_reference,
        attrs=StridedAttrs,
    ),
    _triangle("tril", "x at and below a diagonal, 0 above", "le"),
    _triangle("triu", "x at and above a diagonal, 0 below", "ge"),
)
