"""Movement that changes the dimensions: reshape, permute, expand.

The definition of a movement op is an index map: where in the operand the element at a point of the
result lies. Views are computed here too, for the frontend: `view` gives the layout of the result in
the operand's storage, or None where no strides express it.
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
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import sampling
from smelt.ir.scalar import Const, Expr
from smelt.ir.structured import Stage
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
)
