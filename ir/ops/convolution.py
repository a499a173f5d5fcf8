"""Convolution, its two gradients, and transposed convolution.

`conv` gives, for channel group g of output channel o (c input channels a group),
`out[n,o,p] = sum(x[n, g*c + i, p*stride + k*dilation - padding] * w[o,i,k])` over i and k, where
what is read outside x is 0. Its gradients are ops of the same kind, and each of the three is the
derivative of the others, so differentiation closes over them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir.dim import Dim
from smelt.ir.op import Decompose, Lower, OpDef, Operand, Rules, Sample, Saved, Vjp
from smelt.ir.ops import expect
from smelt.ir.ops.convolution_arrays import (
    input_grad_array,
    output_array,
    weight_grad_array,
)
from smelt.ir.ops.convolution_stages import conv_stage, input_grad_stage, weight_grad_stage
from smelt.ir.ops.inference import same_shape
from smelt.ir.ops.sliding import Window, check_numbers, out_extent
from smelt.ir.structured import Stage
from smelt.ir.types import Shape, TensorType, static_shape

Array = Any
Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConvAttrs:
    """Attributes of `conv`: one number a spatial dimension, and the groups of channels."""

    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1


@dataclass(frozen=True, slots=True)
class ConvInputGradAttrs:
    """Attributes of `conv_input_grad`: those of `conv`, and the spatial shape of its input."""

    input_shape: Shape
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1


@dataclass(frozen=True, slots=True)
class ConvWeightGradAttrs:
    """Attributes of `conv_weight_grad`: those of `conv`, and the spatial shape of its weight."""

    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1


@dataclass(frozen=True, slots=True)
class ConvTransposeAttrs:
    """Attributes of `conv_transpose`: `output_padding` adds to one side of the output."""

    stride: Ints
    padding: Ints
    output_padding: Ints
    dilation: Ints
    groups: int = 1


Attrs = ConvAttrs | ConvInputGradAttrs | ConvWeightGradAttrs


def _window(attrs: Attrs) -> dict[str, Any]:
    """Return the attributes that the three ops share, as keywords."""
    return {
        "stride": attrs.stride,
        "padding": attrs.padding,
        "dilation": attrs.dilation,
        "groups": attrs.groups,
    }


def _out_shape(op: str, attrs: Attrs, spatial: Shape, kernel: Shape) -> Shape:
    return tuple(
        out_extent(op, *numbers)
        for numbers in zip(spatial, kernel, attrs.stride, attrs.padding, attrs.dilation)
    )


def _check_window(op: str, attrs: Attrs, rank: int) -> None:
    check_numbers(op, rank, stride=attrs.stride, padding=attrs.padding, dilation=attrs.dilation)
    expect.argument(op, attrs.groups >= 1, f"groups must be positive, not {attrs.groups}")


def _check_pair(op: str, attrs: Attrs, **types: TensorType) -> None:
    expect.floating(op, **types)
    expect.same_dtype(op, **types)
    expect.at_least_rank(op, 3, **types)
    first, second = types.values()
    if first.rank != second.rank:
        expect.mismatch(op, "operands differ in rank", **types)
    _check_window(op, attrs, first.rank)


def _check_groups(op: str, attrs: Attrs, channels: int | Dim, name: str, type: TensorType) -> None:
    expect.argument(
        op,
        channels % attrs.groups == 0,
        f"{channels} channels of {name}, which is {type}, do not divide into {attrs.groups} groups",
    )


def _infer_conv(attrs: ConvAttrs, x: TensorType, w: TensorType) -> tuple[TensorType, ...]:
    _check_pair("conv", attrs, x=x, w=w)
    if not same_shape((x.shape[1],), (w.shape[1] * attrs.groups,)):
        expect.mismatch(
            "conv", f"x must have {w.shape[1]} * {attrs.groups} channels, as w asks", x=x, w=w
        )
    _check_groups("conv", attrs, w.shape[0], "w", w)
    out = _out_shape("conv", attrs, x.shape[2:], w.shape[2:])
    return (TensorType(x.dtype, (x.shape[0], w.shape[0], *out)),)


def _check_grad(op: str, attrs: Attrs, g: TensorType, spatial: Shape, kernel: Shape) -> None:
    out = _out_shape(op, attrs, spatial, kernel)
    expect.of_shape(op, (*g.shape[:2], *out), g=g)


def _infer_input_grad(
    attrs: ConvInputGradAttrs, g: TensorType, w: TensorType
) -> tuple[TensorType, ...]:
    op = "conv_input_grad"
    _check_pair(op, attrs, g=g, w=w)
    if not same_shape((g.shape[1],), (w.shape[0],)):
        expect.mismatch(op, "g must have as many channels as w has rows", g=g, w=w)
    _check_groups(op, attrs, w.shape[0], "w", w)
    _check_grad(op, attrs, g, attrs.input_shape, w.shape[2:])
    channels = w.shape[1] * attrs.groups
    return (TensorType(g.dtype, (g.shape[0], channels, *attrs.input_shape)),)


def _infer_weight_grad(
    attrs: ConvWeightGradAttrs, x: TensorType, g: TensorType
) -> tuple[TensorType, ...]:
    op = "conv_weight_grad"
    _check_pair(op, attrs, x=x, g=g)
    if not same_shape((x.shape[0],), (g.shape[0],)):
        expect.mismatch(op, "operands differ in batch size", x=x, g=g)
    _check_groups(op, attrs, x.shape[1], "x", x)
    _check_groups(op, attrs, g.shape[1], "g", g)
    _check_grad(op, attrs, g, x.shape[2:], attrs.kernel)
    return (TensorType(g.dtype, (g.shape[1], x.shape[1] // attrs.groups, *attrs.kernel)),)


# References and structured definitions


def _conv(xp: Any, attrs: ConvAttrs, x: Array, w: Array) -> Array:
    return output_array(xp, Window(**_window(attrs)), x, w)


def _input_grad(xp: Any, attrs: ConvInputGradAttrs, g: Array, w: Array) -> Array:
    return input_grad_array(xp, Window(**_window(attrs)), static_shape(attrs.input_shape), g, w)


def _weight_grad(xp: Any, attrs: ConvWeightGradAttrs, x: Array, g: Array) -> Array:
    return weight_grad_array(xp, Window(**_window(attrs)), attrs.kernel, x, g)


def _define_conv(attrs: ConvAttrs, x: TensorType, w: TensorType) -> Stage:
    return conv_stage(Window(**_window(attrs)), x, w, *_infer_conv(attrs, x, w))


def _define_input_grad(attrs: ConvInputGradAttrs, g: TensorType, w: TensorType) -> Stage:
    return input_grad_stage(Window(**_window(attrs)), g, w, *_infer_input_grad(attrs, g, w))


def _define_weight_grad(attrs: ConvWeightGradAttrs, x: TensorType, g: TensorType) -> Stage:
    return weight_grad_stage(Window(**_window(attrs)), x, g, *_infer_weight_grad(attrs, x, g))


# Derivatives: with <a, b> the sum of products, <g, conv(x, w)> is linear in each of g, x and w.


def _conv_vjp(r: Rules, s: Saved, g: Operand) -> tuple[Operand | None, ...]:
    x, w = s.input_types
    window = _window(s.attrs)
    dx = dw = None
    if s.needs[0]:
        dx = r("conv_input_grad", g, s["w"], input_shape=x.shape[2:], **window)
    if s.needs[1]:
        dw = r("conv_weight_grad", s["x"], g, kernel=w.shape[2:], **window)
    return dx, dw


def _input_grad_vjp(r: Rules, s: Saved, h: Operand) -> tuple[Operand | None, ...]:
    window = _window(s.attrs)
    kernel = s.input_types[1].shape[2:]
    dg = r("conv", h, s["w"], **window) if s.needs[0] else None
    dw = r("conv_weight_grad", h, s["g"], kernel=kernel, **window) if s.needs[1] else None
    return dg, dw


def _weight_grad_vjp(r: Rules, s: Saved, v: Operand) -> tuple[Operand | None, ...]:
    window = _window(s.attrs)
    spatial = s.input_types[0].shape[2:]
    dx = r("conv_input_grad", s["g"], v, input_shape=spatial, **window) if s.needs[0] else None
    dg = r("conv", s["x"], v, **window) if s.needs[1] else None
    return dx, dg


# Transposed convolution


def _transposed_shape(attrs: ConvTransposeAttrs, x: TensorType, w: TensorType) -> Shape:
    return tuple(
        (extent - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
        for extent, kernel, stride, padding, dilation, extra in zip(
            x.shape[2:],
            w.shape[2:],
            attrs.stride,
            attrs.padding,
            attrs.dilation,
            attrs.output_padding,
        )
    )


def _infer_transpose(
    attrs: ConvTransposeAttrs, x: TensorType, w: TensorType
) -> tuple[TensorType, ...]:
    op = "conv_transpose"
    expect.at_least_rank(op, 3, x=x, w=w)
    limits = tuple(max(s, d) for s, d in zip(attrs.stride, attrs.dilation))
    extra = attrs.output_padding
    fits = len(extra) == x.rank - 2 and all(0 <= e < m for e, m in zip(extra, limits))
    expect.argument(
        op, fits, f"output_padding must be in [0, max(stride, dilation)) {limits}, not {extra}"
    )
    shape = _transposed_shape(attrs, x, w)
    small = any(isinstance(e, int) and e < 1 for e in shape)
    expect.argument(op, not small, f"the output would have shape {shape}: x is {x}, w is {w}")
    inner = ConvInputGradAttrs(shape, attrs.stride, attrs.padding, attrs.dilation, attrs.groups)
    return _infer_input_grad(inner, x, w)


def _transpose_rule(r: Rules, attrs: ConvTransposeAttrs, x: Operand, w: Operand) -> Operand:
    return r(
        "conv_input_grad",
        x,
        w,
        input_shape=_transposed_shape(attrs, r.type(x), r.type(w)),
        stride=attrs.stride,
        padding=attrs.padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
    )


# Samples


def _ramp(*shape: int, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape))
    return (np.sin(np.arange(size) * 0.7 + size) * 0.5).reshape(shape).astype(dtype)


def _geometries() -> Iterable[tuple[Ints, Ints, dict[str, Any]]]:
    """Yield shape of x, shape of w and window of several convolutions."""

    def window(s: Ints, p: Ints, d: Ints, groups: int = 1) -> dict[str, Any]:
        return {"stride": s, "padding": p, "dilation": d, "groups": groups}

    yield (2, 2, 4, 3), (3, 2, 3, 2), window((1, 1), (1, 1), (1, 1))
    yield (1, 4, 5, 4), (4, 2, 2, 3), window((2, 1), (1, 2), (2, 1), 2)
    yield (2, 3, 4, 4), (3, 1, 3, 3), window((2, 2), (1, 1), (1, 1), 3)
    yield (2, 2, 3, 3), (2, 2, 1, 1), window((1, 1), (0, 0), (1, 1))
    yield (1, 2, 3, 4), (2, 2, 1, 1), window((2, 2), (1, 0), (1, 1))
    yield (2, 2, 7), (4, 1, 3), window((3,), (2,), (2,), 2)
    yield (1, 1, 2, 3, 2), (2, 1, 2, 2, 1), window((1, 2, 1), (0, 1, 0), (1, 1, 1))
    yield (0, 2, 3, 3), (1, 2, 2, 2), window((1, 1), (0, 0), (1, 1))


def _cotangent_shape(x: Ints, w: Ints, window: dict[str, Any]) -> Ints:
    spatial = zip(x[2:], w[2:], window["stride"], window["padding"], window["dilation"])
    return (x[0], w[0], *((e + 2 * p - d * (k - 1) - 1) // s + 1 for e, k, s, p, d in spatial))


def _conv_samples() -> Iterable[Sample]:
    for x, w, window in _geometries():
        yield Sample((_ramp(*x), _ramp(*w)), window)
    for dtype in (np.float32, np.float16):
        x, w, window = next(iter(_geometries()))
        strided = _ramp(*x[:2], x[3], x[2], dtype=dtype).swapaxes(2, 3)
        yield Sample((strided, _ramp(*w, dtype=dtype)), window)


def _input_grad_samples() -> Iterable[Sample]:
    for x, w, window in _geometries():
        g = _ramp(*_cotangent_shape(x, w, window))
        yield Sample((g, _ramp(*w)), {"input_shape": x[2:], **window})


def _weight_grad_samples() -> Iterable[Sample]:
    for x, w, window in _geometries():
        g = _ramp(*_cotangent_shape(x, w, window))
        yield Sample((_ramp(*x), g), {"kernel": w[2:], **window})


def _transpose_samples() -> Iterable[Sample]:
    for x, w, window, extra in [
        ((2, 2, 3, 2), (2, 3, 3, 2), ((2, 1), (1, 0), (1, 1), 1), (1, 0)),
        ((1, 4, 3), (4, 1, 3), ((2,), (1,), (2,), 2), (1,)),
    ]:
        stride, padding, dilation, groups = window
        attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        yield Sample((_ramp(*x), _ramp(*w)), {"output_padding": extra, **attrs})


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="conv",
        doc="sum of x[n, group*c + i, out*stride + k*dilation - padding] * w[o, i, k]",
        operands=("x", "w"),
        attrs=ConvAttrs,
        infer=_infer_conv,
        reference=_conv,
        rule=Lower(_define_conv),
        vjp=Vjp(("x", "w"), _conv_vjp),
        samples=_conv_samples,
    ),
    OpDef(
        name="conv_input_grad",
        doc="the derivative of sum(g * conv(x, w)) by x",
        operands=("g", "w"),
        attrs=ConvInputGradAttrs,
        infer=_infer_input_grad,
        reference=_input_grad,
        rule=Lower(_define_input_grad),
        vjp=Vjp(("g", "w"), _input_grad_vjp),
        samples=_input_grad_samples,
    ),
    OpDef(
        name="conv_weight_grad",
        doc="the derivative of sum(g * conv(x, w)) by w",
        operands=("x", "g"),
        attrs=ConvWeightGradAttrs,
        infer=_infer_weight_grad,
        reference=_weight_grad,
        rule=Lower(_define_weight_grad),
        vjp=Vjp(("x", "g"), _weight_grad_vjp),
        samples=_weight_grad_samples,
    ),
    OpDef(
        name="conv_transpose",
        doc="conv_input_grad with x as the cotangent of a convolution by w",
        operands=("x", "w"),
        attrs=ConvTransposeAttrs,
        infer=_infer_transpose,
        rule=Decompose(_transpose_rule),
        vjp=None,
        samples=_transpose_samples,
    ),
)
