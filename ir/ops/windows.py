"""Sliding windows along a dimension, and their inverse, which adds them up."""

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
from smelt.ir.ops import inference, pointwise, sampling
from smelt.ir.ops.movement import times
from smelt.ir.scalar import Const, Read
from smelt.ir.structured import Reader, Stage
from smelt.ir.types import TensorType

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


def _unfold_infer(attrs: UnfoldAttrs, *types: TensorType) -> tuple[TensorType, ...]:
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
    dim: int = attrs.dim
    length = s.input_types[0].shape[dim]
    return (r("fold", g, dim=dim, length=length, step=attrs.step),)


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
)
