"""Pooling over sliding windows: maxima and means, with their gradients in gather form.

x is [n, c, *spatial]. A window starts at out * stride - padding; with `ceil_mode` one more window
is taken where it still starts inside x or its left padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.op import Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect, sampling
from smelt.ir.ops.pooling_arrays import (
    average_array,
    average_grad_array,
    max_array,
    max_grad_array,
)
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage, accumulated, arg_monoid, lowest, monoid
from smelt.ir.types import Shape, TensorType

Array = Any
Ints = tuple[int, ...]


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


def _check_window(op: str, rank: int, **numbers: Ints) -> None:
    for name, values in numbers.items():
        least = 0 if name == "padding" else 1
        fits = len(values) == rank - 2 and all(v >= least for v in values)
        expect.argument(
            op, fits, f"{name} must be {rank - 2} numbers, none below {least}, not {values}"
        )
    kernel, padding = numbers["kernel"], numbers["padding"]
    fits = all(2 * p <= k for p, k in zip(padding, kernel))
    expect.argument(op, fits, f"padding {padding} is more than half of the kernel {kernel}")


def _out_extent(
    op: str, extent: int | Dim, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> int | Dim:
    room = extent + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and isinstance(count, int) and isinstance(extent, int):
        # The last window must not start in the padding on the right.
        count -= (count - 1) * stride >= extent + padding
    elif ceil:
        expect.argument(op, False, f"ceil_mode needs a static size, not {extent}")
    positive = not isinstance(count, int) or count > 0
    expect.argument(op, positive, f"no window of {kernel} fits into a dimension of {extent}")
    return count


def _out_shape(op: str, attrs: Any, spatial: Shape, dilation: Ints, ceil: bool) -> Shape:
    return tuple(
        _out_extent(op, *numbers, ceil)
        for numbers in zip(spatial, attrs.kernel, attrs.stride, attrs.padding, dilation)
    )


# Index maps


def _plus(a: Expr, b: int) -> Expr:
    return a if b == 0 else scalar.apply("add", a, scalar.integer(b))


def _times(a: Expr, factor: int | Dim) -> Expr:
    return a if factor == 1 else scalar.apply("mul", a, scalar.of_dim(factor))


def _within(position: Expr, extent: int | Dim) -> Expr:
    low = scalar.apply("ge", position, scalar.integer(0))
    return scalar.apply("and", low, scalar.apply("lt", position, scalar.of_dim(extent)))


def flat_position(positions: tuple[Expr, ...], spatial: Shape) -> Expr:
    """Return the row-major number of a position in the spatial plane."""
    total: Expr = scalar.integer(0)
    for k, (position, extent) in enumerate(zip(positions, spatial)):
        total = position if k == 0 else scalar.apply("add", _times(total, extent), position)
    return total


def _covered(attrs: Any, dilation: Ints, rank: int) -> tuple[Expr, ...]:
    """Return the input positions that output position and kernel offset meet."""
    d = rank - 2
    positions: list[Expr] = []
    for k in range(d):
        start = _times(scalar.axis(2 + k), attrs.stride[k])
        offset = _times(scalar.axis(2 + d + k), dilation[k])
        positions.append(_plus(scalar.apply("add", start, offset), -attrs.padding[k]))
    return tuple(positions)


def _covering(
    attrs: Any, dilation: Ints, out: Shape, rank: int
) -> tuple[tuple[Expr, ...], Expr | None]:
    """Return the output positions that input position and kernel offset meet, and when there are.

    Kernel offsets run backwards, so that output positions are met in ascending order.
    """
    d = rank - 2
    positions: list[Expr] = []
    checks: list[Expr] = []
    for k in range(d):
        back = (attrs.kernel[k] - 1) * dilation[k] - attrs.padding[k]
        offset = _times(scalar.axis(2 + d + k), dilation[k])
        start = _plus(scalar.apply("add", scalar.axis(2 + k), offset), -back)
        position = start
        if attrs.stride[k] > 1:
            stride = scalar.integer(attrs.stride[k])
            position = scalar.apply("floordiv", start, stride)
            rest = scalar.apply("mod", start, stride)
            checks.append(scalar.apply("eq", rest, scalar.integer(0)))
        positions.append(position)
        checks.append(_within(position, out[k]))
    return tuple(positions), scalar.conjunction(*checks)


def _overhangs(attrs: Any, out: Shape, spatial: Shape, dilation: Ints) -> tuple[bool, ...]:
    """Tell for each spatial dimension whether some window leaves x."""
    found: list[bool] = []
    for k, (count, extent) in enumerate(zip(out, spatial)):
        if isinstance(count, int) and isinstance(extent, int):
            reach = (count - 1) * attrs.stride[k] + dilation[k] * (attrs.kernel[k] - 1) + 1
            found.append(attrs.padding[k] > 0 or reach > extent)
        else:
            found.append(attrs.padding[k] > 0)
    return tuple(found)


def _inside(positions: tuple[Expr, ...], spatial: Shape, overhangs: tuple[bool, ...]):
    checks = [_within(p, n) for p, n, over in zip(positions, spatial, overhangs) if over]
    return scalar.conjunction(*checks)


def _kernel_axes(rank: int) -> tuple[int, ...]:
    return tuple(range(rank, 2 * rank - 2))


# max_pool


def _infer_max(attrs: MaxPoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    op = "max_pool"
    expect.at_least_rank(op, 3, x=x)
    expect.floating(op, x=x)
    _check_window(
        op,
        x.rank,
        kernel=attrs.kernel,
        stride=attrs.stride,
        padding=attrs.padding,
        dilation=attrs.dilation,
    )
    out = _out_shape(op, attrs, x.shape[2:], attrs.dilation, attrs.ceil_mode)
    shape = (*x.shape[:2], *out)
    return x.with_shape(shape), TensorType(dtypes.int64, shape)


def _max_pool(xp: Any, attrs: MaxPoolAttrs, x: Array) -> tuple[Array, Array]:
    out = _out_shape("max_pool", attrs, x.shape[2:], attrs.dilation, attrs.ceil_mode)
    return max_array(xp, attrs.kernel, attrs.stride, attrs.padding, attrs.dilation, out, x)


def _define_max(attrs: MaxPoolAttrs, x: TensorType) -> Stage:
    out, _ = _infer_max(attrs, x)
    spatial, work = x.shape[2:], x.dtype.accumulator
    positions = _covered(attrs, attrs.dilation, x.rank)
    overhangs = _overhangs(attrs, out.shape[2:], spatial, attrs.dilation)
    inside = _inside(positions, spatial, overhangs)
    number = flat_position(positions, spatial)
    if inside is not None:
        # What lies outside must lose ties against an element of x that is -inf.
        number = scalar.select(inside, number, scalar.integer(2**63 - 1))
    fill = None if inside is None else lowest(x.dtype)
    reader = Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill)
    best = scalar.cast(accumulated(0, work), x.dtype)
    return Stage(
        (*out.shape, *attrs.kernel),
        (reader,),
        (scalar.cast(Read(0, x.dtype), work), number),
        _kernel_axes(x.rank),
        arg_monoid("max", work),
        (best, accumulated(1, dtypes.int64)),
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
    expect.at_least_rank(op, 3, g=g)
    expect.floating(op, g=g)
    expect.indices(op, indices=indices)
    expect.of_shape(op, g.shape, indices=indices)
    _check_window(
        op,
        g.rank,
        kernel=attrs.kernel,
        stride=attrs.stride,
        padding=attrs.padding,
        dilation=attrs.dilation,
    )
    return (g.with_shape((*g.shape[:2], *attrs.input_shape)),)


def _max_grad(xp: Any, attrs: MaxPoolGradAttrs, g: Array, indices: Array) -> Array:
    apart = all(s >= d * (k - 1) + 1 for s, d, k in zip(attrs.stride, attrs.dilation, attrs.kernel))
    return max_grad_array(xp, attrs.input_shape, apart, g, indices)


def _define_max_grad(attrs: MaxPoolGradAttrs, g: TensorType, indices: TensorType) -> Stage:
    rank, work = g.rank, g.dtype.accumulator
    positions, inside = _covering(attrs, attrs.dilation, g.shape[2:], rank)
    place = (scalar.axis(0), scalar.axis(1), *positions)
    fills = (None, None) if inside is None else (Const(0.0, g.dtype), scalar.integer(-1))
    here = flat_position(tuple(scalar.axis(2 + k) for k in range(rank - 2)), attrs.input_shape)
    chosen = scalar.apply("eq", Read(1, dtypes.int64), here)
    body = scalar.select(chosen, scalar.cast(Read(0, g.dtype), work), Const(0.0, work))
    return Stage(
        (*g.shape[:2], *attrs.input_shape, *attrs.kernel),
        (Reader(0, place, inside, fills[0]), Reader(1, place, inside, fills[1])),
        (body,),
        _kernel_axes(rank),
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


# avg_pool


def _check_average(op: str, attrs: AvgPoolAttrs | AvgPoolGradAttrs, x: TensorType) -> None:
    expect.at_least_rank(op, 3, x=x)
    expect.floating(op, x=x)
    _check_window(op, x.rank, kernel=attrs.kernel, stride=attrs.stride, padding=attrs.padding)
    expect.argument(op, attrs.divisor != 0, "divisor must not be 0")


def _infer_avg(attrs: AvgPoolAttrs, x: TensorType) -> tuple[TensorType, ...]:
    _check_average("avg_pool", attrs, x)
    ones = (1,) * (x.rank - 2)
    out = _out_shape("avg_pool", attrs, x.shape[2:], ones, attrs.ceil_mode)
    return (x.with_shape((*x.shape[:2], *out)),)


def _infer_avg_grad(attrs: AvgPoolGradAttrs, g: TensorType) -> tuple[TensorType, ...]:
    _check_average("avg_pool_grad", attrs, g)
    ones = (1,) * (g.rank - 2)
    out = _out_shape("avg_pool_grad", attrs, attrs.input_shape, ones, attrs.ceil_mode)
    expect.of_shape("avg_pool_grad", (*g.shape[:2], *out), g=g)
    return (g.with_shape((*g.shape[:2], *attrs.input_shape)),)


def _avg_pool(xp: Any, attrs: AvgPoolAttrs, x: Array) -> Array:
    ones = (1,) * (x.ndim - 2)
    out = _out_shape("avg_pool", attrs, x.shape[2:], ones, attrs.ceil_mode)
    return average_array(xp, attrs, out, x)


def _avg_grad(xp: Any, attrs: AvgPoolGradAttrs, g: Array) -> Array:
    return average_grad_array(xp, attrs, attrs.input_shape, g)


def _divisor(
    attrs: AvgPoolAttrs | AvgPoolGradAttrs, out: Shape, spatial: Shape, positions: tuple[Expr, ...]
) -> Expr:
    """Return by how much the window at an output position is divided, as i64."""
    if attrs.divisor is not None:
        return scalar.integer(attrs.divisor)
    ones = (1,) * len(out)
    overhangs = _overhangs(attrs, out, spatial, ones)
    total: Expr | None = None
    for k, position in enumerate(positions):
        kernel, padding, extent = attrs.kernel[k], attrs.padding[k], spatial[k]
        size: Expr = scalar.integer(kernel)
        if overhangs[k] and not (attrs.count_include_pad and not attrs.ceil_mode):
            start = _plus(_times(position, attrs.stride[k]), -padding)
            room = extent + padding if attrs.count_include_pad else extent
            stop = scalar.apply("min", _plus(start, kernel), scalar.of_dim(room))
            first = start
            if not attrs.count_include_pad:
                first = scalar.apply("max", start, scalar.integer(0))
            size = scalar.apply("sub", stop, first)
        total = size if total is None else scalar.apply("mul", total, size)
    assert total is not None, "a pool has a spatial dimension"
    return total


def _is_constant(expr: Expr) -> bool:
    return all(not isinstance(e, scalar.Var) for e in scalar.walk(expr))


def _mean_stage(domain: Shape, reader: Reader, divisor: Expr, dtype: dtypes.DType) -> Stage:
    """Return the stage that sums what `reader` delivers, divided, over the kernel axes."""
    work = dtype.accumulator
    value, total = scalar.cast(Read(0, dtype), work), accumulated(0, work)
    rank = (len(domain) + 2) // 2
    count = scalar.cast(divisor, work)
    result: Expr = total
    if _is_constant(divisor):
        result = scalar.apply("div", total, count)
    else:
        value = scalar.apply("div", value, count)
    finish = (scalar.cast(result, dtype),)
    return Stage(domain, (reader,), (value,), _kernel_axes(rank), monoid("add", work), finish)


def _define_avg(attrs: AvgPoolAttrs, x: TensorType) -> Stage:
    (out,) = _infer_avg(attrs, x)
    spatial, ones = x.shape[2:], (1,) * (x.rank - 2)
    positions = _covered(attrs, ones, x.rank)
    inside = _inside(positions, spatial, _overhangs(attrs, out.shape[2:], spatial, ones))
    fill = None if inside is None else Const(0.0, x.dtype)
    reader = Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill)
    places = tuple(scalar.axis(2 + k) for k in range(x.rank - 2))
    divisor = _divisor(attrs, out.shape[2:], spatial, places)
    return _mean_stage((*out.shape, *attrs.kernel), reader, divisor, x.dtype)


def _define_avg_grad(attrs: AvgPoolGradAttrs, g: TensorType) -> Stage:
    (dx,) = _infer_avg_grad(attrs, g)
    ones = (1,) * (g.rank - 2)
    positions, inside = _covering(attrs, ones, g.shape[2:], g.rank)
    fill = None if inside is None else Const(0.0, g.dtype)
    reader = Reader(0, (scalar.axis(0), scalar.axis(1), *positions), inside, fill)
    divisor = _divisor(attrs, g.shape[2:], attrs.input_shape, positions)
    if inside is not None and not _is_constant(divisor):
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


def _windows() -> Iterable[tuple[Ints, dict[str, Any]]]:
    """Yield shapes of x with windows, dilation left to max_pool."""
    yield (2, 2, 4, 4), {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    yield (1, 2, 5, 4), {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 1)}
    yield (1, 1, 5, 5), {"kernel": (2, 3), "stride": (2, 2), "padding": (1, 0), "ceil_mode": True}
    yield (2, 1, 7), {"kernel": (3,), "stride": (3,), "padding": (1,), "ceil_mode": True}
    yield (1, 1, 2, 3, 2), {"kernel": (2, 2, 1), "stride": (1, 1, 1), "padding": (0, 1, 0)}
    yield (0, 2, 3, 3), {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0)}


def _dilated() -> Iterable[tuple[Ints, dict[str, Any]]]:
    for shape, window in _windows():
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


def _avg_samples() -> Iterable[Sample]:
    for shape, attrs in _windows():
        x = sampling.normal(*shape, dtype=dtypes.float64)
        yield Sample((x,), attrs)
        yield Sample((x,), {**attrs, "count_include_pad": False})
    shape, attrs = next(iter(_windows()))
    yield Sample((sampling.strided(sampling.normal(*shape)),), {**attrs, "divisor": 3})
    yield Sample((sampling.normal(*shape, dtype=dtypes.float16),), attrs)


def _avg_grad_samples() -> Iterable[Sample]:
    for sample in _avg_samples():
        (x,) = sample.operands
        out = _avg_pool(np, AvgPoolAttrs(**sample.attrs), x)
        yield Sample((out,), {"input_shape": x.shape[2:], **sample.attrs})


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
