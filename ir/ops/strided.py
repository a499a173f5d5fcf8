"""Arbitrary strides over a flat operand, and writing through them.

The scatter is a gather in its definition: each point of the result asks whether, and where, the
source wrote to it.
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
from smelt.ir.ops import inference, sampling
from smelt.ir.ops.movement import plus, times
from smelt.ir.ops.slicing import scatter_stage
from smelt.ir.scalar import Expr, Read
from smelt.ir.structured import Stage
from smelt.ir.types import Shape, TensorType

Array = Any


Gradients = tuple[Operand | None, ...]


@dataclass(frozen=True, slots=True)
class StridedAttrs:
    """Sizes, strides and offset in the flat operand, all in elements."""

    sizes: Shape
    strides: Shape
    offset: int | Dim


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


OPS: tuple[OpDef, ...] = (
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
)
