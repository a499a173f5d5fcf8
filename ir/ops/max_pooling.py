"""Maxima over sliding windows of x[n, c, *spatial], and their gradient in gather form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.loop.builder import minus
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.pooling_arrays import max_array, max_grad_array
from smelt.ir.ops.pooling_windows import (
    check_window,
    covered_positions,
    covering_positions,
    kernel_axes,
    out_shape,
    sample_windows,
)
from smelt.ir.ops.sliding import Ints, Window, flat_position, within
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage, accumulated, arg_monoid, lowest, monoid
from smelt.ir.types import Shape, TensorType, static_shape

Array = Any


@dataclass(frozen=True, slots=True)
class MaxPoolAttrs:
    """Attributes of `max_pool`: one number a spatial dimension."""

    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    ceil_mode: bool = False


@dataclass(frozen=True, slots=True)
class MaxPoolGradAttrs:
    """Attributes of `max_pool_grad`: the window, and the spatial shape of what was pooled."""

    input_shape: Shape
    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints


def _window(attrs: MaxPoolAttrs | MaxPoolGradAttrs) -> Window:
    return Window(attrs.stride, attrs.padding, attrs.dilation)


def _infer_max(attrs: MaxPoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    check_window("max_pool", x, attrs.kernel, _window(attrs))
    shape = (*x.shape[:2], *_out_shape(attrs, x.shape[2:]))
    return x.with_shape(shape), TensorType(dtypes.int64, shape)


def _out_shape(attrs: MaxPoolAttrs, spatial: Shape) -> Shape:
    return out_shape("max_pool", spatial, attrs.kernel, _window(attrs), attrs.ceil_mode)


def _max_pool(xp: Any, attrs: MaxPoolAttrs, x: Array) -> tuple[Array, Array]:
    out = static_shape(_out_shape(attrs, x.shape[2:]))
    return max_array(xp, attrs.kernel, _window(attrs), out, x)


def _define_max(attrs: MaxPoolAttrs, x: TensorType) -> Stage:
    out, _ = _infer_max(attrs, x)
    spatial, work = x.shape[2:], x.dtype.accumulator
    positions, inside = covered_positions(spatial, out.shape[2:], attrs.kernel, _window(attrs))
    number = flat_position(positions, spatial)
    if inside is not None:
        # What lies outside must lose ties against an element of x that is -inf.
        number = scalar.select(inside, number, scalar.integer(2**63 - 1))
    fill = None if inside is None else lowest(x.dtype)
    return Stage(
        (*out.shape, *attrs.kernel),
        (Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill),),
        (scalar.cast(Read(0, x.dtype), work), number),
        kernel_axes(x.rank),
        arg_monoid("max", work),
        (scalar.cast(accumulated(0, work), x.dtype), accumulated(1, dtypes.int64)),
    )


def _max_vjp(
    r: Rules, s: Saved, g: Operand | None, _: Operand | None
) -> tuple[Operand | None, ...]:
    """Differentiate: each element of g goes to where its maximum was."""
    if g is None:
        return (None,)
    attrs: MaxPoolAttrs = s.attrs
    dx = r(
        "max_pool_grad",
        g,
        s["indices"],
        input_shape=s.input_types[0].shape[2:],
        kernel=attrs.kernel,
        stride=attrs.stride,
        padding=attrs.padding,
        dilation=attrs.dilation,
    )
    return (dx,)


def _infer_max_grad(
    attrs: MaxPoolGradAttrs, g: TensorType, indices: TensorType
) -> tuple[TensorType, ...]:
    op = "max_pool_grad"
    check_window(op, g, attrs.kernel, _window(attrs))
    expect.indices(op, indices=indices)
    expect.of_shape(op, g.shape, indices=indices)
    return (g.with_shape((*g.shape[:2], *attrs.input_shape)),)


def _max_grad(xp: Any, attrs: MaxPoolGradAttrs, g: Array, indices: Array) -> Array:
    window = zip(attrs.kernel, attrs.stride, attrs.dilation)
    apart = all(stride > dilation * (kernel - 1) for kernel, stride, dilation in window)
    return max_grad_array(xp, static_shape(attrs.input_shape), apart, g, indices)


def _met_windows(attrs: MaxPoolGradAttrs, out: Shape) -> tuple[Ints, tuple[Expr, ...], Expr | None]:
    """Return how many windows an element may lie in, their positions, and when there is one.

    Without dilation these are the last few that begin at or before the element; whether it lies
    in them need not be asked, since a window's index says which element it chose.
    """
    window = _window(attrs)
    if any(d != 1 for d in attrs.dilation):
        return attrs.kernel, *covering_positions(out, attrs.kernel, window)
    taps: list[int] = []
    positions: list[Expr] = []
    checks: list[Expr] = []
    for k, extent in enumerate(out):
        stride, padding, _ = window.at(k)
        count = -(-attrs.kernel[k] // stride)
        element = scalar.apply("add", scalar.axis(2 + k), scalar.integer(padding))
        last = scalar.apply("floordiv", element, scalar.integer(stride))
        back = minus(count - 1, scalar.axis(2 + len(out) + k))
        position = minus(last, back)
        taps.append(count)
        positions.append(position)
        reach = attrs.input_shape[k] - 1 + padding
        known = isinstance(reach, int) and isinstance(extent, int)
        if count > 1 or not (known and reach // stride < extent):
            checks.append(within(position, extent))
    return tuple(taps), tuple(positions), scalar.conjunction(*checks)


def _define_max_grad(attrs: MaxPoolGradAttrs, g: TensorType, indices: TensorType) -> Stage:
    rank, work = g.rank, g.dtype.accumulator
    taps, positions, inside = _met_windows(attrs, g.shape[2:])
    place = (scalar.axis(0), scalar.axis(1), *positions)
    here = flat_position(tuple(scalar.axis(2 + k) for k in range(rank - 2)), attrs.input_shape)
    chosen = scalar.apply("eq", Read(1, dtypes.int64), here)
    body = scalar.select(chosen, scalar.cast(Read(0, g.dtype), work), Const(0.0, work))
    fills = (None, None) if inside is None else (Const(0.0, g.dtype), scalar.integer(-1))
    return Stage(
        (*g.shape[:2], *attrs.input_shape, *taps),
        tuple(Reader(k, place, inside, fill) for k, fill in enumerate(fills)),
        (body,),
        kernel_axes(rank),
        monoid("add", work),
        (scalar.cast(accumulated(0, work), g.dtype),),
    )


def _max_grad_vjp(r: Rules, s: Saved, h: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gg = h at the indices."""
    g = s.input_types[0]
    plane = TensorType(g.dtype, tuple(s.attrs.input_shape)).size
    lead = g.shape[:2]
    count = TensorType(g.dtype, g.shape[2:]).size
    flat = r.reshape(h, (*lead, plane))
    index = r.reshape(s["indices"], (*lead, count))
    return r.reshape(r("gather", flat, index, dim=2), g.shape), None


# Samples


def _dilated() -> Iterable[tuple[Ints, dict[str, Any]]]:
    for shape, window in sample_windows():
        yield shape, {**window, "dilation": (1,) * (len(shape) - 2)}
    yield (1, 2, 6), {"kernel": (3,), "stride": (2,), "padding": (1,), "dilation": (2,)}


def _max_samples() -> Iterable[Sample]:
    for shape, attrs in _dilated():
        yield Sample((sampling.normal(*shape, dtype=dtypes.float64),), attrs)
    shape, attrs = next(iter(_dilated()))
    yield Sample((sampling.strided(sampling.normal(*shape)),), attrs)
    yield Sample((sampling.normal(*shape, dtype=dtypes.bfloat16),), attrs, differentiable=False)
    rows = np.array([[-np.inf, -np.inf, np.nan, 1, 2, 2, np.inf, np.nan]], np.float32)
    attrs = {"kernel": (3,), "stride": (1,), "padding": (1,), "dilation": (1,)}
    yield Sample((rows[None],), attrs, differentiable=False)


def _max_grad_samples() -> Iterable[Sample]:
    for shape, attrs in _dilated():
        x = sampling.normal(*shape, dtype=dtypes.float64)
        out, indices = _max_pool(np, MaxPoolAttrs(**attrs), x)
        window = {k: v for k, v in attrs.items() if k != "ceil_mode"}
        yield Sample((out, indices), {"input_shape": shape[2:], **window})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="max_pool",
        doc="the greatest of each window, and its row-major number in the spatial plane",
        operands=("x",),
        results=("out", "indices"),
        attrs=MaxPoolAttrs,
        infer=_infer_max,
        reference=_max_pool,
        rule=Lower(_define_max),
        vjp=Vjp(("indices",), _max_vjp),
        samples=_max_samples,
    ),
    OpDef(
        name="max_pool_grad",
        doc="sum of g over the windows whose maximum is here",
        operands=("g", "indices"),
        attrs=MaxPoolGradAttrs,
        infer=_infer_max_grad,
        reference=_max_grad,
        rule=Lower(_define_max_grad),
        vjp=Vjp(("indices",), _max_grad_vjp),
        samples=_max_grad_samples,
    ),
)
