"""Means over sliding windows of x[n, c, *spatial], and their gradient in gather form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import DType
from smelt.ir.loop.builder import minus, plus, times
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.pooling_arrays import Averaging, average_array, average_grad_array
from smelt.ir.ops.pooling_windows import (
    check_window,
    covered_positions,
    covering_positions,
    kernel_axes,
    out_shape,
    overhangs,
    sample_windows,
)
from smelt.ir.ops.sliding import Ints, Window
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage, accumulated, monoid
from smelt.ir.types import Shape, TensorType, static_shape

Array = Any


@dataclass(frozen=True, slots=True)
class AvgPoolAttrs:
    """Attributes of `avg_pool`; divisor None: the size of the window."""

    kernel: Ints
    stride: Ints
    padding: Ints
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None


@dataclass(frozen=True, slots=True)
class AvgPoolGradAttrs:
    """Attributes of `avg_pool_grad`: those of `avg_pool`, and the spatial shape of its input."""

    input_shape: Shape
    kernel: Ints
    stride: Ints
    padding: Ints
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None


def _window(attrs: AvgPoolAttrs | AvgPoolGradAttrs) -> Window:
    return Window(attrs.stride, attrs.padding, (1,) * len(attrs.kernel))


def _check_average(op: str, attrs: AvgPoolAttrs | AvgPoolGradAttrs, x: TensorType) -> None:
    check_window(op, x, attrs.kernel, _window(attrs))
    expect.argument(op, attrs.divisor != 0, "divisor must not be 0")


def _out_shape(op: str, attrs: AvgPoolAttrs | AvgPoolGradAttrs, spatial: Shape) -> Shape:
    return out_shape(op, spatial, attrs.kernel, _window(attrs), attrs.ceil_mode)


def _infer_avg(attrs: AvgPoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    _check_average("avg_pool", attrs, x)
    return (x.with_shape((*x.shape[:2], *_out_shape("avg_pool", attrs, x.shape[2:]))),)


def _infer_avg_grad(attrs: AvgPoolGradAttrs, g: TensorType) -> tuple[TensorType, ...]:
    op = "avg_pool_grad"
    _check_average(op, attrs, g)
    expect.of_shape(op, (*g.shape[:2], *_out_shape(op, attrs, attrs.input_shape)), g=g)
    return (g.with_shape((*g.shape[:2], *attrs.input_shape)),)


def _averaging(attrs: AvgPoolAttrs | AvgPoolGradAttrs) -> Averaging:
    return Averaging(attrs.kernel, _window(attrs), attrs.count_include_pad, attrs.divisor)


def _avg_pool(xp: Any, attrs: AvgPoolAttrs, x: Array) -> Array:
    out = static_shape(_out_shape("avg_pool", attrs, x.shape[2:]))
    return average_array(xp, _averaging(attrs), out, x)


def _avg_grad(xp: Any, attrs: AvgPoolGradAttrs, g: Array) -> Array:
    return average_grad_array(xp, _averaging(attrs), static_shape(attrs.input_shape), g)


# Structured definitions


def _divisor(
    attrs: AvgPoolAttrs | AvgPoolGradAttrs, out: Shape, spatial: Shape, places: tuple[Expr, ...]
) -> Expr:
    """Return by how much the window at an output position is divided, as i64."""
    if attrs.divisor is not None:
        return scalar.integer(attrs.divisor)
    over = overhangs(spatial, out, attrs.kernel, _window(attrs))
    total: Expr = scalar.integer(1)
    for k, place in enumerate(places):
        kernel, padding, extent = attrs.kernel[k], attrs.padding[k], spatial[k]
        size: Expr = scalar.integer(kernel)
        if over[k] and (attrs.ceil_mode or not attrs.count_include_pad):
            start = minus(times(place, attrs.stride[k]), padding)
            room = extent + padding if attrs.count_include_pad else extent
            stop = scalar.apply("min", plus(start, kernel), scalar.of_dim(room))
            if not attrs.count_include_pad:
                start = scalar.apply("max", start, scalar.integer(0))
            size = minus(stop, start)
        total = times(total, size)
    return total


def _mean_stage(domain: Shape, reader: Reader, divisor: Expr, dtype: DType) -> Stage:
    """Return the stage that sums what `reader` delivers, divided, over the kernel axes."""
    work = dtype.accumulator
    value, total = scalar.cast(Read(0, dtype), work), accumulated(0, work)
    count = scalar.cast(divisor, work)
    result: Expr = total
    if isinstance(divisor, Const):
        result = scalar.apply("div", total, Const(float(divisor.value), work))
    else:
        value = scalar.apply("div", value, count)
    axes = kernel_axes((len(domain) + 2) // 2)
    finish = (scalar.cast(result, dtype),)
    return Stage(domain, (reader,), (value,), axes, monoid("add", work), finish)


def _define_avg(attrs: AvgPoolAttrs, x: TensorType) -> Stage:
    (out,) = _infer_avg(attrs, x)
    spatial, outs = x.shape[2:], out.shape[2:]
    positions, inside = covered_positions(spatial, outs, attrs.kernel, _window(attrs))
    fill = None if inside is None else Const(0.0, x.dtype)
    reader = Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill)
    places = tuple(scalar.axis(2 + k) for k in range(x.rank - 2))
    divisor = _divisor(attrs, outs, spatial, places)
    return _mean_stage((*out.shape, *attrs.kernel), reader, divisor, x.dtype)


def _define_avg_grad(attrs: AvgPoolGradAttrs, g: TensorType) -> Stage:
    (dx,) = _infer_avg_grad(attrs, g)
    positions, inside = covering_positions(g.shape[2:], attrs.kernel, _window(attrs))
    assert inside is not None, "some windows always lie outside the result"
    place = (scalar.axis(0), scalar.axis(1), *positions)
    reader = Reader(0, place, inside, Const(0.0, g.dtype))
    divisor = _divisor(attrs, g.shape[2:], attrs.input_shape, positions)
    if not isinstance(divisor, Const):
        # Where no window is met the size of one means nothing and might be 0.
        divisor = scalar.select(inside, divisor, scalar.integer(1))
    return _mean_stage((*dx.shape, *attrs.kernel), reader, divisor, g.dtype)


def _average_attrs(attrs: AvgPoolAttrs | AvgPoolGradAttrs) -> dict[str, Any]:
    return {
        "kernel": attrs.kernel,
        "stride": attrs.stride,
        "padding": attrs.padding,
        "ceil_mode": attrs.ceil_mode,
        "count_include_pad": attrs.count_include_pad,
        "divisor": attrs.divisor,
    }


def _avg_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gx = avg_pool_grad(g)."""
    shape = s.input_types[0].shape[2:]
    return (r("avg_pool_grad", g, input_shape=shape, **_average_attrs(s.attrs)),)


def _avg_grad_vjp(r: Rules, s: Saved, h: Operand) -> tuple[Operand | None, ...]:
    """Differentiate: gg = avg_pool(h)."""
    return (r("avg_pool", h, **_average_attrs(s.attrs)),)


# Samples


def _avg_samples() -> Iterable[Sample]:
    for shape, attrs in sample_windows():
        x = sampling.normal(*shape, dtype=dtypes.float64)
        yield Sample((x,), attrs)
        yield Sample((x,), {**attrs, "count_include_pad": False})
    shape, attrs = next(iter(sample_windows()))
    yield Sample((sampling.strided(sampling.normal(*shape)),), {**attrs, "divisor": 3})
    yield Sample((sampling.normal(*shape, dtype=dtypes.float16),), attrs)


def _avg_grad_samples() -> Iterable[Sample]:
    for sample in _avg_samples():
        (x,) = sample.operands
        out = _avg_pool(np, AvgPoolAttrs(**sample.attrs), x)
        yield Sample((out,), {"input_shape": x.shape[2:], **sample.attrs})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="avg_pool",
        doc="the sum of each window over its size",
        operands=("x",),
        attrs=AvgPoolAttrs,
        infer=_infer_avg,
        reference=_avg_pool,
        rule=Lower(_define_avg),
        vjp=Vjp((), _avg_vjp),
        samples=_avg_samples,
    ),
    OpDef(
        name="avg_pool_grad",
        doc="sum of g over the windows that meet here, each over its size",
        operands=("g",),
        attrs=AvgPoolGradAttrs,
        infer=_infer_avg_grad,
        reference=_avg_grad,
        rule=Lower(_define_avg_grad),
        vjp=Vjp((), _avg_grad_vjp),
        samples=_avg_grad_samples,
    ),
)
